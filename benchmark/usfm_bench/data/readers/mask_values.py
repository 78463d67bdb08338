"""Mask files become masks: which levels are the lesion, and how a mask of another size is brought to the image's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from usfm_bench.core.errors import DataError
from usfm_bench.data.readers.decode import hidden_in_alpha, read_pixels, to_grey
from usfm_bench.data.readers.patterns import compile_pattern
from usfm_bench.data.resize import resize_mask
from usfm_bench.data.sample import Mask

Byte = Annotated[int, Field(ge=0, le=255)]


class Levels(BaseModel):
    """`{equals: [1, 3]}`: exactly these levels, which are never smoothed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    equals: tuple[Annotated[int, Field(ge=0, le=65535)], ...] = Field(min_length=1)


class Colours(BaseModel):
    """`{colours: {benign: [0, 255, 0]}}`: pixels nearer (in RGB) to one of these colours than to black or another."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    colours: dict[str, tuple[Byte, Byte, Byte]] = Field(min_length=1)


class AtLeast(BaseModel):
    """`{at_least: 128}`: luminance from that on, of 255, whatever lies below."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    at_least: Annotated[int, Field(ge=1, le=255)]


class Bit(BaseModel):
    """`{bit: 0}`: levels with this binary digit, from the lowest, so that one file holds masks that overlap."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    bit: Annotated[int, Field(ge=0, le=15)]


OneValues = Annotated[int, Field(ge=1, le=255)] | Literal["nonzero", "two"] | AtLeast | Levels | Bit | Colours
"""An integer: luminance from that on, of 255; areas of a lower level but 0 are a fault. `nonzero`: all but 0. `two`:
the same, and a third level is a fault."""


class InFiles(BaseModel):
    """`{files: "head/{id}.png"}`: mask files whose paths end like this pattern, and which of their levels."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    files: str
    values: OneValues = 128

    def holds(self, path: Path) -> bool:
        """Whether it is one of the files."""
        return bool(re.fullmatch(f"(?:.*/)?{compile_pattern(self.files).pattern}", path.as_posix(), re.DOTALL))


class Structures(BaseModel):
    """`{structures: {head: {equals: [2]}, symphysis: {equals: [1]}}}`: each of the entry's structures, in its order."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    structures: dict[str, OneValues | InFiles] = Field(min_length=2)

    def without_file(self, paths: Sequence[Path]) -> list[str]:
        """Structures with files of their own, none of which is among a case's mask files."""
        return [
            f"'{name}' (`{of.files}`)"
            for name, of in self.structures.items()
            if isinstance(of, InFiles) and not any(map(of.holds, paths))
        ]


Values = OneValues | Structures
HALF = 128
_FEW, _NOISE = 16, 16


class Fit:
    """Brings masks to their images' sizes, and remembers which masks were of another size."""

    def __init__(self, *, any_scale: bool = False) -> None:
        self.any_scale = any_scale
        self.by_nearest: list[Path] = []
        self.by_area: list[Path] = []

    def __call__(self, path: Path, mask: Mask, shape: tuple[int, ...]) -> Mask:
        """(h, w) bool -> (H, W) bool; (K, h, w) -> (K, H, W).

        Raises:
            DataError: the sizes differ by no whole factor, and `any_scale` does not allow others.
        """
        if mask.ndim == 3:
            return np.stack([self(path, each, shape) for each in mask])
        if mask.shape == shape:
            return mask
        if same_scale(mask.shape, shape):
            self.by_nearest.append(path)
            nearest = cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            return np.asarray(nearest > 0)
        if not self.any_scale or not in_proportion(mask.shape, shape):
            raise DataError(
                f"{path}: mask is {mask.shape[1]} x {mask.shape[0]} px, its image {shape[1]} x {shape[0]}."
                + " Where masks may be of any scale, say `any_scale: true` in the entry's options."
                * (in_proportion(mask.shape, shape) and not self.any_scale)
            )
        self.by_area.append(path)
        return resize_mask(mask, shape)

    @property
    def notes(self) -> list[str]:
        """How many masks were brought to another size, and how."""
        ways = (("by nearest neighbour", self.by_nearest), ("by area, at any scale", self.by_area))
        counts = [(len(set(paths)), way) for way, paths in ways if paths]
        return [f"{n} masks of another size resampled to their image's, {way}" for n, way in counts]


def read_mask(paths: tuple[Path, ...], shape: tuple[int, ...], values: Values = HALF, fit: Fit | None = None) -> Mask:
    """The union of mask files as (H, W) bool, or (K, H, W) of structures, each brought to `shape` by `fit`.

    Raises:
        DataError: an unreadable file, levels that contradict `values`, or a size that is no scale of `shape`.
    """
    fit = fit or Fit()
    united = np.zeros((len(values.structures), *shape) if isinstance(values, Structures) else shape, dtype=bool)
    for path in paths:
        united |= fit(path, foreground(path, values), shape)
    return united


def foreground(path: Path, values: Values) -> Mask:
    """(H, W) bool at the file's own size; (K, H, W) of structures.

    Raises:
        DataError: an unreadable file, or levels that contradict `values`.
    """
    return select(path, read_pixels(path), values)


def select(path: Path, pixels: NDArray[Any], values: Values) -> Mask:
    """(H, W) bool: where decoded pixels are the lesion; (K, H, W) of structures. The path is for messages."""
    if isinstance(values, Structures):
        return np.stack([_select_one(path, pixels, of) for of in values.structures.values()])
    opaque = without_alpha(path, pixels)
    mask = _select(path, opaque, values)
    partly = opaque is not pixels and pixels[..., 3].any() and not mask.any()
    if partly and _select(path, pixels[..., :3], values).any():
        raise DataError(
            f"{path}: is lesion by its colours only where it is transparent. Save it without transparency, black where "
            "there is no lesion."
        )
    return mask


def _select_one(path: Path, pixels: NDArray[Any], of: OneValues | InFiles) -> Mask:
    """One of several structures: of files of its own, or of all of them."""
    if not isinstance(of, InFiles):
        return select(path, pixels, of)
    return select(path, pixels, of.values) if of.holds(path) else np.zeros(pixels.shape[:2], dtype=bool)


def without_alpha(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """(H, W) levels, or (H, W, 3) colours, blue first, of a mask: what is transparent is black.

    Where all colours are the same, transparency is the mask: opaque is white. Where all is equally opaque, it says
    nothing.

    Raises:
        DataError: all is transparent, over colours that differ.
    """
    if pixels.ndim == 2 or pixels.shape[2] < 4:
        return pixels
    colours, alpha = pixels[..., :3], pixels[..., 3]
    if hidden_in_alpha(pixels):
        return alpha
    if alpha.any():
        return (
            colours if alpha.min() == alpha.max() else np.where(alpha[..., None] == 0, 0, colours).astype(pixels.dtype)
        )
    if (colours != colours[0, 0]).any():
        raise DataError(f"{path}: is wholly transparent, over colours that differ. Save it without transparency.")
    return np.zeros_like(alpha)


def _select(path: Path, pixels: NDArray[Any], values: OneValues) -> Mask:
    if isinstance(values, Colours):
        return np.asarray(nearest_colour(pixels, values) > 0)
    levels: NDArray[Any] = pixels if pixels.ndim == 2 else to_grey(pixels)
    if isinstance(values, AtLeast):
        return np.asarray(levels >= _scaled(values.at_least, levels))
    if isinstance(values, int):
        return _above(path, levels, values)
    if isinstance(values, Levels):
        return np.isin(levels, values.equals)
    if isinstance(values, Bit):
        return np.asarray(levels >> values.bit & 1 > 0)
    if values == "two":
        found = np.unique(levels)
        if len(found[found > 0]) > 1:
            raise DataError(f"{path}: levels {_shown(found)}; the entry declares two, 0 and another (`values: two`).")
    return np.asarray(levels > 0)


def _scaled(threshold: int, levels: NDArray[Any]) -> int:
    return threshold if levels.dtype == np.uint8 else threshold * 256


def _above(path: Path, levels: NDArray[Any], threshold: int) -> Mask:
    mask: Mask = levels >= _scaled(threshold, levels)
    below = levels[~mask]
    if not below.any():
        return mask
    if not mask.any():
        raise DataError(
            f"{path}: levels {_shown(np.unique(levels))}, none of which reaches {threshold} of 255, so that the mask "
            "would be empty. Say in the entry's options which levels are the lesion, such as `values: nonzero`."
        )
    if len(lost := areas_below(levels, mask)):
        raise DataError(
            f"{path}: levels {_shown(np.unique(levels))}; of these, {_shown(lost)} would be no lesion, since "
            f"{threshold} of 255 are needed. Say in the entry's options which levels are, such as `values: nonzero`, "
            f"`values: {{equals: [{lost[-1]}]}}` or, to leave the lower ones out, `values: {{at_least: {threshold}}}`."
        )
    return mask


def areas_below(levels: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """Levels but 0 outside a mask that fill areas of their own, and so are no smooth or lossy edge of it; sorted.

    Of up to 16 levels in all, an area is 3 x 3 pixels of one level. Of more, as JPEG and smoothing make them, it is
    9 x 9 pixels, which is more than a block of JPEG, of nearly one level that is not nearly black.
    """
    unit = 1 if levels.dtype == np.uint8 else 256
    found = np.unique(levels)
    # Lossy formats scatter levels around black and around white; labels beside a border in white do not.
    white, noise = 255 * unit, _NOISE * unit
    scattered = ((found > 0) & (found <= noise)).any() and ((found < white) & (found >= white - noise)).any()
    few = len(found) <= _FEW and not scattered
    side, tolerance, black = (3, 0, 0) if few else (9, 4 * unit, _NOISE * unit)
    window = np.ones((side, side), np.uint8)
    spread = cv2.subtract(cv2.dilate(levels, window), cv2.erode(levels, window))
    return np.unique(levels[(spread <= tolerance) & (levels > black) & ~mask])


def nearest_colour(pixels: NDArray[Any], values: Colours) -> NDArray[np.int64]:
    """(H, W) number of the nearest named colour, from 1; 0 for black."""
    rgb = np.array([(0, 0, 0), *values.colours.values()], np.int64)
    grey = pixels if pixels.dtype == np.uint8 else pixels >> 8
    bgr = np.repeat(grey[..., None], 3, -1) if grey.ndim == 2 else grey[..., :3]
    distances = [((bgr[..., ::-1].astype(np.int64) - colour) ** 2).sum(-1) for colour in rgb]
    return np.asarray(np.argmin(distances, axis=0), dtype=np.int64)


def same_scale(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether sizes differ by one whole factor (or 1), to within 2 %, with sides in proportion to within a pixel."""
    small, large = sorted((a, b), key=lambda size: (size[0] * size[1], size))
    factors = [large[i] / small[i] for i in (0, 1)]
    whole = max(1, round(factors[0]))
    return in_proportion(a, b) and all(abs(factor / whole - 1) <= 0.02 + 1e-9 for factor in factors)


def in_proportion(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether the sides of two sizes are in proportion, to within a pixel of the smaller."""
    small, large = sorted((a, b), key=lambda size: (size[0] * size[1], size))
    factors = [large[i] / small[i] for i in (0, 1)]
    return all(abs(large[1 - i] / factors[i] - small[1 - i]) <= 1 for i in (0, 1))


def _shown(levels: NDArray[Any], most: int = 8) -> str:
    names = [str(level) for level in levels[:most]]
    return ", ".join(names) + (f", ... ({len(levels)} in all)" if len(levels) > most else "")
