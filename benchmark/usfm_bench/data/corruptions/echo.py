"""Grey levels as what they show: B-mode is the logarithm of the echo."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Image

DYNAMIC_RANGE = 60
"""Decibels that the grey levels 0 to 255 are taken to show; files do not say."""
LEVELS = 255 / DYNAMIC_RANGE
"""Grey levels a decibel."""

Floats = NDArray[np.floating[Any]]


def grey(levels: Floats) -> Image:
    """Levels cut off at 0 and 255 and rounded."""
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def amplitude(image: Image) -> Floats:
    """Echo of each pixel, 1 at level 255; black is silence, not an echo of -60 dB."""
    return np.where(image > 0, 10.0 ** ((image / 255.0 - 1) * DYNAMIC_RANGE / 20), 0.0)


def compressed(echo: Floats) -> Image:
    """The grey levels of echoes, as `amplitude` reads them."""
    return grey(255 + 20 * LEVELS * np.log10(np.maximum(echo, 1e-12)))


def depth(image: Image) -> Floats:
    """(H, 1) place along the beam, from 0 in the first row to 1 in the last; the beam goes down the rows."""
    return np.linspace(0, 1, image.shape[0])[:, None]


def shown(image: Image) -> NDArray[np.bool_]:
    """Where there is an echo; what is black stays so, such as the frame around a sector."""
    return image > 0
