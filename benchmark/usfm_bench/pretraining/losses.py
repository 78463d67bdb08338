"""Reconstruction losses of the paper, Eqs. (9) to (13)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from usfm_bench.models.focal_frequency import focal_frequency_loss as focal_frequency_loss


class Losses(NamedTuple):
    """Scalars of one batch."""

    total: Tensor
    """Eq. (10): spatial + lambda * frequency."""
    spatial: Tensor
    frequency: Tensor
    """Before lambda."""


def reconstruction_loss(rec: Tensor, image: Tensor, weight: float, pixels: Tensor | None = None) -> Losses:
    """Eq. (10) of (B, C, S, S) images; `pixels` (B, 1, S, S) bool restricts the L1 loss to them."""
    spatial = l1_loss(rec, image, pixels)
    frequency = focal_frequency_loss(rec, image) if weight else torch.zeros_like(spatial)
    return Losses(spatial + weight * frequency, spatial, frequency)


def l1_loss(rec: Tensor, image: Tensor, pixels: Tensor | None = None) -> Tensor:
    """Eq. (11) as a mean over all pixels, or over those that are True in `pixels` (B, 1, S, S)."""
    error = (rec.float() - image.float()).abs()
    if pixels is None:
        return error.mean()
    return (error * pixels).sum() / (pixels.sum() * error.shape[1]).clamp(min=1)
