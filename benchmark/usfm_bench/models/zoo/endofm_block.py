"""A block of a transformer of videos as it acts on one still image."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn


class StillBlock(Block):  # type: ignore[misc]  # timm's classes have no types
    """timm's block; before it, patch tokens y become y + W LN(y) + b, and the class token stays."""

    def __init__(self, dim: int, *arguments: Any, **settings: Any) -> None:
        super().__init__(dim, *arguments, **settings)
        self.temporal_norm, self.temporal = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, dim)

    def forward(self, x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        """(B, 1 + N, D) -> the same."""
        patches = x[:, 1:]
        x = torch.cat([x[:, :1], patches + self.temporal(self.temporal_norm(patches))], dim=1)
        out: Tensor = super().forward(x, *arguments, **settings)
        return out
