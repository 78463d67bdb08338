"""Spatial-frequency dual masking of a batch, on its device: Eqs. (1) to (7) of the paper.

Readings chosen where the printed equations are inconsistent are in docs/training.md, Pre-training.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.pretraining.masked_images import MaskingSpec

_MEAN, _STD = 0.449, 0.226  # of ImageNet, over its three channels


class Draw(NamedTuple):
    """What is masked in each image of a batch."""

    patches: Tensor
    """(B, S/p, S/p) bool: masked patches."""
    bands: Tensor
    """(B, K) bool: stopped annuli."""


class Masked(NamedTuple):
    """A masked batch."""

    images: Tensor
    """(B, C, S, S)."""
    pixels: Tensor
    """(B, 1, S, S) bool: in a masked patch."""


class DualMasking(nn.Module):
    """Masks for square images of one size; the bank of annuli is built once.

    Args:
        spec: how much is masked.
        image_size: S, in pixels.
        patches: mask patches, Eq. (1).
        bands: stop annuli of the spectrum, Eq. (6).
    """

    def __init__(self, spec: MaskingSpec, image_size: int, *, patches: bool = True, bands: bool = True) -> None:
        super().__init__()
        self.spec, self.size = spec, image_size
        self._masks_patches, self._stops_bands = patches and spec.ratio > 0, bands
        self.radii = annulus_radii(spec, image_size)
        self.band: Tensor
        self.register_buffer("band", annulus_index(self.radii, image_size), persistent=False)

    @property
    def n_bands(self) -> int:
        """Number of annuli."""
        return len(self.radii) - 1

    def draw(self, batch: int, generator: torch.Generator) -> Draw:
        """One draw an image: ceil(ratio * patches) patches and ceil(band_ratio * annuli) annuli."""
        spec, device = self.spec, self.band.device
        side = max(1, self.size // spec.patch_size)
        patches = _choose(batch, side**2, spec.ratio if self._masks_patches else 0, generator)
        bands = _choose(batch, self.n_bands, spec.band_ratio if self._stops_bands else 0, generator)
        return Draw(patches.view(batch, side, side).to(device), bands.to(device))

    def forward(self, images: Tensor, draw: Draw) -> Masked:
        """Eq. (7) as the text has it: band-stopped images, and in masked patches the mean of the whole image.

        Args:
            images: (B, C, S, S) grey levels in [0, 1].
            draw: of `draw`, for the same images in the same order.
        """
        if self.spec.normalised:
            masked = self._mask((images - _MEAN) / _STD, draw)
            return masked._replace(images=masked.images * _STD + _MEAN)
        return self._mask(images, draw)

    def _mask(self, images: Tensor, draw: Draw) -> Masked:
        pixels = self._pixels(draw.patches)
        stopped = self.stop_bands(images, draw.bands) if self._stops_bands else images
        mean = images.mean(dim=(2, 3), keepdim=True)
        return Masked(torch.where(pixels, mean, stopped), pixels)

    def stop_bands(self, images: Tensor, bands: Tensor) -> Tensor:
        """Eq. (6) and the inverse transform: (B, C, S, S) images without the chosen annuli of their spectrum.

        The mask is the same at (u, v) and (-u, -v), so half of the spectrum is enough and the result is real.
        """
        # The protected centre has the last index, which no draw stops.
        kept = ~F.pad(bands, (0, 1))[:, self.band]  # (B, S, S/2 + 1)
        spectrum = torch.fft.rfft2(images.float()) * kept[:, None]
        result: Tensor = torch.fft.irfft2(spectrum, s=images.shape[-2:])
        return (result.abs() if self.spec.magnitude else result).to(images.dtype)

    def _pixels(self, patches: Tensor) -> Tensor:
        if not self._masks_patches:
            return patches.new_zeros(len(patches), 1, self.size, self.size)
        side = self.spec.patch_size
        return patches.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, None]


def annulus_radii(spec: MaskingSpec, size: int) -> list[float]:
    """Radii of the annuli's borders, in cycles an image side, from the protected centre to the spectrum's corner."""
    corner = size / math.sqrt(2)
    radii, width = [spec.protected], spec.base_bandwidth
    while radii[-1] < corner:
        radii.append(radii[-1] + width)
        width += min(width * spec.growth, spec.max_increase)
    return radii


def annulus_index(radii: list[float], size: int) -> Tensor:
    """(S, S/2 + 1) number of the annulus of each frequency of `rfft2`; the protected centre has the number K.

    A frequency on a border belongs to the annulus outside it; without protection the mean is in the first.
    """
    v = torch.fft.fftfreq(size, 1 / size, dtype=torch.float64)
    u = torch.fft.rfftfreq(size, 1 / size, dtype=torch.float64)
    radius = torch.hypot(v[:, None], u[None, :])
    index = torch.bucketize(radius, torch.tensor(radii[1:], dtype=torch.float64), right=True)
    return torch.where(radius < radii[0], len(radii) - 1, index.clamp(max=len(radii) - 2))


def _choose(batch: int, n: int, ratio: float, generator: torch.Generator) -> Tensor:
    """(B, n) bool with ceil(ratio * n) True in each row, every such choice as likely as any other."""
    count = math.ceil(ratio * n - 1e-9)  # 0.6 * 5 is a little more than 3
    rank = torch.rand(batch, n, generator=generator).argsort(dim=1).argsort(dim=1)
    return rank < count
