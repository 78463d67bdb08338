"""Speckle on top of the image's own."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.corruptions.echo import amplitude, compressed
from usfm_bench.data.sample import Image

SHARES = (0.3, 0.5, 0.7, 0.85, 1.0)
"""Share of the echo that is multiplied by new speckle, by severity; 1 is fully developed speckle."""
CELL = (1.0, 2.0)
"""Standard deviations of the resolution cell down and across, in pixels."""


def add_speckle(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Each echo times |(1 - share) + share * z| at unit mean power; z is complex Gaussian, smooth over a cell."""
    waves = rng.standard_normal((2, *image.shape))
    cells = np.stack([cv2.GaussianBlur(wave, (0, 0), sigmaX=CELL[1], sigmaY=CELL[0]) for wave in waves])
    z = cells / max(np.sqrt((cells**2).sum(axis=0).mean()), 1e-12)
    share = SHARES[severity - 1]
    factor = np.hypot((1 - share) + share * z[0], share * z[1]) / np.hypot(1 - share, share)
    return compressed(amplitude(image) * factor)


CORRUPTIONS.register("speckle")(
    Corruption(
        title="Speckle",
        imitates="Interference of echoes within a resolution cell of 1 x 2 px (standard deviations): a share of "
        f"{', '.join(f'{share:g}' for share in SHARES)} of each echo is multiplied by complex Gaussian noise",
        source="This project's own; fully developed speckle after Goodman (1975) and Burckhardt (1978)",
        apply=add_speckle,
    )
)
