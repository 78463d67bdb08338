"""Patches of a blurred image."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import PatchEmbed
from torch import Tensor
from torch.nn import functional as F

SIGMA, REACH = 1.1, 4
"""Of the Gaussian in pixels, and the pixels to each side that OpenCV takes for it in images of 8 bits."""


class BlurredPatches(PatchEmbed):  # type: ignore[misc]  # timm's classes have no types
    """timm's patch embedding of the image after a Gaussian; edges are mirrored, as OpenCV does."""

    def forward(self, x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        """(B, C, H, W) -> (B, N, D). Mean and deviation of channels commute with the blur, whose weights sum to 1."""
        weights = torch.exp(-0.5 * (torch.arange(-REACH, REACH + 1, device=x.device) / SIGMA) ** 2)
        line = (weights / weights.sum()).to(x.dtype).expand(x.shape[1], 1, 1, -1)
        x = F.pad(x, [REACH] * 4, mode="reflect")
        x = F.conv2d(F.conv2d(x, line, groups=x.shape[1]), line.mT, groups=x.shape[1])
        out: Tensor = super().forward(x, *arguments, **settings)
        return out
