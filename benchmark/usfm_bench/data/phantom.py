"""A fast B-mode simulator: scatterers, point-spread function, attenuation, log compression, linear and sector probes.

An image is drawn on the probe's own grid (depth x beam). Echogenicity maps of anatomy and lesion weigh a field of
complex Gaussian scatterers, dense enough for Rayleigh speckle; each depth is blurred along the beams by a width that
grows away from the focus, and along depth by the pulse; the envelope is attenuated, amplified, compressed and, for
sector probes, mapped to the display. Masks are drawn by the same geometry and are exact.

Sources: Wagner et al., IEEE Trans Sonics Ultrason 30:156, 1983 (speckle); Stavros et al., Radiology 196:123, 1995, and
ACR BI-RADS Ultrasound (benign and malignant lesions).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import fft

from usfm_bench.data.sample import Image, Mask, Spacing

Floats = NDArray[np.float32]
Organ = Literal["breast", "thyroid", "fetal head", "heart chamber", "liver"]
LABELS = ("normal", "benign", "malignant")
ORGANS: tuple[Organ, ...] = ("breast", "thyroid", "fetal head", "heart chamber", "liver")


class PhantomSpec(BaseModel):
    """A simulated data set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, ge=0)
    """Image i depends on i and these settings alone."""
    n: int = Field(default=300, ge=3)
    """Number of images."""
    size: int = Field(default=128, ge=32, le=1024)
    """Side in pixels."""
    prevalence: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    """Share of normal, benign and malignant images."""
    probe: Literal["default", "clinical"] = "default"
    """`clinical`: lower frequency, less dynamic range, more noise."""
    organs: tuple[Organ, ...] = Field(default=ORGANS, min_length=1)
    """Organs, in turn."""

    @model_validator(mode="after")
    def _shares(self) -> PhantomSpec:
        if min(self.prevalence) < 0 or abs(sum(self.prevalence) - 1) > 1e-6:
            raise ValueError(f"prevalence {self.prevalence} does not consist of shares that sum to 1")
        return self


class Probe(NamedTuple):
    """Acquisition settings."""

    depth_mm: float
    attenuation_db: float
    """Two-way, from top to bottom, left after time gain compensation."""
    dynamic_range_db: float
    pulse_px: float
    """Axial width of the point-spread function at 256 px."""
    beam_px: float
    """Lateral width at the focus at 256 px; three times that far from it."""
    noise: float
    """Electronic noise relative to tissue at the bottom."""


PROBES = {
    "default": Probe(50.0, 6.0, 55.0, 1.1, 1.5, 0.02),
    "clinical": Probe(80.0, 14.0, 45.0, 1.7, 2.4, 0.08),
}


@dataclass(frozen=True)
class Phantom:
    """One simulated image."""

    image: Image
    """(H, W) grey levels; 0 outside the sector."""
    mask: Mask
    """(H, W) lesion; empty for a normal image."""
    label: str
    organ: Organ
    spacing: Spacing
    """In millimetres."""


class Grid(NamedTuple):
    """Coordinates on the probe's grid, each (S, S): across in [-1, 1], depth in [0, 1]."""

    x: Floats
    y: Floats


def draw_plan(spec: PhantomSpec) -> list[tuple[str, Organ]]:
    """(label, organ) of every index: counts as near n * prevalence as can be, organs in turn within each label."""
    exact = np.array(spec.prevalence) * spec.n
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: spec.n - counts.sum()]] += 1
    cases = [
        (label, spec.organs[i % len(spec.organs)])
        for label, count in zip(LABELS, counts, strict=True)
        for i in range(count)
    ]
    order = np.random.default_rng(np.random.SeedSequence([spec.seed, spec.n])).permutation(spec.n)
    return [cases[i] for i in order]


@lru_cache(maxsize=8)
def _plan(spec: PhantomSpec) -> list[tuple[str, Organ]]:
    return draw_plan(spec)


def render(spec: PhantomSpec, index: int) -> Phantom:
    """Simulate image `index`; the same (spec, index) gives the same bytes, whatever was drawn before."""
    label, organ = _plan(spec)[index]
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, spec.n, 1 + index]))
    probe, size = PROBES[spec.probe], spec.size
    grid = _grid(size)
    echo = ANATOMY[organ](grid, rng)
    inside = np.zeros((size, size), np.float32)
    if label != "normal":
        inside, echo = _add_lesion(grid, echo, rng, malignant=label == "malignant")
    image = _compress(_envelope(echo, rng, probe), grid, probe, rng)
    if organ in _SECTOR_DEG:
        maps = _sector(size, _SECTOR_DEG[organ])
        image = cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        inside = cv2.remap(inside, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    step = probe.depth_mm / size
    return Phantom(image, inside > 0.5, label, organ, Spacing(step, step))


@lru_cache(maxsize=8)
def _grid(size: int) -> Grid:
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(2 * line - 1, line)
    return Grid(np.asarray(x, np.float32), np.asarray(y, np.float32))


# ---- from echogenicity to image ------------------------------------------------------------------------------------


def _envelope(echo: Floats, rng: np.random.Generator, probe: Probe) -> Floats:
    """(S, S) echo amplitude -> magnitude of blurred complex scatterers; mean/std is 1.91 where the echo is even."""
    size = len(echo)
    scatterers = rng.standard_normal((size, 2 * size), dtype=np.float32).view(np.complex64)
    scatterers *= echo
    lateral, axial = _transfer(size, probe)
    spectrum = fft.fft(scatterers, axis=1, overwrite_x=True)
    spectrum *= lateral
    blurred = fft.ifft(spectrum, axis=1, overwrite_x=True)
    spectrum = fft.fft(blurred, axis=0, overwrite_x=True)
    spectrum *= axial
    blurred = fft.ifft(spectrum, axis=0, overwrite_x=True)
    return _radius(blurred.real, blurred.imag)


@lru_cache(maxsize=8)
def _transfer(size: int, probe: Probe) -> tuple[Floats, Floats]:
    """Gaussian transfer functions: along the beams, one a depth (S, S), and along depth (S, 1); unit noise gain."""
    frequency = fft.fftfreq(size).astype(np.float32)
    depth = (np.arange(size) + 0.5) / size
    width = size / 256 * probe.beam_px * (1 + 2 * np.abs(depth - 0.45) / 0.55)
    lateral = np.exp(-2 * (np.pi * frequency[None, :] * width[:, None]) ** 2)
    axial = np.exp(-2 * (np.pi * frequency * probe.pulse_px * size / 256) ** 2)[:, None]
    lateral /= np.sqrt((lateral**2).mean(axis=1, keepdims=True))
    axial /= np.sqrt((axial**2).mean())
    return lateral.astype(np.float32), axial.astype(np.float32)


def _compress(envelope: Floats, grid: Grid, probe: Probe, rng: np.random.Generator) -> Image:
    """Attenuation, noise, gain, log compression -> grey levels."""
    loss = 10 ** (-probe.attenuation_db * grid.y[:, :1] / 20)
    noise = probe.noise * np.abs(rng.standard_normal(envelope.shape, dtype=np.float32))
    gain_db = rng.uniform(-4, 4)
    decibel = 20 / math.log(10) * np.log(envelope * loss + noise + 1e-6) + gain_db  # np.log10 is six times slower
    # Even tissue of echo 1 lies at about two thirds of the scale.
    grey = 255 * (decibel / probe.dynamic_range_db + 0.62)
    return np.clip(grey, 0, 255).astype(np.uint8)


_SECTOR_DEG: dict[str, float] = {"fetal head": 70.0, "heart chamber": 80.0, "liver": 60.0}


@lru_cache(maxsize=16)
def _sector(size: int, opening_deg: float) -> tuple[Floats, Floats]:
    """cv2.remap coordinates from the display to the probe's grid, for a fan with its apex above the image."""
    half = np.deg2rad(opening_deg) / 2
    x, y = _grid(size)
    apex = 0.12  # a curved array: its virtual apex lies above the skin
    across, down = x * 0.5, y + apex
    radius = np.hypot(across, down) - apex
    angle = np.arctan2(across, down) / half
    return ((angle + 1) / 2 * size - 0.5).astype(np.float32), (radius * size - 0.5).astype(np.float32)


# ---- anatomy: echo amplitude on the probe's grid -------------------------------------------------------------------


def _ellipse(grid: Grid, cx: float, cy: float, rx: float, ry: float) -> Floats:
    """Below 1 inside an ellipse, 1 on it."""
    return _radius((grid.x - cx) / rx, (grid.y - cy) / ry)


def _radius(x: Floats, y: Floats) -> Floats:
    """As np.hypot, which guards against overflow at ten times the price."""
    return np.asarray(np.sqrt(x * x + y * y))


def _waves(grid: Grid, rng: np.random.Generator, count: int, scale: float) -> Floats:
    """A smooth random field with values around 0: a sum of plane waves."""
    fx, fy = rng.normal(0, scale, count), rng.normal(0, 2 * scale, count)
    phase = rng.uniform(0, 2 * np.pi, count)
    # sin(a + b) = sin a cos b + cos a sin b: sines of the two axes instead of the whole grid.
    across = np.outer(grid.x[0], fx)
    down = np.outer(grid.y[:, 0], fy) + phase
    total = np.cos(down) @ np.sin(across).T + np.sin(down) @ np.cos(across).T
    return np.asarray(total / np.sqrt(count), dtype=np.float32)


def _soft(value: Any, width: float) -> Floats:
    """Smooth step: 1 where `value` is well below 0, 0 where well above."""
    return np.asarray(0.5 - 0.5 * np.tanh(value / width), dtype=np.float32)


def _breast(grid: Grid, rng: np.random.Generator) -> Floats:
    wave = _waves(grid, rng, 4, 3.0)
    skin, fat_end, muscle = 0.05, rng.uniform(0.2, 0.3), rng.uniform(0.72, 0.85)
    echo = 0.35 + 0.65 * _soft(fat_end + 0.03 * wave - grid.y, 0.02)  # fat above, gland below
    ligaments = np.exp(-((np.sin(6 * grid.x + 9 * grid.y + 2 * wave)) ** 2) / 0.02)
    echo = echo + 0.5 * ligaments * (grid.y < muscle)
    echo = np.where(grid.y > muscle + 0.01 * wave, 0.45 + 0.5 * (np.sin(90 * grid.y + 3 * wave) > 0.6), echo)
    return np.asarray(np.where(grid.y < skin, 2.2, echo), dtype=np.float32)


def _thyroid(grid: Grid, rng: np.random.Generator) -> Floats:
    wave = _waves(grid, rng, 4, 3.0)
    side = float(rng.choice([-1.0, 1.0]))
    muscle = 0.4 + 0.35 * (np.sin(70 * grid.y + 2 * wave) > 0.5)
    lobe = _soft(_ellipse(grid, 0.0, 0.5, 0.85, 0.32 + 0.02 * rng.normal()) - 1 + 0.04 * wave, 0.04)
    echo = muscle * (1 - lobe) + 1.15 * lobe
    artery = _ellipse(grid, 0.88 * side, 0.5, 0.18, 0.1)
    echo = np.where(artery < 1, 0.04, np.where(artery < 1.2, 1.8, echo))
    trachea = _ellipse(grid, -1.05 * side, 0.35, 0.35, 0.2)
    echo = np.where((trachea < 1) | ((np.abs(grid.x + 1.05 * side) < 0.33) & (grid.y > 0.35)), 0.08, echo)
    return np.asarray(np.where(grid.y < 0.05, 2.0, echo), dtype=np.float32)


def _fetal_head(grid: Grid, rng: np.random.Generator) -> Floats:
    wave = _waves(grid, rng, 3, 2.0)
    skull = _ellipse(grid, 0.05 * rng.normal(), 0.52, 0.85, 0.4)
    echo = np.where(skull < 1, 0.5 + 0.08 * wave, 0.8 + 0.2 * wave)
    echo = np.where(np.abs(skull - 1) < 0.045, 4.0, echo)
    midline = 0.52 + 0.01 * wave
    echo = np.where((np.abs(grid.y - midline) < 0.008) & (skull < 0.9), 2.2, echo)
    for side in (-1, 1):
        ventricle = _ellipse(grid, 0.35 * side, midline.mean() + 0.08, 0.16, 0.025)
        echo = np.where(ventricle < 1, 0.05, echo)
    return np.asarray(np.maximum(echo, 0.03), dtype=np.float32)


def _heart(grid: Grid, rng: np.random.Generator) -> Floats:
    wave = _waves(grid, rng, 3, 2.0)
    echo = 0.9 + 0.2 * wave
    for cx, cy, rx, ry in ((-0.35, 0.42, 0.3, 0.22), (0.38, 0.42, 0.27, 0.2), (0.0, 0.84, 0.6, 0.09)):
        chamber = _ellipse(grid, cx + 0.03 * rng.normal(), cy, rx, ry * rng.uniform(0.85, 1.1)) + 0.04 * wave
        echo = np.where(chamber < 1, 0.05, np.where(chamber < 1.12, 2.0, echo))
    return np.asarray(np.maximum(echo, 0.03), dtype=np.float32)


def _liver(grid: Grid, rng: np.random.Generator) -> Floats:
    wave = _waves(grid, rng, 4, 2.0)
    echo = 0.9 + 0.06 * wave
    for _ in range(rng.integers(2, 5)):  # vessels: thin, long, with bright walls
        slope, offset = rng.uniform(-0.5, 0.5), rng.uniform(0.25, 0.75)
        distance = np.abs(grid.y - offset - slope * grid.x + 0.02 * wave)
        length = np.abs(grid.x - rng.uniform(-0.6, 0.6)) < rng.uniform(0.3, 0.6)
        echo = np.where(length & (distance < 0.022), 1.7, echo)
        echo = np.where(length & (distance < 0.015), 0.06, echo)
    diaphragm = grid.y - 0.9 + 0.1 * grid.x**2
    return np.asarray(np.where(np.abs(diaphragm) < 0.012, 3.5, echo), dtype=np.float32)


ANATOMY: dict[str, Callable[[Grid, np.random.Generator], Floats]] = {
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


_DIRECTIONS = 1024


def _add_lesion(grid: Grid, echo: Floats, rng: np.random.Generator, *, malignant: bool) -> tuple[Floats, Floats]:
    """The lesion's region (1 inside) and the echo with the lesion and what it casts behind it."""
    look = MALIGNANT if malignant else BENIGN
    ratio, rough, margin, level, texture, behind = (rng.uniform(*r) for r in look)
    area = rng.uniform(0.02, 0.1)  # in units of half the probe's grid, which is 2 wide and 1 deep
    # As Python's floats: NumPy's own would turn the whole grid into double precision.
    rx, ry = math.sqrt(2 * area / (math.pi * ratio)), math.sqrt(area * ratio / (2 * math.pi))
    cx, cy = rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.62)
    dx, dy = (grid.x - cx) / rx, (grid.y - cy) / ry
    radius = _radius(dx, dy) * (1 + _border(dx, dy, rng, rough))
    inside = (radius < 1).astype(np.float32)
    blend = _soft(radius - 1, margin)
    filling = level * np.maximum(0.2, 1 + texture * _waves(grid, rng, 6, 25.0))
    cast = (np.abs(dx) < 0.9) & (grid.y > cy) & (radius > 1)
    echo = np.where(cast, echo * behind, echo)
    return inside, np.asarray(echo * (1 - blend) + filling * blend, dtype=np.float32)


def _border(dx: Floats, dy: Floats, rng: np.random.Generator, rough: float) -> Floats:
    """Relative change of the radius in each direction: lobes, and spicules where the border is rough."""
    angle = np.linspace(0, 2 * np.pi, _DIRECTIONS + 1, dtype=np.float32)
    lobes = sum(rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5)) / 3
    spicules = np.abs(np.sin(rng.integers(4, 8) * angle + rng.uniform(0, 2 * np.pi))) ** 4
    change = np.asarray(rough * (lobes - spicules), dtype=np.float32)
    direction = cv2.phase(dx, dy)  # 0 to 2 pi, to 0.3 degrees
    return np.asarray(change[(direction * (_DIRECTIONS / (2 * np.pi))).astype(np.int32)])
