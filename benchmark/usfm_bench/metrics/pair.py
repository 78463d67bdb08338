"""Two masks of one image: counts, borders and distances, each computed once and shared by all metrics."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import scipy  # its parts are imported when they are used
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.data.sample import Mask

Floats = NDArray[np.float64]
_PAIRS = 2_000_000
"""Above as many pairs of border pixels, trees are faster."""
_DENSE = 0.2
"""Share of the box that is border, of both masks together, above which the distance transform is faster than trees."""
_EXACT = 2**22
"""Squared distance of a pixel from the corner, below which no sum of four products leaves float32's whole numbers."""
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


class Distances(NamedTuple):
    """Distances between two borders, in pixels or in millimetres, border pixels in raster order."""

    to_target: Floats
    """From each border pixel of the prediction to the nearest one of the reference."""
    to_pred: Floats
    """From each border pixel of the reference to the nearest one of the prediction."""


class Pair:
    """A predicted and a reference mask of one image.

    Args:
        pred: (H, W) bool.
        target: (H, W) bool.
        spacing: (y, x) pixel spacing in millimetres; None: distances are in pixels.

    Raises:
        BenchError: shapes differ, a mask is not bool, or a spacing is not positive.
    """

    def __init__(self, pred: Mask, target: Mask, spacing: tuple[float, float] | None = None) -> None:
        check_masks(pred, target)
        check_spacing(spacing)
        self.whole = (pred, target)
        """The masks as given; `pred` and `target` are cut to the box around both."""
        self.size = int(target.size)
        self._spacing = None if spacing is None else (float(spacing[0]), float(spacing[1]))
        height, width = target.shape
        sy, sx = self._spacing or (1.0, 1.0)
        self.diagonal = math.hypot(height * sy, width * sx)
        """Of the image; what a missed lesion gets for a distance."""
        # All counts and borders lie within the box around both masks, which is a tenth of most images.
        rows, columns = _box(pred, target)
        self.pred = np.ascontiguousarray(pred[rows, columns])
        self.target = np.ascontiguousarray(target[rows, columns])
        self.n_pred = int(np.count_nonzero(self.pred))
        self.n_target = int(np.count_nonzero(self.target))
        self.tp = int(np.count_nonzero(self.pred & self.target))
        self.fp, self.fn = self.n_pred - self.tp, self.n_target - self.tp
        self.tn = self.size - self.tp - self.fp - self.fn
        # No cached_property: until Python 3.12 it holds one lock for all pairs, and threads would wait for each other.
        self._distances: Distances | None = None
        self._pooled: Floats | None = None

    @property
    def distances(self) -> Distances:
        """Between the borders; both masks must have a pixel."""
        if self._distances is None:
            self._distances = border_distances(border(self.pred), border(self.target), self._spacing)
        return self._distances

    @property
    def pooled(self) -> Floats:
        """Both directions' distances, one behind the other."""
        if self._pooled is None:
            self._pooled = np.concatenate(self.distances)
        return self._pooled


def border_distances(pred: Mask, target: Mask, spacing: tuple[float, float] | None) -> Distances:
    """Distances between two borders, (H, W) each, with at least one pixel each.

    Three ways, the same to the last bit in pixels: for borders of usual length all pairs at once by one matrix product
    (squares of whole numbers below 2^24 are exact in float32); for long borders k-d trees; for dense ones, such as of
    noise, the distance transform of the whole box.
    """
    points_pred, points_target = border_points(pred), border_points(target)
    if spacing is None and len(points_pred) * len(points_target) <= _PAIRS:
        left, right = _factors(points_pred), _factors(points_target)
        if max(left[:, 2].max(), right[:, 2].max()) < _EXACT:
            squares = left @ np.stack([-2 * right[:, 0], -2 * right[:, 1], right[:, 3], right[:, 2]])
            return Distances(*(np.sqrt(squares.min(axis=axis).astype(np.float64)) for axis in (1, 0)))
    if len(points_pred) + len(points_target) > _DENSE * pred.size:
        return Distances(
            scipy.ndimage.distance_transform_edt(~target, sampling=spacing)[pred],
            scipy.ndimage.distance_transform_edt(~pred, sampling=spacing)[target],
        )
    if spacing is not None:
        scale = np.array(spacing[::-1])
        points_pred, points_target = points_pred * scale, points_target * scale
    # Neither sorting nor tightening the boxes pays for a tree that is asked once.
    tree_pred, tree_target = (
        scipy.spatial.cKDTree(points, balanced_tree=False, compact_nodes=False)
        for points in (points_pred, points_target)
    )
    return Distances(tree_target.query(points_pred)[0], tree_pred.query(points_target)[0])


def _factors(points: Floats) -> NDArray[np.float32]:
    """(P, 2) -> (P, 4): x, y, their square, 1; the products of two such rows add up to a squared distance."""
    factors = np.ones((len(points), 4), np.float32)
    factors[:, :2] = points
    factors[:, 2] = (points * points).sum(axis=1)
    return factors


def _box(pred: Mask, target: Mask) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around both masks."""
    boxes = [cv2.boundingRect(mask.view(np.uint8)) for mask in (pred, target) if mask.size]
    corners = [(y, y + h, x, x + w) for x, y, w, h in boxes if w]
    if not corners:
        return slice(0, 0), slice(0, 0)
    tops, bottoms, lefts, rights = zip(*corners, strict=True)
    return slice(min(tops), max(bottoms)), slice(min(lefts), max(rights))


def border(mask: Mask) -> Mask:
    """(H, W) pixels of a mask that erosion with a cross removes; outside the image is background."""
    pixels = mask.view(np.uint8)
    eroded = cv2.erode(pixels, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(cv2.bitwise_xor(pixels, eroded), dtype=np.uint8).view(np.bool_)


def border_points(pixels: Mask) -> Floats:
    """(P, 2) positions (x, y), in raster order."""
    return np.asarray(cv2.findNonZero(pixels.view(np.uint8)).reshape(-1, 2), dtype=np.float64)


def percentile(values: Floats, share: float) -> float:
    """`np.percentile(values, 100 * share)` to the last bit (linear interpolation), without its overhead."""
    rank = share * (len(values) - 1)
    below = math.floor(rank)
    above = min(below + 1, len(values) - 1)
    parted = np.partition(values, (below, above))
    low, high, gamma = float(parted[below]), float(parted[above]), rank - below
    # NumPy goes from the nearer end, so that a quantile of equal values is that value.
    return high - (high - low) * (1 - gamma) if gamma >= 0.5 else low + (high - low) * gamma


def check_masks(pred: Mask, target: Mask) -> None:
    """Raise a BenchError that names the argument, its type or values, and its shape."""
    for name, mask in (("pred", pred), ("target", target)):
        if not isinstance(mask, np.ndarray):
            raise BenchError(f"{name} is a {type(mask).__name__}; expected a NumPy array of bool, (H, W).")
        if mask.dtype != bool:
            raise BenchError(f"{name} is {mask.dtype} of shape {mask.shape}{_values(mask)}; expected bool, (H, W).")
        if mask.ndim != 2:
            raise BenchError(f"{name} is of shape {mask.shape}; expected one mask (H, W).")
    if pred.shape != target.shape:
        raise BenchError(f"pred is {pred.shape}, target {target.shape}; shapes must agree.")


def check_spacing(spacing: tuple[float, float] | None) -> None:
    """Raise a BenchError unless `spacing` is None or two positive, finite numbers."""
    if spacing is None:
        return
    values = np.asarray(spacing, dtype=object).ravel().tolist()
    fit = np.ndim(spacing) == 1 and len(values) == 2 and all(isinstance(v, (int, float, np.number)) for v in values)
    if not fit or not all(0 < value < math.inf for value in values):
        raise BenchError(f"spacing is {spacing}; expected (y, x), both positive millimetres.")


def _values(mask: NDArray[np.generic]) -> str:
    if not mask.size or mask.dtype.kind not in "iuf":
        return ""
    if mask.dtype.kind == "f" and np.isnan(mask).any():
        return f" with {int(np.isnan(mask).sum())} NaN"
    return f" with values from {mask.min():g} to {mask.max():g}"
