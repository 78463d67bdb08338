"""Segmentation metrics: one value an image; averaging is done elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import BenchError, capped, unknown
from usfm_bench.data.sample import Mask
from usfm_bench.metrics.definitions import Definition, primary
from usfm_bench.metrics.grids import GRIDS
from usfm_bench.metrics.measures import HD95, Missed, dice_of, distance_of
from usfm_bench.metrics.pair import Pair, check_masks, check_spacing

if TYPE_CHECKING:
    import pandas as pd

Rule = Literal["pooled", "max_directed"]
Spacings = tuple[float, float] | None
_SHOWN = 10  # faults in one message
ORDER = ("DSC", "HD95", "ACC", "SEN", "SPEC", "PREC", "F1", "IOU", "HD", "ASSD", "NSD", "LDR")
"""Names in the order of display: the paper's columns first, in its order."""


def dice(pred: Mask, target: Mask) -> float:
    """Dice overlap of two (H, W) bool masks, in [0, 1]; 1 where both are empty.

    Raises:
        BenchError: shapes differ or a mask is not bool.

    Reference: Dice (1945), doi:10.2307/1932409.
    """
    return dice_of(Pair(pred, target))


def hd95(
    pred: Mask, target: Mask, *, spacing: Spacings = None, rule: Rule = "pooled", missed: Missed = "diagonal"
) -> float:
    """95th percentile of the distances between the borders of two (H, W) bool masks.

    Args:
        pred: predicted mask.
        target: reference mask.
        spacing: (y, x) pixel spacing in millimetres; None: the result is in pixels.
        rule: `pooled` (medpy): one percentile over both directions' distances together;
            `max_directed` (MONAI, MetricsReloaded): the larger of the two directions' percentiles.
        missed: what a missed lesion gets: the image's `diagonal`, or NaN, so that it is left out (`exclude`).

    Returns:
        0 where both are empty; NaN for a false alarm on an empty reference.

    Raises:
        BenchError: shapes differ, a mask is not bool, or a spacing is not positive.
    """
    if rule not in get_args(Rule):
        raise unknown("rule", rule, get_args(Rule))
    if missed not in get_args(Missed):
        raise unknown("policy for missed lesions", missed, get_args(Missed))
    return distance_of(Pair(pred, target, spacing), HD95[rule], missed)


def score_segmentation(
    preds: Sequence[Mask],
    targets: Sequence[Mask],
    *,
    definitions: Sequence[Definition] | None = None,
    spacings: Sequence[Spacings] | None = None,
    grid_preds: Sequence[Mask] | None = None,
    case_ids: Sequence[str] | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Every metric of every case, one row a case, in the given order.

    Args:
        preds: (H, W) bool predictions; sizes may differ between cases.
        targets: (H, W) bool references.
        definitions: what to compute; None: the primary ones, those in millimetres only if a spacing is known.
        spacings: (y, x) in millimetres a case; None where it is unknown, and then millimetres are NaN.
        grid_preds: (S, S) bool predictions on the network's grid, for definitions on it.
        case_ids: names of the cases; their positions when None.
        threads: number of threads; None: one a core.

    Returns:
        Columns case_id, one a definition (its `column`), lesion, missed, false_alarm, target_px, pred_px.

    Raises:
        BenchError: lengths or shapes differ, a mask is not bool, a spacing is not positive; names every such case.
    """
    import pandas as pd  # slow to import, and `check` can do without

    n = len(targets)
    names = list(case_ids) if case_ids is not None else [str(i) for i in range(n)]
    gaps = list(spacings) if spacings is not None else [None] * n
    grids: Sequence[Mask | None] = grid_preds if grid_preds is not None else [None] * n
    if not len(preds) == n == len(names) == len(gaps) == len(grids):
        raise BenchError(
            f"{len(preds)} preds, {n} targets, {len(names)} case_ids, {len(gaps)} spacings, {len(grids)} grid_preds."
        )
    if definitions is None:
        definitions = primary_definitions(gaps)
    if others := [d.id for d in definitions if d.of != "masks"]:
        raise BenchError(f"definitions: {', '.join(others)} is not of segmentation.")
    if threads is not None and threads < 1:
        raise BenchError(f"threads is {threads}; expected at least 1.")
    if grid_preds is None and (on_grid := [d.id for d in definitions if d.grid != "native"]):
        raise BenchError(f"grid_preds is missing; needed by {', '.join(on_grid)}.")
    _check_cases(preds, targets, gaps, grids if grid_preds is not None else None, names)

    def score(i: int) -> dict[str, Any]:
        return {"case_id": names[i], **_score_case(preds[i], targets[i], gaps[i], grids[i], definitions)}

    # The interpreter's lock lets no more than a few threads run; BLAS's own would get in their way.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads or min(8, available_cores())) as pool:
        return pd.DataFrame(list(pool.map(score, range(n))))


def primary_definitions(spacings: Sequence[Spacings]) -> list[Definition]:
    """The primary definitions that can be computed: millimetres only if a spacing is known."""
    known = any(spacing is not None for spacing in spacings)
    return [d for d in primary("masks", ORDER) if known or d.unit != "mm"]


def _check_cases(
    preds: Sequence[Mask],
    targets: Sequence[Mask],
    spacings: Sequence[Spacings],
    grids: Sequence[Mask | None] | None,
    names: Sequence[str],
) -> None:
    faults = []
    for i, name in enumerate(names):
        try:
            check_masks(preds[i], targets[i])
            check_spacing(spacings[i])
            if grids is not None:
                _check_grid(grids[i])
        except BenchError as error:
            faults.append(f"case '{name}': {error}")
    if faults:
        raise BenchError("\n".join(capped(faults, _SHOWN)))


def _check_grid(grid_pred: Mask | None) -> None:
    mask = np.asarray(grid_pred)
    if mask.dtype != bool or mask.ndim != 2 or mask.shape[0] != mask.shape[1] or not mask.size:
        raise BenchError(f"grid_preds is {mask.dtype} of shape {mask.shape}; expected a square bool mask (S, S).")


def _score_case(
    pred: Mask, target: Mask, spacing: Spacings, grid_pred: Mask | None, definitions: Sequence[Definition]
) -> dict[str, Any]:
    native = Pair(pred, target)
    pairs = {("native", False): native}
    row = {}
    for definition in definitions:
        in_mm = definition.needs_spacing
        if in_mm and spacing is None:
            row[definition.column] = math.nan
            continue
        key = (definition.grid, in_mm)
        if key not in pairs:
            pairs[key] = _build_pair(pred, target, spacing if in_mm else None, grid_pred, definition.grid)
        assert definition.compute is not None
        row[definition.column] = definition.compute(pairs[key])
    return row | {
        "lesion": native.n_target > 0,
        "missed": native.n_target > 0 and native.n_pred == 0,
        "false_alarm": native.n_target == 0 and native.n_pred > 0,
        "target_px": native.n_target,
        "pred_px": native.n_pred,
    }


def _build_pair(pred: Mask, target: Mask, spacing: Spacings, grid_pred: Mask | None, grid: str) -> Pair:
    if grid == "native":
        return Pair(pred, target, spacing)
    assert grid_pred is not None
    return Pair(grid_pred, GRIDS[grid](target, grid_pred.shape[0]))
