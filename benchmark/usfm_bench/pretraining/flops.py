"""How many operations a training step takes, so that methods can be compared at equal compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

T = TypeVar("T")
_FORWARD: Any = sdpa_flop_count  # torch's own have no types
_BACKWARD: Any = sdpa_backward_flop_count


def counted(run: Callable[[], T]) -> tuple[T, int]:
    """What `run()` gives, and its operations: forward and backward, a multiply-add as two.

    Matrix products, convolutions and attention are counted, as torch counts them; a compiled network's are not.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_attention())
    with counter:
        given = run()
    return given, counter.get_total_flops()


def _attention() -> dict[Any, Any]:
    """Attention on a CPU, which torch's own list leaves out although it counts the same on a GPU."""
    aten = torch.ops.aten

    def forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(_FORWARD(query, key, value))

    def backward(grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(_BACKWARD(grad, query, key, value))

    return {
        aten._scaled_dot_product_flash_attention_for_cpu: forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: backward,
    }
