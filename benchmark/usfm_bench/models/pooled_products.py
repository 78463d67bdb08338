"""Adaptive average pooling whose gradient adds in one order; torch's own backward pass on a GPU does not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ProductPool(nn.Module):
    """`AdaptiveAvgPool2d` as two matrix products: the same means, up to rounding, of the same overlapping bins."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size = size
        self._bins: dict[tuple[int, int, torch.device], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, *size), in the dtype of `x`; computed in float32, as pooling is under autocast."""
        rows, columns = (self._mean(side, n, x.device) for side, n in zip(x.shape[-2:], self._size, strict=True))
        with torch.autocast(x.device.type, enabled=False):
            return (rows @ x.float() @ columns.T).to(x.dtype)

    def _mean(self, side: int, n: int, device: torch.device) -> Tensor:
        """(n, side): each row averages one bin."""
        key = side, n, device
        if key not in self._bins:
            self._bins[key] = F.adaptive_avg_pool1d(torch.eye(side)[None], n)[0].T.to(device)
        return self._bins[key]


def pool_by_products(network: nn.Module) -> None:
    """Replace adaptive pooling to more than one bin; to one bin it is a mean, which torch computes in one order."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                height, width = child.output_size if isinstance(child.output_size, tuple) else (child.output_size,) * 2
                if height and width and (height, width) != (1, 1):
                    setattr(module, name, ProductPool((height, width)))
