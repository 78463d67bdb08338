"""The delete-one jackknife of metrics that are no means over cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from usfm_bench.core.labels import Labels, numbered
from usfm_bench.core.memo import remembered
from usfm_bench.metrics.definitions import Definition
from usfm_bench.stats.components import sizes_alike
from usfm_bench.stats.delete_one import class_metrics
from usfm_bench.stats.intervals import Interval
from usfm_bench.stats.score import Noise, score_ends

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_ROUNDING = 1e-12  # of a spread of zero, relative to the metric


def jackknife_interval(
    full: Floats,
    without: Floats,
    noise: Noise,
    *,
    strata: Ints | None = None,
    sizes: Ints | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """Interval of a bounded metric that is not a mean over cases: delete-one jackknife plus a seed component.

    A metric whose range has no end on a side has the t interval of the same variance, cut off at the other.

    Vc = (G-1)/G * sum over groups of (m without the group - their mean)^2, V = Vc + s^2/S, degrees of freedom by
    Satterthwaite, each class's groups having their own. The ends are `score_ends`, at the place in the metric's range.

    Args:
        full: (S,) the metric of each seed.
        without: (G,) mean over seeds of the metric without each group; NaN where it is undefined then.
        noise: how the metric, placed in 0 to 1, varies with the choice of the cases.
        strata: (G,) number of the class of each group; None: all alike.
        sizes: (G,) cases of each group; None: all alike.
        level: nominal coverage.
        bounds: the metric's range.

    Returns:
        No interval where a class lies in one group alone: without it the metric is undefined, and leaving that group
        out of the variance would cover far less than is claimed.
    """
    low, width = bounds[0], bounds[1] - bounds[0]
    if not np.isfinite(width):
        return _unbounded(full, without, strata, sizes, level, bounds)
    full, values = (full - low) / width, (without - low) / width
    point = float(full.mean())
    n, n_seeds = len(values), len(full)
    if n < 2 or np.isnan(values).any() or np.isnan(full).any():
        return Interval(low + width * point, None, None)
    variance, quantile = jackknife_spread(full, values, strata, sizes, level)
    ends = score_ends(point, variance, quantile, noise, n_seeds, level)
    kind = "seeds+cases" if n_seeds > 1 else "cases"
    return Interval(low + width * point, low + width * ends[0], low + width * ends[1], kind)


def _unbounded(
    full: Floats,
    without: Floats,
    strata: Ints | None,
    sizes: Ints | None,
    level: float,
    bounds: tuple[float, float],
) -> Interval:
    point = float(full.mean())
    if len(without) < 2 or not (np.isfinite(without).all() and np.isfinite(full).all()):
        return Interval(point, None, None)
    variance, quantile = jackknife_spread(full, without, strata, sizes, level)
    half = quantile * variance**0.5
    if half <= _ROUNDING * abs(point):
        return Interval(point, None, None)
    low, high = max(bounds[0], point - half), min(bounds[1], point + half)
    return Interval(point, low, high, "seeds+cases" if len(full) > 1 else "cases")


def jackknife_spread(
    full: Floats, without: Floats, strata: Ints | None, sizes: Ints | None, level: float
) -> tuple[float, float]:
    """Variance of the mean over seeds, and the quantile of its deviation; 0 and 0 where nothing varies."""
    n, n_seeds = len(without), len(full)
    squares = (n - 1) / n * (without - without.mean()) ** 2
    v_seeds = float(full.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    variance = float(squares.sum()) + v_seeds
    uncertain = _over_freedom(squares, strata, sizes) + (v_seeds**2 / (n_seeds - 1) if n_seeds > 1 else 0.0)
    return variance, float(stdtrit(variance**2 / uncertain, (1 + level) / 2)) if uncertain else 0.0


def _over_freedom(squares: Floats, strata: Ints | None, sizes: Ints | None) -> float:
    """Sum over classes of the squared variance over its degrees of freedom, from (G,) what each group adds to it."""
    strata = np.zeros(len(squares), np.int64) if strata is None else strata
    found = 0.0
    for k in np.unique(strata):
        of_class = strata == k
        freedom = float(of_class.sum()) - 1
        if sizes is not None:
            freedom = min(freedom, sizes_alike(sizes[of_class]))
        found += float(squares[of_class].sum()) ** 2 / max(freedom, 1)
    return found


def grouped(groups: Labels | None, n_cases: int) -> tuple[Ints, Ints, Ints]:
    """(N,) numbers of the cases' groups, (G,) first case and (G,) size of each; without groups, each case by itself."""
    if groups is None:
        each = np.arange(n_cases)
        return each, each, np.ones(n_cases, np.int64)
    names = np.asarray(groups)
    return remembered(names, "grouped", lambda: _grouped(names))


def _grouped(names: NDArray[Any]) -> tuple[Ints, Ints, Ints]:
    numbers = numbered(names)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(numbers), prepend=-1))  # each comes above all before it
    return numbers, first, np.bincount(numbers)


def deleted(
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    groups: Labels | None = None,
    only: int | None = None,
    repeats: Labels | None = None,
) -> Floats:
    """(S, 1 + G) a classification metric of all cases, then without each group; NaN where it is undefined.

    Args:
        definition: of the metric.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) deleted together; without, each case by itself.
        only: the class of a metric of one class.
        repeats: (N,) the repeat that each row is of, where several test one case: the metric is then the mean of those
            of each repeat, and a group is deleted from all.
    """
    names = grouped(groups, len(labels))[0]
    if repeats is not None:
        parts = []
        for rows in parts_of(repeats):
            own, first = np.unique(names[rows], return_index=True)
            values = deleted(definition, probabilities[:, rows], labels[rows], groups=names[rows], only=only)
            whole = np.repeat(values[:, :1], 2 + int(names.max()), axis=1)
            whole[:, 1 + own[np.argsort(first)]] = values[:, 1:]
            parts.append(whole)
        return np.asarray(np.mean(parts, axis=0))
    if definition.compute is not None:
        if only is not None:  # one class against the rest, as two columns of which the second is that class
            one = probabilities[..., only]
            probabilities, labels = np.stack([1 - one, one], axis=-1), (labels == only).astype(np.int64)
        return np.stack([_recomputed(definition.compute, p, labels, names) for p in probabilities])
    return class_metrics(definition.name, definition.averaging, probabilities, labels, names, only=only)


def parts_of(repeats: Labels | None) -> list[slice | NDArray[np.intp]]:
    """Rows of each repeat; all of them without repeats."""
    if repeats is None:
        return [slice(None)]
    return [np.flatnonzero(np.asarray(repeats) == repeat) for repeat in np.unique(np.asarray(repeats))]


def _recomputed(
    compute: Callable[..., float], probabilities: Floats, labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> Floats:
    """(1 + G,) by computing anew without each group: slow, for metrics without a closed form."""
    kept = [groups != g for g in range(int(groups.max()) + 1)]
    n_classes = len(np.unique(labels))
    left = [
        compute(probabilities[rows], labels[rows]) if len(np.unique(labels[rows])) == n_classes else np.nan
        for rows in kept
    ]
    return np.array([compute(probabilities, labels), *left])
