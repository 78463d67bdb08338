"""Patches of a blurred image."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import PatchEmbed
from torch import Tensor
from torch.nn import functional as F

SIGMA, REACH = 1.1, 4
"""Of the Gaussian in pixels, and the pixels to each side that OpenCV takes for it in images of 8 bits."""


def blur(images: Tensor) -> Tensor:
    """(B, C, H, W) -> the same after a Gaussian; edges are mirrored, as OpenCV does.

    Mean and deviation of channels commute with it, since its weights sum to 1.
    """
    weights = torch.exp(-0.5 * (torch.arange(-REACH, REACH + 1, device=images.device) / SIGMA) ** 2)
    line = (weights / weights.sum()).to(images.dtype).expand(images.shape[1], 1, 1, -1)
    padded = F.pad(images, [REACH] * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, line, groups=images.shape[1]), line.mT, groups=images.shape[1])


class BlurredPatches(PatchEmbed):  # type: ignore[misc]  # timm's classes have no types
    """timm's patch embedding of the blurred image."""

    def forward(self, x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        """(B, C, H, W) -> (B, N, D)."""
        out: Tensor = super().forward(blur(x), *arguments, **settings)
        return out
