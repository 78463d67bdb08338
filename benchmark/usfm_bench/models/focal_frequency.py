"""The paper's loss of spectra, which pre-training and image enhancement share."""

from __future__ import annotations

import torch
from torch import Tensor


def focal_frequency_loss(rec: Tensor, image: Tensor, a: float = 1.0) -> Tensor:
    """Eqs. (12) and (13): squared error of the spectrum, weighted by its own size, as a mean over frequencies.

    The transform is orthonormal, as in Jiang et al. (2021), arXiv:2012.12821: with the unnormalised transform of
    Eq. (2), 1/HW leaves the loss HW times as large. Weights are min-max normalised within each image and channel, and
    no gradient passes through them.

    Args:
        rec: (B, C, S, S) reconstruction.
        image: (B, C, S, S) original.
        a: exponent of the weight.
    """
    error = torch.fft.fft2(rec.float() - image.float(), norm="ortho")  # the transform is linear
    squared = error.real**2 + error.imag**2
    size = squared.detach() ** (a / 2)
    low, high = size.amin((-2, -1), keepdim=True), size.amax((-2, -1), keepdim=True)
    # Where all errors are equal no frequency is harder than another, and Eq. (13) is 0 / 0.
    weight = torch.where(high > low, (size - low) / (high - low).clamp(min=torch.finfo(size.dtype).tiny), 0.0)
    loss: Tensor = (weight * squared).mean()
    return loss
