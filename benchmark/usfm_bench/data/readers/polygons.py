"""Outlines given as polygons become masks."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Mask

Points = NDArray[np.floating]
"""(N, 2) x and y in pixels."""


def fill_polygons(polygons: Iterable[Points], shape: tuple[int, ...]) -> Mask:
    """(H, W) bool: the union of what polygons enclose, their outlines (at the nearest pixels) included."""
    mask = np.zeros(shape, np.uint8)
    for points in polygons:
        # Far outside is as good as just outside, and fits OpenCV's integers.
        near = np.clip(np.rint(points), -2 * max(shape), 3 * max(shape)).astype(np.int32)
        cv2.fillPoly(mask, [near], 1)
    return mask > 0
