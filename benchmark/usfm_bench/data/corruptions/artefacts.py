"""What is in an image and not in the body: shadows, reverberations, haze."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.corruptions.echo import LEVELS, amplitude, compressed, depth, grey
from usfm_bench.data.sample import Image

SHADOWS = (6, 10, 15, 20, 30)
"""Decibels that are missing in the middle of a shadow, by severity."""
WIDTHS = (0.06, 0.08, 0.1, 0.12, 0.15)
"""Standard deviation of a shadow across, as a share of the image, by severity."""
ECHOES = (0.2, 0.3, 0.4, 0.5, 0.6)
"""Share of an echo that comes back once more after each way between the layers, by severity."""
HAZES = (-40, -34, -29, -24, -20)
"""Mean echo of a haze near the probe against white, in decibels, by severity."""


def cast_shadow(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """A band down to the last row, from a place and a depth by lot, with soft sides."""
    width = image.shape[1]
    middle, top = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.5)
    across = (np.arange(width) + 0.5) / width - middle
    below = np.clip((depth(image) - top) / 0.05, 0, 1)
    loss = SHADOWS[severity - 1] * np.exp(-0.5 * (across / WIDTHS[severity - 1]) ** 2) * below
    return grey(image - loss * LEVELS)


def reverberate(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """The echoes of the first tenth come again, weaker each time, at equal distances of 12 to 20 % of the depth."""
    echo, share = amplitude(image), ECHOES[severity - 1]
    height = image.shape[0]
    step = max(1, round(height * rng.uniform(0.12, 0.2)))
    layer = np.where(depth(image) <= 0.1, echo, 0) if height > 1 else np.zeros_like(echo)
    layer = cv2.blur(layer, (max(1, image.shape[1] // 20), 1))  # what comes again is flat and smooth across
    total, weight = echo.copy(), share
    for start in range(step, height, step):
        total[start:] += weight * layer[: height - start]
        weight *= share
    return compressed(np.where(field_of_view(image), total, echo))


def add_haze(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Echoes from outside the beam, smooth, strongest near the probe, in what the probe sees."""
    coarse = rng.standard_normal([max(2, length // 32) for length in image.shape])
    smooth = np.maximum(0, 1 + 0.3 * cv2.resize(coarse, image.shape[::-1], interpolation=cv2.INTER_CUBIC))
    level = 10 ** (HAZES[severity - 1] / 20) * np.exp(-depth(image) / 0.5)
    echo = amplitude(image)
    return compressed(np.where(field_of_view(image), echo + level * smooth, echo))


def field_of_view(image: Image) -> NDArray[np.bool_]:
    """(H, W) the convex hull of the largest part that is not black: a sector or a rectangle without its frame."""
    n, parts, stats, _ = cv2.connectedComponentsWithStats((image > 0).astype(np.uint8))
    if n < 2:
        return np.zeros(image.shape, bool)
    largest = (parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    hull = cv2.convexHull(cv2.findNonZero(largest))
    return np.asarray(cv2.fillConvexPoly(np.zeros(image.shape, np.uint8), hull, 1) > 0)


CORRUPTIONS.register("shadow")(
    Corruption(
        title="Acoustic shadow",
        imitates="A rib, a calcification or a lost contact: a band of a random place and depth that loses "
        f"{', '.join(map(str, SHADOWS))} dB in its middle, Gaussian across with a standard deviation of "
        f"{', '.join(f'{100 * w:g}' for w in WIDTHS)} % of the width",
        source="This project's own; a Gaussian shadow as in usaugment (arXiv 2501.13193)",
        apply=cast_shadow,
    )
)
CORRUPTIONS.register("reverberation")(
    Corruption(
        title="Reverberation",
        imitates="Echoes between skin and probe: those of the first tenth come again at equal distances, "
        f"{', '.join(f'{e:g}' for e in ECHOES)} as strong each time",
        source="This project's own",
        apply=reverberate,
    )
)
CORRUPTIONS.register("haze")(
    Corruption(
        title="Haze",
        imitates=f"Clutter from the body wall: smooth echoes of {', '.join(map(str, HAZES))} dB against white near "
        "the probe, which fall by 1/e in half the depth",
        source="This project's own; after the haze of usaugment (arXiv 2501.13193)",
        apply=add_haze,
    )
)
