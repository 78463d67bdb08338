"""Random changes to images before a method sees them, as ultrasound allows: grey levels only, and no colour."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional as F

from usfm_bench.pretraining.sampling import Step

_SHAPES = (3 / 4, 4 / 3)  # width over height of a crop, as usual since Szegedy et al. (2015)
_GAMMAS = (0.7, 1.4)  # as in fine-tuning's `intensity`
_SPECKLE, _GRAIN = 0.15, 2
_MOVES = {"crop", "hflip", "vflip"}


def change_images(images: Tensor, names: Collection[str], crop_scale: float, step: Step) -> Tensor:
    """(B, 1, S, S) grey levels in [0, 1] after the changes called `names`, each image by a draw of its own.

    Args:
        images: on any device.
        names: `crop`: a box of random area and shape, stretched to the whole; `hflip`, `vflip`: mirrored, every second
            image; `gain`: a random gamma; `speckle`: multiplied by grains around 1.
        crop_scale: smallest area of a box, as a share of the image.
        step: of the images.
    """
    if not names:
        return images
    draws = step.draw(lambda n, generator: torch.rand(n, 7, generator=generator)).to(images)
    if _MOVES & set(names):
        boxes = _boxes(draws, names, crop_scale)
        grid = F.affine_grid(boxes, list(images.shape), align_corners=False)
        images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    if "gain" in names:
        low, high = _GAMMAS
        images = images ** (low * (high / low) ** draws[:, 6])[:, None, None, None]
    if "speckle" in names:
        side = math.ceil(images.shape[-1] / _GRAIN)
        grains = step.draw(lambda n, generator: torch.randn(n, 1, side, side, generator=generator)).to(images)
        grains = F.interpolate(grains, size=images.shape[-2:], mode="bilinear", align_corners=False)
        images = (images * (1 + _SPECKLE * grains)).clamp(0, 1)
    return images


def _boxes(draws: Tensor, names: Collection[str], crop_scale: float) -> Tensor:
    """(B, 2, 3) maps from the output's coordinates in [-1, 1] to those of each image."""
    sides = torch.ones_like(draws[:, :2])
    if "crop" in names:
        area = crop_scale + (1 - crop_scale) * draws[:, 0]
        low, high = _SHAPES
        shape = low * (high / low) ** draws[:, 1]
        sides = torch.stack([area * shape, area / shape], dim=1).sqrt().clamp(max=1)
    centres = (2 * draws[:, 2:4] - 1) * (1 - sides)
    flips = torch.tensor([name in names for name in ("hflip", "vflip")], device=draws.device)
    signs = 1 - 2 * ((draws[:, 4:6] < 0.5) & flips).to(sides)
    return torch.cat([torch.diag_embed(sides * signs), centres[:, :, None]], dim=2)
