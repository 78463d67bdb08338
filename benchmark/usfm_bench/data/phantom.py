"""A fast B-mode simulator: scatterers, point-spread function, attenuation, log compression, linear and sector probes.

An image is drawn on the probe's own grid (depth x beam). Echogenicity maps of anatomy and lesion weigh a field of
complex Gaussian scatterers, dense enough for Rayleigh speckle; each depth is blurred along the beams by a width that
grows away from the focus, and along depth by the pulse; the envelope is attenuated, amplified, compressed and, for
sector probes, mapped to the display. Masks are drawn by the same geometry and are exact.

Source of speckle: Wagner et al., IEEE Trans Sonics Ultrason 30:156, 1983. Anatomy and lesions: `data.phantom_anatomy`.

An image is the same bytes on every processor: everything that decides a pixel is made of what `data.exact` allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from usfm_bench.data.exact import Draws, arctan, exp
from usfm_bench.data.phantom_anatomy import ANATOMY, Grid, add_lesion, hypotenuse
from usfm_bench.data.sample import Image, Mask, Spacing

Floats = NDArray[np.float32]
Organ = Literal["breast", "thyroid", "fetal head", "heart chamber", "liver"]
LABELS = ("normal", "benign", "malignant")
PARTS = ("lesion", "shadow")
"""Structures that a data set may name."""
ORGANS: tuple[Organ, ...] = ("breast", "thyroid", "fetal head", "heart chamber", "liver")


ProbeName = Literal["default", "clinical", "cheap"]


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
    probe: ProbeName = "default"
    """`clinical`: lower frequency, less dynamic range, more noise. `cheap`: fewer elements, lower frequency, clutter,
    more noise, time-gain compensation that leaves depths dark, and less dynamic range."""
    low_probe: ProbeName | None = None
    """The same tissue is imaged by this probe too, for pairs: it gives the image, and `probe` the good image. None: no
    pairs."""
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
    clutter: float = 0.0
    """Haze of reverberations relative to tissue at the top; it fades with depth."""


PROBES = {
    "default": Probe(50.0, 6.0, 55.0, 1.1, 1.5, 0.02),
    "clinical": Probe(80.0, 14.0, 45.0, 1.7, 2.4, 0.08),
    "cheap": Probe(50.0, 16.0, 40.0, 2.2, 3.0, 0.12, clutter=0.3),
}


@dataclass(frozen=True)
class Phantom:
    """One simulated image."""

    image: Image
    """(H, W) grey levels; 0 outside the sector."""
    mask: Mask
    """(H, W) lesion; empty for a normal image."""
    shadow: Mask
    """(H, W) what lies behind a lesion that lets less sound through than its surroundings; empty for all others."""
    label: str
    organ: Organ
    spacing: Spacing
    """In millimetres."""

    @property
    def parts(self) -> dict[str, Mask]:
        """Mask by name of the structure, see `PARTS`."""
        return {"lesion": self.mask, "shadow": self.shadow}


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
    return [cases[i] for i in Draws(spec.seed, spec.n).order(spec.n)]


@lru_cache(maxsize=8)
def _plan(spec: PhantomSpec) -> list[tuple[str, Organ]]:
    return draw_plan(spec)


def render(spec: PhantomSpec, index: int) -> Phantom:
    """Simulate image `index`; the same (spec, index) gives the same bytes, whatever was drawn before."""
    label, organ = _plan(spec)[index]
    rng = Draws(spec.seed, spec.n, 1 + index)
    probe, size = PROBES[spec.probe], spec.size
    grid = _grid(size)
    echo = ANATOMY[organ](grid, rng)
    inside = shadow = np.zeros((size, size), np.float32)
    if label != "normal":
        inside, shadow, echo = add_lesion(grid, echo, rng, malignant=label == "malignant")
    image = _compress(_envelope(echo, rng, probe), probe, rng)
    if organ in _SECTOR_DEG:
        fan = _sector(size, _SECTOR_DEG[organ])
        image = (fan.display(image) + np.float32(0.5)).astype(np.uint8)
        inside, shadow = fan.display(inside), fan.display(shadow)
    step = probe.depth_mm / size
    return Phantom(image, inside > 0.5, shadow > 0.5, label, organ, Spacing(step, step))


def render_pair(spec: PhantomSpec, index: int) -> tuple[Image, Phantom]:
    """Image `index` by the low probe, and all of it by the good one: the same scatterers, so exactly registered.

    Both show the same draws of anatomy, scatterers, gain and electronic noise; they differ in what the probes do.
    """
    assert spec.low_probe is not None
    low = render(spec.model_copy(update={"probe": spec.low_probe, "low_probe": None}), index)
    return low.image, render(spec, index)


@lru_cache(maxsize=8)
def _grid(size: int) -> Grid:
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    x, y = np.meshgrid(2 * line - 1, line)
    return Grid(np.asarray(x, np.float32), np.asarray(y, np.float32))


# ---- from echogenicity to image ------------------------------------------------------------------------------------


def _envelope(echo: Floats, rng: Draws, probe: Probe) -> Floats:
    """(S, S) echo amplitude -> magnitude of blurred complex scatterers; mean/std is 1.91 where the echo is even."""
    size = len(echo)
    scatterers = rng.normals(2, size, size)  # real and imaginary part
    scatterers *= echo
    lateral, axial = _kernels(size, probe)
    blurred = np.concatenate(
        [
            _blur(scatterers[:, start : start + _ROWS], weights)
            for start, weights in zip(range(0, size, _ROWS), lateral, strict=True)
        ],
        axis=1,
    )
    across, along = _blur(blurred.swapaxes(1, 2), axial).swapaxes(1, 2)
    return hypotenuse(across, along)


_ROWS = 32
"""Depths blurred at once: few enough for a processor's cache."""
_CUT = 3.5
"""Standard deviations at which a Gaussian ends."""


def _blur(image: Floats, weights: Floats) -> Floats:
    """(2, R, S) -> convolved along the last axis, which closes to a ring, by symmetric weights (taps, R, 1)."""
    reach = len(weights) - 1
    size = image.shape[2]
    ring = np.concatenate([image[:, :, size - reach :], image, image[:, :, :reach]], axis=2)
    total = image * weights[0]
    for k in range(1, reach + 1):
        pair = ring[:, :, reach - k : reach - k + size] + ring[:, :, reach + k : reach + k + size]
        pair *= weights[k]
        total += pair
    return np.asarray(total)


@lru_cache(maxsize=8)
def _kernels(size: int, probe: Probe) -> tuple[list[Floats], Floats]:
    """Gaussians of unit noise gain: along the beams, for each `_ROWS` depths; and along depth."""
    depth = (np.arange(size) + 0.5) / size
    width = size / 256 * probe.beam_px * (1 + 2 * np.abs(depth - 0.45) / 0.55)
    lateral = [_gaussian(width[start : start + _ROWS]) for start in range(0, size, _ROWS)]
    return lateral, _gaussian(np.array([probe.pulse_px * size / 256]))


def _gaussian(width: NDArray[np.float64]) -> Floats:
    """(R,) standard deviations in pixels -> (taps, R, 1) weights at 0, 1, 2 ... pixels."""
    taps = [exp(-0.5 * (k / width) * (k / width)) for k in range(math.ceil(_CUT * width.max()) + 1)]
    power = taps[0] * taps[0]
    for tap in taps[1:]:
        power = power + 2 * tap * tap
    return np.asarray(np.stack(taps) / np.sqrt(power), dtype=np.float32)[:, :, None]


_DB = math.log(10) / 20
_BITS = 14  # of 32 that a look-up leaves out: 9 bits of the mantissa are left, 0.02 dB
_INFINITE = 0x7F800000  # as float32


def _compress(envelope: Floats, probe: Probe, rng: Draws) -> Image:
    """Attenuation, noise, gain, log compression -> grey levels."""
    noise = np.abs(rng.normals(*envelope.shape))
    noise *= probe.noise
    amplitude = envelope * _loss(len(envelope), probe)
    amplitude += noise
    amplitude *= float(exp(np.array(_DB * rng.uniform(-4, 4))))
    if probe.clutter:  # drawn last, so that all else is as it is by other probes
        amplitude += probe.clutter * _haze(len(envelope), rng)
    return _grey_levels(probe.dynamic_range_db).take(amplitude.view(np.uint32) >> _BITS)


_HAZE_PX, _FADING = 8.0, -4.0  # width of its speckle at 256 px; exponent at the bottom


def _haze(size: int, rng: Draws) -> Floats:
    """(S, S) amplitude of coarse speckle that fades with depth."""
    coarse = _gaussian(np.array([_HAZE_PX * size / 256]))
    across, along = _blur(rng.normals(2, size, size), coarse)
    depth = (np.arange(size) + 0.5) / size
    return np.asarray(hypotenuse(across, along) * exp(_FADING * depth).astype(np.float32)[:, None])


@lru_cache(maxsize=8)
def _loss(size: int, probe: Probe) -> Floats:
    """(S, 1) amplitude that attenuation leaves at each depth."""
    depth = (np.arange(size) + 0.5) / size
    return np.asarray(exp(-_DB * probe.attenuation_db * depth), dtype=np.float32)[:, None]


@lru_cache(maxsize=8)
def _grey_levels(dynamic_range_db: float) -> Image:
    """Grey level of an amplitude, by the first bits of its float32: a logarithm by look-up."""
    # Even tissue of echo 1 lies at about two thirds of the scale.
    least = exp(_DB * dynamic_range_db * (np.arange(1, 256) / 255 - 0.62))
    amplitudes = (np.arange(_INFINITE >> _BITS, dtype=np.uint32) << _BITS).view(np.float32)
    return np.searchsorted(least, amplitudes, side="right").astype(np.uint8)


_SECTOR_DEG: dict[str, float] = {"fetal head": 70.0, "heart chamber": 80.0, "liver": 60.0}


class Fan(NamedTuple):
    """Where the pixels of a sector's display lie on the probe's grid, and how they are interpolated from it."""

    size: int
    pixels: NDArray[np.int64]
    """(K,) flat index of the display's pixels inside the sector."""
    corners: tuple[NDArray[np.int64], ...]
    """Four times (K,) flat index on the probe's grid with a border of one pixel."""
    right: Floats
    """(K,) share of the right corners."""
    down: Floats
    """(K,) share of the lower corners."""

    def display(self, grid: NDArray[Any]) -> Floats:
        """(S, S) on the probe's grid -> (S, S) on the display, 0 outside the sector; bilinear."""
        source = np.pad(grid.astype(np.float32), 1).ravel()
        here, right, below, across = (source.take(corner) for corner in self.corners)
        upper = here + (right - here) * self.right
        lower = below + (across - below) * self.right
        shown = np.zeros(self.size * self.size, np.float32)
        shown[self.pixels] = upper + (lower - upper) * self.down
        return shown.reshape(self.size, self.size)


@lru_cache(maxsize=16)
def _sector(size: int, opening_deg: float) -> Fan:
    """A fan with its apex above the image."""
    half = math.radians(opening_deg) / 2
    x, y = (axis.astype(np.float64) for axis in _grid(size))
    apex = 0.12  # a curved array: its virtual apex lies above the skin
    across, down = x * 0.5, y + apex
    column = (arctan(across / down) / half + 1) / 2 * size - 0.5
    row = (np.sqrt(across * across + down * down) - apex) * size - 0.5
    pixels = np.flatnonzero((column > -1) & (column < size) & (row > -1) & (row < size))
    column, row = column.ravel()[pixels] + 1, row.ravel()[pixels] + 1  # the border of one pixel
    left, top = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    first, line = top * (size + 2) + left, size + 2
    shares = (np.asarray(share, np.float32) for share in (column - left, row - top))
    return Fan(size, pixels, (first, first + 1, first + line, first + line + 1), *shares)
