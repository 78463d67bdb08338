"""Which numbers the network really computes with: looked at while it runs, not read from the settings."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

Dtypes = dict[str, list[str]]
"""Phase (`training` or `evaluation`) -> dtypes of what linear and convolutional layers gave, such as bfloat16."""

_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_NAMES = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}


@contextmanager
def watch_dtypes(model: nn.Module, seen: Dtypes) -> Iterator[None]:
    """Add to `seen` the dtypes that the model's matrix products and convolutions have while the context lasts."""

    def note(layer: nn.Module, _: Any, output: Tensor) -> None:
        known = seen.setdefault("training" if layer.training else "evaluation", [])
        if (name := str(output.dtype).removeprefix("torch.")) not in known:
            insort(known, name)

    with ExitStack() as stack:
        for layer in model.modules():
            if isinstance(layer, _LAYERS):
                stack.callback(layer.register_forward_hook(note).remove)
        yield


def used_precision(seen: Mapping[str, list[str]], configured: str) -> str:
    """The precision in a few words: `bf16-mixed`, or, where not all is alike, what each phase computed with.

    Args:
        seen: of `watch_dtypes`.
        configured: what was asked for, which is given back where nothing was seen.

    >>> used_precision({"training": ["float32"], "evaluation": ["bfloat16"]}, "bf16-mixed")
    'float32 in training, bfloat16 in evaluation'
    """
    used = {name for names in seen.values() for name in names}
    if len(used) > 1:
        return ", ".join(f"{' and '.join(names)} in {phase}" for phase, names in seen.items())
    return _NAMES.get(*used, *used) if used else configured
