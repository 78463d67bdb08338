"""Overall gain that is set too high or too low."""

from __future__ import annotations

import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.sample import Image

DECIBELS = (3, 6, 9, 12, 15)
"""Change of the gain, up or down, by severity."""
DYNAMIC_RANGE = 60
"""Decibels that the grey levels 0 to 255 are taken to show."""


def change_gain(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Grey levels shifted up or down, by lot, and cut off at 0 and 255.

    B-mode shows the logarithm of the echo, so that a gain in decibels is a shift: 6 dB of 60 are 25.5 levels.

    >>> change_gain(np.array([[0, 100, 250]], np.uint8), 2, np.random.default_rng(0)).tolist()
    [[26, 126, 255]]
    """
    sign = 1 if rng.random() >= 0.5 else -1
    shift = sign * DECIBELS[severity - 1] * 255 / DYNAMIC_RANGE
    return np.asarray(np.clip(np.rint(image + shift), 0, 255), np.uint8)


CORRUPTIONS.register("gain")(
    Corruption(
        title="Overall gain",
        imitates="A gain that is set too high or too low (by lot, for each image), by "
        f"{', '.join(map(str, DECIBELS))} dB of a dynamic range of {DYNAMIC_RANGE} dB",
        source="This project's own; a shift of log-compressed echoes",
        apply=change_gain,
    )
)
