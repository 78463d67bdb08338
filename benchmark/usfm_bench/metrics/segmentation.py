"""Segmentation metrics: one value an image; averaging is done elsewhere."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from usfm_bench.data.sample import Mask
from usfm_bench.errors import BenchError, unknown

Rule = Literal["pooled", "max_directed"]
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def dice(pred: Mask, target: Mask) -> float:
    """Dice overlap of two (H, W) bool masks, in [0, 1]; 1 where both are empty.

    Raises:
        BenchError: shapes differ or a mask is not bool.

    Reference: Dice (1945), doi:10.2307/1932409.
    """
    _check(pred, target)
    return _ratio(2 * int((pred & target).sum()), int(pred.sum()) + int(target.sum()), empty=1.0)


def hd95(pred: Mask, target: Mask, *, spacing: tuple[float, float] | None = None, rule: Rule = "pooled") -> float:
    """95th percentile of the distances between the borders of two (H, W) bool masks.

    Args:
        pred: predicted mask.
        target: reference mask.
        spacing: (y, x) pixel spacing in millimetres; None: the result is in pixels.
        rule: `pooled` (medpy): one percentile over both directions' distances together;
            `max_directed` (MONAI, MetricsReloaded): the larger of the two directions' percentiles.

    Returns:
        0 where both are empty; the image diagonal for a missed lesion; NaN for a false alarm on an empty reference.

    Raises:
        BenchError: shapes differ, a mask is not bool, or a spacing is not positive.
    """
    _check(pred, target)
    if rule not in get_args(Rule):
        raise unknown("rule", rule, get_args(Rule))
    sy, sx = spacing or (1.0, 1.0)
    if not (sy > 0 and sx > 0):
        raise BenchError(f"spacing is {spacing}; both values must be positive millimetres.")
    if not target.any():
        return math.nan if pred.any() else 0.0
    if not pred.any():
        return math.hypot(target.shape[0] * sy, target.shape[1] * sx)
    to_target, to_pred = _surface_distances(pred, target, (sy, sx))
    if rule == "pooled":
        return float(np.percentile(np.concatenate([to_target, to_pred]), 95))
    return float(max(np.percentile(to_target, 95), np.percentile(to_pred, 95)))


def score_segmentation(
    preds: Sequence[Mask],
    targets: Sequence[Mask],
    *,
    spacings: Sequence[tuple[float, float] | None] | None = None,
    case_ids: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Every metric of every case, one row a case, in the given order.

    Args:
        preds: (H, W) bool predictions; sizes may differ between cases.
        targets: (H, W) bool references.
        spacings: (y, x) in millimetres a case, for HD95; None: pixels.
        case_ids: names of the cases; their positions when None.

    Returns:
        Columns case_id, DSC, HD95, IOU, ACC, SEN, SPEC, PREC, F1, lesion, missed, false_alarm, target_px, pred_px.

    Raises:
        BenchError: lengths or shapes differ, or a mask is not bool; names the case.
    """
    names = list(case_ids) if case_ids is not None else [str(i) for i in range(len(targets))]
    gaps = list(spacings) if spacings is not None else [None] * len(targets)
    if not len(preds) == len(targets) == len(names) == len(gaps):
        raise BenchError(f"{len(preds)} preds, {len(targets)} targets, {len(names)} case_ids, {len(gaps)} spacings.")

    def score(i: int) -> dict[str, Any]:
        try:
            return {"case_id": names[i], **_score_case(preds[i], targets[i], gaps[i])}
        except BenchError as error:
            raise BenchError(f"case '{names[i]}': {error}") from None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return pd.DataFrame(list(pool.map(score, range(len(names)))))


def _score_case(pred: Mask, target: Mask, spacing: tuple[float, float] | None) -> dict[str, Any]:
    _check(pred, target)
    n_pred, n_target, tp = int(pred.sum()), int(target.sum()), int((pred & target).sum())
    fp, fn = n_pred - tp, n_target - tp
    tn = target.size - tp - fp - fn
    missed = n_target > 0 and n_pred == 0
    overlap = _ratio(2 * tp, n_pred + n_target, empty=1.0)
    return {
        "DSC": overlap,
        "HD95": hd95(pred, target, spacing=spacing),
        "IOU": _ratio(tp, tp + fp + fn, empty=1.0),
        "ACC": _ratio(tp + tn, target.size),
        "SEN": _ratio(tp, tp + fn),
        "SPEC": _ratio(tn, tn + fp),
        "PREC": 0.0 if missed else _ratio(tp, n_pred),
        "F1": overlap,
        "lesion": n_target > 0,
        "missed": missed,
        "false_alarm": n_target == 0 and n_pred > 0,
        "target_px": n_target,
        "pred_px": n_pred,
    }


def _surface_distances(
    a: Mask, b: Mask, spacing: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances from each border pixel of `a` to the border of `b`, and back; trees of border points only."""
    x, y, w, h = cv2.boundingRect((a | b).view(np.uint8))
    border_a, border_b = (_border(m[y : y + h, x : x + w]) * np.array(spacing) for m in (a, b))
    tree_a, tree_b = (cKDTree(p, balanced_tree=False, compact_nodes=False) for p in (border_a, border_b))
    return tree_b.query(border_a)[0], tree_a.query(border_b)[0]


def _border(mask: Mask) -> NDArray[np.int64]:
    """(P, 2) pixels of a mask that its erosion with a cross removes; outside the image counts as background."""
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    eroded = cv2.erode(pixels, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.argwhere(pixels != eroded)


def _ratio(part: int, whole: int, *, empty: float = math.nan) -> float:
    return part / whole if whole else empty


def _check(pred: Mask, target: Mask) -> None:
    for name, mask in (("pred", pred), ("target", target)):
        if mask.dtype != bool or mask.ndim != 2:
            raise BenchError(f"{name} is {mask.dtype} of shape {mask.shape}; expected a bool mask (H, W).")
    if pred.shape != target.shape:
        raise BenchError(f"pred is {pred.shape}, target {target.shape}; shapes must agree.")
