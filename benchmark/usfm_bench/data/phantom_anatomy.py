"""What phantoms show: echo amplitude of five organs, and of lesions with what they cast behind, on the probe's grid.

Sources: Stavros et al., Radiology 196:123, 1995, and ACR BI-RADS Ultrasound (benign and malignant lesions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.exact import Draws, arctan, exp, sine

Floats = NDArray[np.float32]


class Grid(NamedTuple):
    """Coordinates on the probe's grid, each (S, S): across in [-1, 1], depth in [0, 1]."""

    x: Floats
    y: Floats


def _ellipse(grid: Grid, cx: float, cy: float, rx: float, ry: float) -> Floats:
    """Below 1 inside an ellipse, 1 on it."""
    return hypotenuse((grid.x - cx) / rx, (grid.y - cy) / ry)


def hypotenuse(x: Floats, y: Floats) -> Floats:
    """As np.hypot, which guards against overflow at ten times the price."""
    return np.asarray(np.sqrt(x * x + y * y))


def _waves(grid: Grid, rng: Draws, count: int, scale: float) -> Floats:
    """A smooth random field with values around 0: a sum of plane waves."""
    fx, fy = ([rng.normal(s) for _ in range(count)] for s in (scale, 2 * scale))
    phase = np.array([rng.uniform(0, 2 * math.pi) for _ in range(count)])
    # sin(a + b) = sin a cos b + cos a sin b: sines of the two axes instead of the whole grid.
    across, down = np.multiply.outer(grid.x[0], fx), np.multiply.outer(grid.y[:, 0], fy) + phase
    left = np.concatenate([_whole(sine(down + math.pi / 2)), _whole(sine(down))], axis=1)
    right = np.concatenate([_whole(sine(across)), _whole(sine(across + math.pi / 2))], axis=1)
    return np.asarray(left @ right.T * (_UNIT**2 / math.sqrt(count)), dtype=np.float32)


_UNIT = 2.0**-20


def _whole(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Whole numbers of `_UNIT`: a double holds all their products and sums exactly, whatever the order of adding."""
    return np.rint(values / _UNIT)


def _soft(value: Any, width: float) -> Floats:
    """Smooth step: 1 where `value` is well below 0, 0 where well above."""
    return np.asarray(1 / (1 + exp(value * (2 / width))), dtype=np.float32)


def _breast(grid: Grid, rng: Draws) -> Floats:
    wave = _waves(grid, rng, 4, 3.0)
    skin, fat_end, muscle = 0.05, rng.uniform(0.2, 0.3), rng.uniform(0.72, 0.85)
    echo = 0.35 + 0.65 * _soft(fat_end + 0.03 * wave - grid.y, 0.02)  # fat above, gland below
    fold = sine(6 * grid.x + 9 * grid.y + 2 * wave)
    ligaments = exp(fold * fold * -50)
    echo = echo + 0.5 * ligaments * (grid.y < muscle)
    fibres = np.float32(0.5) * (sine(90 * grid.y + 3 * wave) > 0.6)
    echo = np.where(grid.y > muscle + 0.01 * wave, fibres + 0.45, echo)
    return np.asarray(np.where(grid.y < skin, 2.2, echo), dtype=np.float32)


def _thyroid(grid: Grid, rng: Draws) -> Floats:
    wave = _waves(grid, rng, 4, 3.0)
    side = float(2 * rng.integer(0, 2) - 1)
    muscle = 0.4 + np.float32(0.35) * (sine(70 * grid.y + 2 * wave) > 0.5)
    lobe = _soft(_ellipse(grid, 0.0, 0.5, 0.85, 0.32 + rng.normal(0.02)) - 1 + 0.04 * wave, 0.04)
    echo = muscle * (1 - lobe) + 1.15 * lobe
    artery = _ellipse(grid, 0.88 * side, 0.5, 0.18, 0.1)
    echo = np.where(artery < 1, 0.04, np.where(artery < 1.2, 1.8, echo))
    trachea = _ellipse(grid, -1.05 * side, 0.35, 0.35, 0.2)
    echo = np.where((trachea < 1) | ((np.abs(grid.x + 1.05 * side) < 0.33) & (grid.y > 0.35)), 0.08, echo)
    return np.asarray(np.where(grid.y < 0.05, 2.0, echo), dtype=np.float32)


def _fetal_head(grid: Grid, rng: Draws) -> Floats:
    wave = _waves(grid, rng, 3, 2.0)
    skull = _ellipse(grid, rng.normal(0.05), 0.52, 0.85, 0.4)
    echo = np.where(skull < 1, 0.5 + 0.08 * wave, 0.8 + 0.2 * wave)
    echo = np.where(np.abs(skull - 1) < 0.045, 4.0, echo)
    midline = 0.52 + 0.01 * wave
    centre = len(wave) // 2
    echo = np.where((np.abs(grid.y - midline) < 0.008) & (skull < 0.9), 2.2, echo)
    for side in (-1, 1):
        ventricle = _ellipse(grid, 0.35 * side, float(midline[centre, centre]) + 0.08, 0.16, 0.025)
        echo = np.where(ventricle < 1, 0.05, echo)
    return np.asarray(np.maximum(echo, 0.03), dtype=np.float32)


def _heart(grid: Grid, rng: Draws) -> Floats:
    wave = _waves(grid, rng, 3, 2.0)
    echo = 0.9 + 0.2 * wave
    for cx, cy, rx, ry in ((-0.35, 0.42, 0.3, 0.22), (0.38, 0.42, 0.27, 0.2), (0.0, 0.84, 0.6, 0.09)):
        chamber = _ellipse(grid, cx + rng.normal(0.03), cy, rx, ry * rng.uniform(0.85, 1.1)) + 0.04 * wave
        echo = np.where(chamber < 1, 0.05, np.where(chamber < 1.12, 2.0, echo))
    return np.asarray(np.maximum(echo, 0.03), dtype=np.float32)


def _liver(grid: Grid, rng: Draws) -> Floats:
    wave = _waves(grid, rng, 4, 2.0)
    echo = 0.9 + 0.06 * wave
    for _ in range(rng.integer(2, 5)):  # vessels: thin, long, with bright walls
        slope, offset = rng.uniform(-0.5, 0.5), rng.uniform(0.25, 0.75)
        distance = np.abs(grid.y - offset - slope * grid.x + 0.02 * wave)
        length = np.abs(grid.x - rng.uniform(-0.6, 0.6)) < rng.uniform(0.3, 0.6)
        echo = np.where(length & (distance < 0.022), 1.7, echo)
        echo = np.where(length & (distance < 0.015), 0.06, echo)
    diaphragm = grid.y - 0.9 + 0.1 * grid.x * grid.x
    return np.asarray(np.where(np.abs(diaphragm) < 0.012, 3.5, echo), dtype=np.float32)


ANATOMY: dict[str, Callable[[Grid, Draws], Floats]] = {
    "breast": _breast,
    "thyroid": _thyroid,
    "fetal head": _fetal_head,
    "heart chamber": _heart,
    "liver": _liver,
}


# ---- lesions -------------------------------------------------------------------------------------------------------


class LesionRanges(NamedTuple):
    """Uniform ranges that a lesion's look is drawn from. Height and echo of the two kinds overlap, the rest adjoin."""

    height_to_width: tuple[float, float]
    """Orientation: benign lesions are wider than tall."""
    roughness: tuple[float, float]
    """Amplitude of the border's lobes and spicules, relative to the radius."""
    margin: tuple[float, float]
    """Width of the soft margin, relative to the radius."""
    echo: tuple[float, float]
    """Amplitude inside, relative to tissue."""
    texture: tuple[float, float]
    """Strength of the inner inhomogeneity."""
    behind: tuple[float, float]
    """Amplitude behind the lesion: above 1 enhancement, below 1 shadow."""


BENIGN = LesionRanges((0.5, 0.85), (0.0, 0.06), (0.01, 0.04), (0.06, 0.3), (0.0, 0.15), (1.1, 2.0))
MALIGNANT = LesionRanges((0.8, 1.5), (0.1, 0.3), (0.04, 0.15), (0.12, 0.4), (0.2, 0.6), (0.2, 0.7))


_DIRECTIONS = 2048


def add_lesion(grid: Grid, echo: Floats, rng: Draws, *, malignant: bool) -> tuple[Floats, Floats, Floats]:
    """The lesion's region and that of its shadow (1 inside), and the echo with the lesion and what it casts behind."""
    look = MALIGNANT if malignant else BENIGN
    ratio, rough, margin, level, texture, behind = (rng.uniform(*r) for r in look)
    area = rng.uniform(0.02, 0.1)  # in units of half the probe's grid, which is 2 wide and 1 deep
    # As Python's floats: NumPy's own would turn the whole grid into double precision.
    rx, ry = math.sqrt(2 * area / (math.pi * ratio)), math.sqrt(area * ratio / (2 * math.pi))
    cx, cy = rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.62)
    dx, dy = (grid.x - cx) / rx, (grid.y - cy) / ry
    radius = hypotenuse(dx, dy) * (1 + _border(dx, dy, rng, rough))
    inside = (radius < 1).astype(np.float32)
    blend = _soft(radius - 1, margin)
    filling = level * np.maximum(0.2, 1 + texture * _waves(grid, rng, 6, 25.0))
    cast = (np.abs(dx) < 0.9) & (grid.y > cy) & (radius > 1)
    echo = np.where(cast, echo * behind, echo)
    shadow = (cast & (behind < 1)).astype(np.float32)
    return inside, shadow, np.asarray(echo * (1 - blend) + filling * blend, dtype=np.float32)


def _border(dx: Floats, dy: Floats, rng: Draws, rough: float) -> Floats:
    """Relative change of the radius in each direction: lobes, and spicules where the border is rough."""
    angle = _angles()
    lobes = np.zeros(len(angle))
    for k in (2, 3, 5):
        lobes += rng.normal(1 / 3) * sine(k * angle + rng.uniform(0, 2 * math.pi))
    spicules = sine(rng.integer(4, 8) * angle + rng.uniform(0, 2 * math.pi))
    spicules *= spicules
    change = np.asarray(rough * (lobes - spicules * spicules), dtype=np.float32)
    return change.take(_direction(dx, dy))


def _direction(dx: Floats, dy: Floats) -> NDArray[np.int32]:
    """Number of the direction from the centre, 0 to `_DIRECTIONS`: around a diamond, which needs no arc tangent."""
    around = dy / (np.abs(dx) + np.abs(dy) + np.float32(1e-30))  # -1 to 1, right half
    around = np.where(dx < 0, 2 - around, around) + 1  # 0 to 4
    return (around * (_DIRECTIONS / 4)).astype(np.int32)


@lru_cache(maxsize=1)
def _angles() -> NDArray[np.float64]:
    """(directions + 1,) angle of each direction of `_direction`, in radians."""
    around = np.arange(_DIRECTIONS + 1) * (4 / _DIRECTIONS) - 1
    right = np.where(around > 1, 2 - around, around)  # height on the diamond, whose half-width there is 1 - |height|
    angle = 2 * arctan(right / (1 - np.abs(right) + np.sqrt(right * right + (1 - np.abs(right)) * (1 - np.abs(right)))))
    return np.where(around > 1, math.pi - angle, angle)
