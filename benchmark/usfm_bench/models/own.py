"""A module of the user's own as a backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OwnModel(nn.Module):
    """Features of a module, averaged over everything but images and channels, and a linear head."""

    def __init__(self, module: nn.Module, size: int) -> None:
        super().__init__()
        self.module = module
        self.fc: nn.Module = nn.Identity()
        with torch.no_grad():
            self.num_features = self.forward_features(torch.zeros(2, 3, size, size)).shape[1]

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D).

        Raises:
            TypeError: the module gives something else than a tensor of two to four dimensions.
        """
        found = self.module(images)
        if not isinstance(found, Tensor) or found.ndim not in (2, 3, 4):
            what = f"a tensor of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise TypeError(f"the module gives {what}, expected features (B, D), (B, N, D) or (B, C, h, w)")
        return found if found.ndim == 2 else found.mean(dim=1) if found.ndim == 3 else found.mean(dim=(2, 3))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, D) -> the same, or logits."""
        logits: Tensor = features if pre_logits else self.fc(features)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or features where there is no head."""
        return self.forward_head(self.forward_features(images))

    def reset_classifier(self, num_classes: int) -> None:
        """A new linear head."""
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The linear head."""
        return self.fc
