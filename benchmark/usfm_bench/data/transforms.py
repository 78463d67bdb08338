"""Augmentation and normalisation, on the device, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kornia.augmentation as K
import torch
from torch import Tensor, nn

_EACH = 0.5  # probability of each change, as in the published recipe
_AUGMENTATIONS: dict[str, Any] = {
    "hflip": lambda: [K.RandomHorizontalFlip(p=_EACH)],
    "vflip": lambda: [K.RandomVerticalFlip(p=_EACH)],
    "rot90": lambda: [K.RandomRotation90(times=(1, 3), p=_EACH)],
    "affine": lambda: [K.RandomAffine(degrees=15, translate=(0.08, 0.08), scale=(0.85, 1.2), p=_EACH)],
    # Gain and dynamic range differ between examinations.
    "intensity": lambda: [K.RandomGamma(gamma=(0.7, 1.4), p=_EACH), K.RandomContrast(contrast=(0.8, 1.2), p=_EACH)],
}


def build_augmentation(names: Sequence[str], target: str | None) -> K.AugmentationSequential | None:
    """The random changes called `names`, in that order; None when there are none.

    `target`: kornia's name for targets that move with the image, such as `mask`; None: they stay.
    """
    layers = [layer for name in names for layer in _AUGMENTATIONS[name]()]
    keys = ["input", target] if target else ["input"]
    return K.AugmentationSequential(*layers, data_keys=keys) if layers else None


class Normalise(nn.Module):
    """Grey levels in [0, 1], (B, 1, H, W) -> three equal channels, normalised (B, 3, H, W)."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, grey: Tensor) -> Tensor:
        """(B, 1, H, W) -> (B, 3, H, W), channels last in memory, which convolutions run faster on."""
        colour: Tensor = (grey - self.mean) / self.std  # type: ignore[operator]
        return colour.contiguous(memory_format=torch.channels_last)
