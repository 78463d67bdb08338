"""Augmentation and normalisation, on the device, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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


_EXACT = ("hflip", "vflip", "rot90")


def build_augmentation(names: Sequence[str], target: str | None) -> nn.Module | None:
    """The random changes called `names`, in that order; None when there are none.

    `target`: kornia's name for targets that move with the image, such as `mask`; None: they stay.
    """
    layers = [layer for name in names for layer in _AUGMENTATIONS[name]()]
    if not layers:
        return None
    changes = K.AugmentationSequential(*layers, data_keys=["input", target] if target else ["input"])
    return FlipsAndTurns(names, changes) if set(names) <= set(_EXACT) else changes


class FlipsAndTurns(nn.Module):
    """Flips and quarter turns by kornia's draws, which move pixels and compute none.

    kornia turns by bilinear interpolation, which moves grey levels in [0, 1] by up to 1e-4 at 512 pixels, and takes ten
    times as many launches and a dozen copies to a GPU.
    """

    def __init__(self, names: Sequence[str], changes: K.AugmentationSequential) -> None:
        super().__init__()
        self._names, self._changes = tuple(names), changes

    def forward(self, images: Tensor, *targets: Tensor) -> Any:
        """(B, C, S, S) images, and maps of the same size that move with them -> the same, as kornia gives them."""
        widths = [tensor.shape[1] for tensor in (images, *targets)]
        x = torch.cat([images, *targets], dim=1)
        moves = self._drawn(images.shape)
        chosen = torch.stack([choice for _, choice in moves])
        chosen = (chosen.pin_memory() if x.is_cuda else chosen).to(x.device, non_blocking=True)
        for (move, _), choice in zip(moves, chosen[..., None, None, None], strict=True):
            x = torch.where(choice, move(x), x)
        moved = [part.contiguous() for part in torch.split(x, widths, dim=1)]
        return moved if targets else moved[0]

    def _drawn(self, shape: torch.Size) -> list[tuple[Callable[[Tensor], Tensor], Tensor]]:
        """Moves, one after the other, and (B,) bool: which images each is applied to."""
        moves: list[tuple[Callable[[Tensor], Tensor], Tensor]] = []
        for name, item in zip(self._names, self._changes.forward_parameters(shape), strict=True):
            chosen = item.data["batch_prob"] > 0.5
            if name != "rot90":
                moves.append((partial(torch.flip, dims=[-1 if name == "hflip" else -2]), chosen))
                continue
            turns = torch.where(chosen, item.data["times"].round().long(), 0)
            moves.append((partial(torch.rot90, k=1, dims=(-2, -1)), turns % 2 == 1))
            moves.append((partial(torch.flip, dims=[-2, -1]), turns // 2 == 1))
        return moves


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
