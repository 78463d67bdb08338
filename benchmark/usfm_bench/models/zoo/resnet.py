"""What the tensors of a ResNet under torchvision's names say of it, for the families whose files hold one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_KNOWN = {True: ((3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)), False: ((2, 2, 2, 2), (3, 4, 6, 3))}


def resnet_of(state: Mapping[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """Timm's architecture, and the blocks of each of the four layers; of fewer than a published size, that size's.

    Raises:
        KeyError: a tensor that tells it is not there.
    """
    bottleneck = "layer1.0.conv3.weight" in state
    found = [
        1 + max((int(match[1]) for k in state if (match := re.match(rf"layer{i}\.(\d{{1,3}})\.", k))), default=-1)
        for i in (1, 2, 3, 4)
    ]
    if 0 in found:
        raise KeyError(f"layer{found.index(0) + 1}.0.conv1.weight")
    _ = state["conv1.weight"]
    width = state["layer4.0.conv1.weight"].shape[0]
    published = next(
        (k for k in _KNOWN[bottleneck] if sum(k) >= sum(found) and all(a <= b for a, b in zip(found, k, strict=True))),
        None,
    )
    layers = published if published is not None and width == 512 and sum(published) - sum(found) < 3 else tuple(found)
    return "resnet50" if bottleneck else "resnet18", {"layers": list(layers)}
