"""Binary metrics of a test set at another prevalence, with intervals.

Of a prior shift alone P(x | class) stays, and with it the sensitivity and specificity of every decision: Elkan (2001),
The foundations of cost-sensitive learning, IJCAI 17:973-978; Saerens et al. (2002), doi:10.1162/089976602753284446.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError, unknown
from usfm_bench.core.labels import Labels, sorted_numbers
from usfm_bench.core.memo import remembered
from usfm_bench.stats.contributions import Contributions, pseudo_contributions
from usfm_bench.stats.delete_one import all_and_without
from usfm_bench.stats.intervals import Interval
from usfm_bench.stats.jackknife import grouped, jackknife_interval
from usfm_bench.stats.score import RateNoise

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Shares(NamedTuple):
    """A confusion matrix as shares of all cases; arrays of any shape, NaN where a class has no case."""

    tp: Floats
    fn: Floats
    fp: Floats
    tn: Floats


def _f1(of: Shares) -> Floats:
    return np.asarray(2 * of.tp / (2 * of.tp + of.fp + of.fn))


def _f1_macro(of: Shares) -> Floats:
    return np.asarray((_f1(of) + _f1(Shares(of.tn, of.fp, of.fn, of.tp))) / 2)


def _precision(of: Shares) -> Floats:
    said = of.tp + of.fp
    return np.asarray(np.where(said == 0, 0.0, of.tp / np.where(said == 0, 1.0, said)))


METRICS: dict[str, Callable[[Shares], Floats]] = {
    "F1": _f1,
    "F1 macro": _f1_macro,
    "PREC": _precision,
    "ACC": lambda of: np.asarray(of.tp + of.tn),
}
"""Of the positive class; `F1 macro`: plain mean of both classes' F1. PREC is 0 where no case is called positive."""


def at_prevalence(metric: str, sensitivity: Floats, specificity: Floats, prevalence: float) -> Floats:
    """A metric of a classifier among cases of which a share `prevalence` is positive.

    With prevalence p: TP = p SEN, FN = p (1 - SEN), FP = (1 - p)(1 - SPEC), TN = (1 - p) SPEC, and so
    F1 = 2 p SEN / (p (1 + SEN) + (1 - p)(1 - SPEC)): Siblini et al. (2020), Master your metrics with calibration,
    arXiv:1909.02827.

    >>> round(float(at_prevalence("F1", np.array(0.8), np.array(0.9), 0.5)), 4)  # 0.8 / (0.8 + (0.1 + 0.2) / 2)
    0.8421

    Args:
        metric: a key of `METRICS`.
        sensitivity: of any shape; NaN where it is undefined.
        specificity: of the same shape.
        prevalence: between 0 and 1, without either.

    Raises:
        BenchError: an unknown metric, or a prevalence at which one of the classes is absent.
    """
    if metric not in METRICS:
        raise unknown("metric at another prevalence", metric, METRICS)
    if not 0 < prevalence < 1:
        raise BenchError(f"prevalence is {prevalence}; expected a share of positive cases above 0 and below 1.")
    positive, negative = prevalence, 1 - prevalence
    return METRICS[metric](
        Shares(
            *(positive * sensitivity, positive * (1 - sensitivity)),
            *(negative * (1 - specificity), negative * specificity),
        )
    )


def rates(decisions: Bools, labels: Bools, groups: Labels | None = None) -> tuple[Floats, Floats]:
    """Sensitivity and specificity of all cases, then without each group: (S, 1 + G) each, in closed form.

    A deleted positive changes the sensitivity alone, a negative the specificity.

    Args:
        decisions: (S, N) True where a case is called positive.
        labels: (N,) True where it is.
        groups: (N,) deleted together; without, each case by itself.

    Returns:
        NaN where no case of the class is left.
    """
    names = np.arange(len(labels)) if groups is None else sorted_numbers(groups)
    key = "rates", labels.tobytes(), names.tobytes()
    return remembered(decisions, key, lambda: (_recall(decisions, labels, names), _recall(~decisions, ~labels, names)))


def _recall(said: Bools, true: Bools, groups: NDArray[np.intp]) -> Floats:
    size = int(groups.max()) + 1
    hits = np.stack([np.bincount(groups, weights=of_seed, minlength=size) for of_seed in said & true], axis=1)
    cases = all_and_without(np.bincount(groups, weights=true, minlength=size).astype(np.float64))  # (1 + G,)
    right = all_and_without(hits.astype(np.float64)).T  # (S, 1 + G)
    return np.asarray(np.where(cases > 0, right / np.where(cases > 0, cases, 1.0), np.nan))


def reweighted_interval(
    metric: str,
    decisions: Bools,
    labels: Bools,
    prevalence: float,
    *,
    groups: Labels | None = None,
    level: float = 0.95,
) -> Interval:
    """Interval of a metric of the test set reweighted to a prevalence: as of all metrics that are no means over cases.

    Args:
        metric: a key of `METRICS`.
        decisions: (S, N).
        labels: (N,).
        prevalence: of the positive class.
        groups: (N,) deleted together.
        level: nominal coverage.

    Returns:
        The point is NaN where a class has no case; no interval where one has all its cases in one group.
    """
    values = at_prevalence(metric, *rates(decisions, labels, groups), prevalence)
    numbers, first, sizes = grouped(groups, len(labels))
    size = _size(metric, decisions, labels, numbers, prevalence)
    if size is None:
        return Interval(float(values[:, 0].mean()), None, None)
    return jackknife_interval(
        *(values[:, 0], values[:, 1:].mean(axis=0), RateNoise(size)),
        strata=labels[first].astype(np.int64),
        sizes=sizes,
        level=level,
    )


def _size(metric: str, decisions: Bools, labels: Bools, groups: Ints, prevalence: float) -> float | None:
    """Cases, or groups, that the metric varies as a proportion of; None where a class has none, or none is called."""

    def counted(cases: Bools) -> int:
        return int(np.count_nonzero(np.bincount(groups[cases])))

    positive, negative = counted(labels), counted(~labels)
    if not positive or not negative:
        return None
    if metric == "PREC":
        called = float(np.mean([counted(said) for said in decisions]))
        return max(called, 1.0) if called else None
    if metric == "ACC":
        return 1 / (prevalence**2 / positive + (1 - prevalence) ** 2 / negative)
    return positive if metric == "F1" else 4 / (1 / positive + 1 / negative)


def reweighted_contributions(
    metric: str, decisions: Bools, labels: Bools, prevalence: float, groups: Ints, folds: Ints
) -> Contributions | None:
    """What each group adds to a metric at a prevalence, so that classifiers, or prevalences, can be compared.

    Args:
        metric: a key of `METRICS`.
        decisions: (S, N).
        labels: (N,).
        prevalence: of the positive class.
        groups: (N,).
        folds: (N,).

    Returns:
        None where the metric is undefined without some group.
    """
    return pseudo_contributions(at_prevalence(metric, *rates(decisions, labels, groups), prevalence), groups, folds)
