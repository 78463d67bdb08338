"""Feature maps of any timm backbone, for decoders."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class PlainFeatures(nn.Module):
    """Outputs of chosen blocks of a transformer without stages, each (B, D, S/16, S/16)."""

    def __init__(self, backbone: Any, fractions: tuple[float, ...]) -> None:
        super().__init__()
        self.backbone = backbone
        self.indices = block_indices(len(backbone.blocks), fractions)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) -> one map a chosen block, from shallow to deep."""
        maps: list[Tensor] = self.backbone.forward_intermediates(
            images, indices=sorted(set(self.indices)), intermediates_only=True, output_fmt="NCHW"
        )
        return [maps[sorted(set(self.indices)).index(i)] for i in self.indices]


class Pyramid(nn.Module):
    """Four equal-resolution maps at stride p -> strides p/4, p/2, p and 2p, as BEiT's segmentation does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        up = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, 2),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, 2),
        )
        self.scales = nn.ModuleList([up, nn.ConvTranspose2d(width, width, 2, 2), nn.Identity(), nn.MaxPool2d(2, 2)])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Four (B, D, h, h) -> the same at four scales."""
        return [scale(m) for scale, m in zip(self.scales, maps, strict=True)]


class Standardised(nn.Module):
    """Each channel of each map with mean 0 and variance 1: of the batch in training, of what training saw afterwards.

    It belongs to the decoder and not to the encoder, so a frozen encoder's maps are measured too. It has no parameters
    and draws nothing, so decoders start from the same weights with and without it.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, affine=False) for c in channels)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """(B, D, h, w) each -> the same."""
        return [norm(m) for norm, m in zip(self.norms, maps, strict=True)]


def block_indices(depth: int, fractions: tuple[float, ...]) -> list[int]:
    """The published choice of blocks, scaled to another depth; where blocks are few the first repeats.

    >>> block_indices(12, (1 / 3, 1 / 2, 2 / 3, 1))
    [3, 5, 7, 11]
    >>> block_indices(3, (1 / 2, 2 / 3, 1))
    [0, 1, 2]
    """
    indices = [max(0, math.ceil(fraction * depth - 1e-9) - 1) for fraction in fractions]
    for i in range(len(indices) - 2, -1, -1):
        indices[i] = min(indices[i], max(0, indices[i + 1] - 1))
    return indices


def feature_channels(module: nn.Module, size: int) -> list[int]:
    """Channels of each map that a module yields for a (1, 3, size, size) input."""
    module.eval()
    with torch.no_grad():
        return [m.shape[1] for m in module(torch.zeros(1, 3, size, size))]
