"""Mask files become masks: which levels are the lesion, and how a mask of another size is brought to the image's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from usfm_bench.data.readers.files import read_pixels, to_grey
from usfm_bench.data.sample import Mask
from usfm_bench.errors import DataError

Byte = Annotated[int, Field(ge=0, le=255)]


class Levels(BaseModel):
    """`{equals: [1, 3]}`: exactly these levels, which are never smoothed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    equals: tuple[Annotated[int, Field(ge=0, le=65535)], ...] = Field(min_length=1)


class Colours(BaseModel):
    """`{colours: {benign: [0, 255, 0]}}`: pixels nearer (in RGB) to one of these colours than to black or another."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    colours: dict[str, tuple[Byte, Byte, Byte]] = Field(min_length=1)


Values = Annotated[int, Field(ge=1, le=255)] | Literal["nonzero", "two"] | Levels | Colours
"""An integer: luminance from that on, of 255. `nonzero`: all but 0. `two`: the same, and a third level is a fault."""
HALF = 128


def read_mask(
    paths: tuple[Path, ...], shape: tuple[int, ...], values: Values = HALF, resampled: list[Path] | None = None
) -> Mask:
    """The union of mask files as (H, W) bool; the files that had to be resampled are added to `resampled`.

    Raises:
        DataError: an unreadable file, levels that contradict `values`, or a size that is no scale of `shape`.
    """
    united = np.zeros(shape, dtype=bool)
    for path in paths:
        mask = foreground(path, values)
        if mask.shape != shape:
            mask = _resample(path, mask, shape)
            if resampled is not None:
                resampled.append(path)
        united |= mask
    return united


def foreground(path: Path, values: Values) -> Mask:
    """(H, W) bool at the file's own size.

    Raises:
        DataError: an unreadable file, or levels that contradict `values`.
    """
    return select(path, read_pixels(path), values)


def select(path: Path, pixels: NDArray[Any], values: Values) -> Mask:
    """(H, W) bool: where decoded pixels are the lesion; the path is for messages."""
    if isinstance(values, Colours):
        return np.asarray(nearest_colour(pixels, values) > 0)
    levels: NDArray[Any] = pixels if pixels.ndim == 2 else to_grey(pixels)
    if isinstance(values, int):
        return _above(path, levels, values)
    if isinstance(values, Levels):
        return np.isin(levels, values.equals)
    if values == "two":
        found = np.unique(levels)
        if len(found[found > 0]) > 1:
            raise DataError(f"{path}: levels {_shown(found)}; the entry declares two, 0 and another (`values: two`).")
    return np.asarray(levels > 0)


def _above(path: Path, levels: NDArray[Any], threshold: int) -> Mask:
    mask: Mask = levels >= (threshold if levels.dtype == np.uint8 else threshold * 256)
    if levels.any() and not mask.any():
        raise DataError(
            f"{path}: levels {_shown(np.unique(levels))}, none of which reaches {threshold} of 255, so that the mask "
            "would be empty. Say in the entry's options which levels are the lesion, such as `values: nonzero`."
        )
    return mask


def nearest_colour(pixels: NDArray[Any], values: Colours) -> NDArray[np.int64]:
    """(H, W) number of the nearest named colour, from 1; 0 for black."""
    rgb = np.array([(0, 0, 0), *values.colours.values()], np.int64)
    grey = pixels if pixels.dtype == np.uint8 else pixels >> 8
    bgr = np.repeat(grey[..., None], 3, -1) if grey.ndim == 2 else grey[..., :3]
    distances = [((bgr[..., ::-1].astype(np.int64) - colour) ** 2).sum(-1) for colour in rgb]
    return np.asarray(np.argmin(distances, axis=0), dtype=np.int64)


def _resample(path: Path, mask: Mask, shape: tuple[int, ...]) -> Mask:
    if not same_scale(mask.shape, shape):
        raise DataError(f"{path}: mask is {mask.shape[1]} x {mask.shape[0]} px, its image {shape[1]} x {shape[0]}.")
    nearest = cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(nearest > 0)


def same_scale(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Whether sizes differ by one whole factor (or 1), to within 2 %, with sides in proportion to within a pixel."""
    small, large = sorted((a, b), key=lambda size: (size[0] * size[1], size))
    factors = [large[i] / small[i] for i in (0, 1)]
    whole = max(1, round(factors[0]))
    in_proportion = all(abs(large[1 - i] / factors[i] - small[1 - i]) <= 1 for i in (0, 1))
    return in_proportion and all(abs(factor / whole - 1) <= 0.02 + 1e-9 for factor in factors)


def _shown(levels: NDArray[Any], most: int = 8) -> str:
    names = [str(level) for level in levels[:most]]
    return ", ".join(names) + (f", ... ({len(levels)} in all)" if len(levels) > most else "")
