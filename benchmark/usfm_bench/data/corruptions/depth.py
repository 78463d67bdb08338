"""Echoes that are too weak or too strong by depth."""

from __future__ import annotations

import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.corruptions.echo import LEVELS, depth, grey
from usfm_bench.data.sample import Image

LOSSES = (4, 8, 12, 16, 20)
"""Decibels that are missing in the last row, by severity."""
STEPS = (3, 5, 7, 9, 12)
"""Standard deviation of one slider of the time-gain compensation, in decibels, by severity."""
SLIDERS = 8


def attenuate(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Levels fall in proportion to depth, as echoes do in dB where attenuation is not made up for.

    >>> attenuate(np.array([[100], [100]], np.uint8), 1, np.random.default_rng(0)).tolist()
    [[100], [83]]
    """
    return grey(image - LOSSES[severity - 1] * LEVELS * depth(image))


def misset_compensation(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Eight sliders at random, straight lines between them; what is black stays black."""
    sliders = rng.standard_normal(SLIDERS) * STEPS[severity - 1]
    decibels = np.interp(depth(image), np.linspace(0, 1, SLIDERS), sliders)
    return grey(np.where(image > 0, image + decibels * LEVELS, 0))


CORRUPTIONS.register("attenuation")(
    Corruption(
        title="Depth attenuation",
        imitates="Fat or a high frequency, and a gain that does not make up for it: a loss that grows with depth to "
        f"{', '.join(map(str, LOSSES))} dB",
        source="This project's own; linear in dB, as in Ostvik et al. (2021) and usaugment (arXiv 2501.13193)",
        apply=attenuate,
    )
)
CORRUPTIONS.register("tgc")(
    Corruption(
        title="Wrong time-gain compensation",
        imitates=f"Sliders that are set wrong: {SLIDERS} gains over depth, each off by a Gaussian of "
        f"{', '.join(map(str, STEPS))} dB",
        source="This project's own",
        apply=misset_compensation,
    )
)
