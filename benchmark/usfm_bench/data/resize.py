"""Images and masks on other grids: by area along a side that shrinks. Without torch: scoring needs it too."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Image, Mask


def resample(pixels: NDArray[Any], shape: tuple[int, ...], enlarge: int) -> NDArray[Any]:
    """(H, W) levels on a grid of (height, width): each side by area where it shrinks (no aliasing).

    OpenCV averages areas only where both sides shrink, so that a picture whose sides go different ways takes two steps.

    Args:
        pixels: (H, W) of 8 bits or float32.
        shape: of the result.
        enlarge: OpenCV's interpolation along a side that grows; `INTER_AREA` gives the exact mean over each new pixel.
    """
    height, width = shape[:2]
    small = min(width, pixels.shape[1]), min(height, pixels.shape[0])
    if small != pixels.shape[1::-1]:
        pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA)
    if small == (width, height):
        return pixels
    if enlarge == cv2.INTER_AREA:  # OpenCV's own is a pixel off where a border of both grids falls together
        return _grown(_grown(pixels, height, 0), width, 1)
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=enlarge))


def _grown(pixels: NDArray[Any], length: int, axis: int) -> NDArray[Any]:
    """Exact means over new pixels along an axis that grows: each lies in one old pixel, or across two."""
    old = pixels.shape[axis]
    start = np.arange(length) * old  # in units of 1 / length of an old pixel
    first, last = start // length, (start + old - 1) // length
    share = (np.minimum((first + 1) * length - start, old) / old).astype(np.float32)
    share = share[:, None] if axis == 0 else share
    return np.asarray(pixels.take(first, axis) * share + pixels.take(last, axis) * (1 - share))


def resize_image(image: Image, size: int) -> Image:
    """(H, W) grey levels -> (size, size); by area along a side that shrinks, bicubic along one that grows."""
    return np.asarray(resample(image, (size, size), cv2.INTER_CUBIC), dtype=np.uint8)


def resize_mask(mask: Mask, shape: int | tuple[int, ...]) -> Mask:
    """(H, W) bool -> (size, size) or another shape, bool: pixels at least half covered."""
    shape = (shape, shape) if isinstance(shape, int) else shape
    return np.asarray(resample(mask.astype(np.float32), shape, cv2.INTER_AREA) >= 0.5)


def shrink(image: Image, side: int) -> Image:
    """(H, W) grey levels with a longer side of at most `side` pixels, in proportion, by area; never enlarged."""
    scale = min(1.0, side / max(image.shape))
    shape = tuple(max(1, round(length * scale)) for length in image.shape)
    return np.asarray(resample(image, shape, cv2.INTER_AREA), dtype=np.uint8)
