"""A classification metric with all cases, and without each group of cases, without computing it anew each time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def class_metric(
    metric: str, probabilities: Floats, labels: Ints, groups: Ints, *, only: int | None = None
) -> tuple[float, Floats]:
    """A macro metric over the classes present, or that of one class, as (value, (G,) values without each group).

    Args:
        metric: BACC, SEN, SPEC, PREC, F1 or AUROC.
        probabilities: (N, C).
        labels: (N,).
        groups: (N,) group numbers 0..G-1.
        only: the class, one against the rest; None: the plain mean over the classes present.

    Returns:
        NaN without a group that holds all cases of a class.
    """
    present = np.unique(labels) if only is None else [only]
    one = _auroc if metric == "AUROC" else _rate
    pairs = [one(metric, probabilities, labels, int(k), groups) for k in present]
    return float(np.mean([full for full, _ in pairs])), np.mean([without for _, without in pairs], axis=0)


def _rate(metric: str, probabilities: Floats, labels: Ints, k: int, groups: Ints) -> tuple[float, Floats]:
    """A ratio of confusion counts of class k: deleting a group subtracts its counts."""
    said, true = probabilities.argmax(axis=1) == k, labels == k
    cells = {"tp": said & true, "fp": said & ~true, "fn": ~said & true, "tn": ~said & ~true}
    totals = {name: float(cell.sum()) for name, cell in cells.items()}
    size = groups.max() + 1
    left: dict[str, Floats] = {
        name: np.asarray(totals[name] - np.bincount(groups, weights=cell, minlength=size), np.float64)
        for name, cell in cells.items()
    }
    full = _quotient(metric, {name: np.array([value]) for name, value in totals.items()})
    return float(full[0]), _quotient(metric, left)


def _quotient(metric: str, n: dict[str, Floats]) -> Floats:
    part, whole = {
        "SEN": (n["tp"], n["tp"] + n["fn"]),
        "BACC": (n["tp"], n["tp"] + n["fn"]),
        "SPEC": (n["tn"], n["tn"] + n["fp"]),
        "PREC": (n["tp"], n["tp"] + n["fp"]),
        "F1": (2 * n["tp"], 2 * n["tp"] + n["fp"] + n["fn"]),
    }[metric]
    # A class that is never predicted has PREC 0, as scikit-learn's zero_division=0.
    value = np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
    needed = n["tp"] + n["fn"]
    if metric == "SPEC":
        needed = np.minimum(needed, whole)
    return np.asarray(np.where(needed > 0, value, np.nan), dtype=np.float64)


def _auroc(metric: str, probabilities: Floats, labels: Ints, k: int, groups: Ints) -> tuple[float, Floats]:
    """Area under the ROC curve of class k as a share of won (positive, negative) pairs; groups take theirs away."""
    true = labels == k
    score = probabilities[:, k]
    won = (score[true][:, None] > score[~true][None, :]) + 0.5 * (score[true][:, None] == score[~true][None, :])
    size = groups.max() + 1
    positive, negative = np.bincount(groups[true], minlength=size), np.bincount(groups[~true], minlength=size)
    per_positive, per_negative = won.sum(axis=1), won.sum(axis=0)
    lost = np.bincount(groups[true], weights=per_positive, minlength=size)
    lost += np.bincount(groups[~true], weights=per_negative, minlength=size)
    # Pairs within one group were counted from both sides.
    within = np.where(groups[true][:, None] == groups[~true][None, :], won, 0.0).sum(axis=1)
    lost -= np.bincount(groups[true], weights=within, minlength=size)
    pairs = (true.sum() - positive) * ((~true).sum() - negative)
    if not won.size:
        return float("nan"), np.full(size, np.nan)
    return float(won.mean()), np.where(pairs > 0, (won.sum() - lost) / np.maximum(pairs, 1), np.nan)
