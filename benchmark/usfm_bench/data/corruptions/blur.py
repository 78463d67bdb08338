"""Blur across the beam."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.sample import Image

SIGMAS = (1.0, 2.0, 3.0, 4.5, 6.0)
"""Standard deviation of the Gaussian along a row, in pixels, by severity."""


def blur_across(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Each row smoothed by a Gaussian; edges repeat. Nothing is smoothed down the rows, along the beam.

    >>> edge = np.array([[0, 0, 0, 0, 255, 255, 255, 255]], np.uint8)
    >>> blur_across(edge, 1, np.random.default_rng(0)).tolist()
    [[0, 1, 15, 77, 178, 240, 254, 255]]
    """
    sigma = SIGMAS[severity - 1]
    width = 2 * round(4 * sigma) + 1  # 99.99 % of the Gaussian
    blurred = cv2.GaussianBlur(image, (width, 1), sigmaX=sigma, sigmaY=1.0, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.uint8)


CORRUPTIONS.register("lateral-blur")(
    Corruption(
        title="Blur across the beam",
        imitates="A wide beam, as of a low frequency or outside the focus: a Gaussian along each row with a standard "
        f"deviation of {', '.join(f'{sigma:g}' for sigma in SIGMAS)} pixels",
        source="This project's own; a beam resolves less across than along",
        apply=blur_across,
    )
)
