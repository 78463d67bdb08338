"""Outlines become masks by one rule: a pixel is inside if its centre is.

`Origin` says where the centre of pixel (row i, column j) lies. `corner`: at (j + 0.5, i + 0.5), so that the square from
(0, 0) to (10, 10) is 10 x 10 pixels; COCO, YOLO and the canvas of labelme count so. `centre`: at (j, i), for points
that are numbers of pixels: those under a mouse pointer (DDTI), or those that the authors' code takes for such
(EchoNet). A centre on the outline itself counts on the left and upper sides alone, so that areas are those of the
polygon, and neighbours that share a side share no pixel.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Mask

Points = NDArray[np.floating]
"""(N, 2) x and y in pixels."""
Origin = Literal["corner", "centre"]
"""What the coordinates (0, 0) are of the first pixel."""


def fill_polygons(polygons: Iterable[Points], shape: tuple[int, ...], origin: Origin) -> Mask:
    """(H, W) bool: the union of what polygons enclose, each by the even-odd rule at pixel centres.

    Raises:
        ValueError: none of them reaches into the picture.
    """
    shift = 0.5 if origin == "corner" else 0.0
    mask, meets = np.zeros(shape[:2], bool), False
    for points in polygons:
        centred = np.asarray(points, np.float64) - shift
        low, high = centred.min(axis=0), centred.max(axis=0)
        meets |= bool((high >= -0.5).all() and (low <= np.array(shape[1::-1]) - 0.5).all())
        mask |= _fill(centred, mask.shape)
    if not meets:
        raise ValueError("lies outside the picture")
    return mask


def _fill(points: Points, shape: tuple[int, ...]) -> Mask:
    """Each edge turns inside to outside, or back, for all pixels to its right in the rows that it crosses."""
    height, width = shape
    ahead = np.roll(points, -1, axis=0)
    falls = (points[:, 1] <= ahead[:, 1])[:, None]
    upper, lower = np.where(falls, points, ahead), np.where(falls, ahead, points)
    first, end = (np.clip(np.ceil(side[:, 1]), 0, height).astype(np.int64) for side in (upper, lower))
    counts = end - first
    edge = np.repeat(np.arange(len(points)), counts)
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    share = (rows - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
    crossings = upper[edge, 0] + share * (lower[edge, 0] - upper[edge, 0])
    turns = np.zeros((height, width + 1), np.int64)
    np.add.at(turns, (rows, np.clip(np.ceil(crossings), 0, width).astype(np.int64)), 1)
    return np.asarray(np.cumsum(turns[:, :-1], axis=1) % 2 == 1)


def fill_ellipse(centre: tuple[float, float], axes: tuple[float, float], angle: float, shape: tuple[int, ...]) -> Mask:
    """(H, W) bool: pixel centres, which lie at whole numbers, in an ellipse.

    Args:
        centre: x and y.
        axes: both diameters, the first along `angle`.
        angle: degrees from the x axis towards the y axis, which points down.
        shape: of the mask.
    """
    rows, columns = np.indices(shape[:2], np.float64)
    x, y, turn = columns - centre[0], rows - centre[1], np.deg2rad(angle)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    return np.asarray((2 * along / axes[0]) ** 2 + (2 * across / axes[1]) ** 2 <= 1)
