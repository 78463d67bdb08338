"""Gain, dynamic range and contrast that are set wrong."""

from __future__ import annotations

import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.corruptions.echo import DYNAMIC_RANGE, LEVELS, grey
from usfm_bench.data.sample import Image

DECIBELS = (3, 6, 9, 12, 15)
"""Change of the gain, up or down, by severity."""
RATIOS = (1.1, 1.2, 1.3, 1.4, 1.5)
"""How much narrower the displayed range is, by severity."""
CONTRASTS = (0.8, 0.65, 0.5, 0.35, 0.2)
"""Share of the contrast that is left, by severity."""


def change_gain(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Grey levels shifted up or down, by lot, and cut off at 0 and 255.

    B-mode shows the logarithm of the echo, so that a gain in decibels is a shift: 6 dB of 60 are 25.5 levels.

    >>> change_gain(np.array([[0, 100, 250]], np.uint8), 2, np.random.default_rng(0)).tolist()
    [[26, 126, 255]]
    """
    sign = 1 if rng.random() >= 0.5 else -1
    return grey(image + sign * DECIBELS[severity - 1] * LEVELS)


def narrow_range(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """The strongest echoes stay white, and weak ones become black.

    >>> narrow_range(np.array([[0, 100, 250]], np.uint8), 5, np.random.default_rng(0)).tolist()
    [[0, 22, 248]]
    """
    return grey(255 - (255.0 - image) * RATIOS[severity - 1])


def lower_contrast(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Each level moved towards the mean of the image."""
    mean = image.mean()
    return grey(mean + (image - mean) * CONTRASTS[severity - 1])


CORRUPTIONS.register("gain")(
    Corruption(
        title="Overall gain",
        imitates="A gain that is set too high or too low (by lot, for each image), by "
        f"{', '.join(map(str, DECIBELS))} dB of a dynamic range of {DYNAMIC_RANGE} dB",
        source="This project's own; a shift of log-compressed echoes",
        apply=change_gain,
    )
)
CORRUPTIONS.register("dynamic-range")(
    Corruption(
        title="Dynamic range",
        imitates=f"A display that shows {', '.join(f'{DYNAMIC_RANGE / r:.3g}' for r in RATIOS)} dB instead of "
        f"{DYNAMIC_RANGE}: weak echoes become black",
        source="This project's own; another log compression of the same echoes",
        apply=narrow_range,
    )
)
CORRUPTIONS.register("contrast")(
    Corruption(
        title="Low contrast",
        imitates=f"A flat grey map: {', '.join(f'{c:g}' for c in CONTRASTS)} of each level's distance from the mean",
        source="As ImageNet-C's (Hendrycks and Dietterich 2019), with other severities",
        apply=lower_contrast,
    )
)
