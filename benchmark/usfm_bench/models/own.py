"""A module of the user's own as a backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from usfm_bench.models.pooled import Pooled


class OwnModel(Pooled):
    """Features of a module, averaged over everything but images and channels, and a linear head."""

    def __init__(self, module: nn.Module, size: int) -> None:
        super().__init__()
        self.module = module
        with torch.no_grad():
            self.num_features = self.forward_features(torch.zeros(2, 3, size, size)).shape[1]

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D), or (B, D, h, w).

        Raises:
            TypeError: the module gives something else than a tensor of two to four dimensions.
        """
        found = self.module(images)
        if not isinstance(found, Tensor) or found.ndim not in (2, 3, 4):
            what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise TypeError(f"the module gives {what}, expected features (B, D), (B, N, D) or (B, C, h, w)")
        return found.mean(dim=1) if found.ndim == 3 else found
