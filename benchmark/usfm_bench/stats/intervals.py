"""Intervals over training seeds and test cases, given the training split (docs/method.md, Statistics)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from usfm_bench.metrics.calibration import brier_scores
from usfm_bench.metrics.definitions import Definition
from usfm_bench.stats.components import Components, Freedom, Labels, sizes_alike, variance_components
from usfm_bench.stats.delete_one import class_metric
from usfm_bench.stats.proportions import trials_of, wilson_interval
from usfm_bench.stats.score import Noise, RateNoise, noise_of, score_ends

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Interval(NamedTuple):
    """A mean and its interval; low and high are None where no interval exists."""

    point: float
    low: float | None
    high: float | None
    kind: str = "none"
    """`seeds+cases`, `cases` (one seed: the spread over seeds is unknown), or `none`."""


def crossed_interval(
    scores: Floats,
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    freedom: Freedom = "cochran",
) -> Interval:
    """Interval of a mean over seeds and cases, both taken as random: crossed variance components.

    With mean squares of seeds, cases and residual over S seeds and C cases, va = max(0, (MSs - MSe) / SC),
    vb = MSc / SC, the variance is va + vb, and t is Cochran's weighted quantile.

    Args:
        scores: (S, C), no NaN.
        groups: (C,) cases of one group vary together; the case component is then over group totals.
        folds: (C,) the fold that each case is tested in, with networks of its own; approximate, since folds share
            training images.
        level: nominal coverage.
        bounds: the metric's range; the interval is cut off there, which cannot lower its coverage.
        freedom: `satterthwaite` is there for comparison.

    Returns:
        One seed: the case component alone. One case or one group: no interval. Scores without any spread: none
        either, since a width of zero would claim certainty.

    Raises:
        BenchError: NaN, or not two-dimensional.
    """
    parts = variance_components(scores, groups, folds=folds)
    return interval_of(parts, level=level, bounds=bounds, freedom=freedom)


def interval_of(
    parts: Components,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    freedom: Freedom = "cochran",
) -> Interval:
    """Interval of a mean from its variance components; cut off at the bounds."""
    if parts.none:
        return Interval(parts.mean, None, None)
    half = parts.half_width((1 + level) / 2, freedom)
    low, high = bounds or (-np.inf, np.inf)
    kind = "seeds+cases" if parts.n_seeds > 1 else "cases"
    return Interval(parts.mean, max(low, parts.mean - half), min(high, parts.mean + half), kind)


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
    full, values = (full - low) / width, (without - low) / width
    point = float(full.mean())
    n, n_seeds = len(values), len(full)
    if n < 2 or np.isnan(values).any() or np.isnan(full).any():
        return Interval(low + width * point, None, None)
    squares = (n - 1) / n * (values - values.mean()) ** 2
    v_seeds = float(full.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    variance = float(squares.sum()) + v_seeds
    uncertain = _over_freedom(squares, strata, sizes) + (v_seeds**2 / (n_seeds - 1) if n_seeds > 1 else 0.0)
    quantile = float(stdtrit(variance**2 / uncertain, (1 + level) / 2)) if uncertain else 0.0
    ends = score_ends(point, variance, quantile, noise, n_seeds, level)
    kind = "seeds+cases" if n_seeds > 1 else "cases"
    return Interval(low + width * point, low + width * ends[0], low + width * ends[1], kind)


def _over_freedom(squares: Floats, strata: Ints | None, sizes: Ints | None) -> float:
    """Sum over classes of the squared variance over its degrees of freedom, from (G,) what each group adds to it."""
    strata = np.zeros(len(squares), np.int64) if strata is None else strata
    found = 0.0
    for k in np.unique(strata):
        of_class = strata == k
        freedom = int(of_class.sum()) - 1
        if sizes is not None:
            freedom = min(freedom, sizes_alike(sizes[of_class]))
        found += float(squares[of_class].sum()) ** 2 / max(freedom, 1)
    return found


def classification_interval(
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    only: int | None = None,
    level: float = 0.95,
) -> Interval:
    """Interval of a classification metric: ACC and BRIER as means over cases, all others by the jackknife.

    Proportions (ACC; SEN, SPEC, PREC and ACC of one class) of a single seed: Wilson's.

    Args:
        definition: of the metric.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) deleted together.
        folds: (N,) as in `crossed_interval`.
        only: the class of a metric of one class, one against the rest.
        level: nominal coverage.
    """
    if len(probabilities) == 1:
        trials = trials_of(definition, probabilities[0].argmax(axis=1), labels, only)
        if trials is not None and trials[0].any():
            return _of_one_seed(*trials, groups, level)
    scores = case_scores(definition, probabilities, labels)
    if definition.id == "acc@1" and scores is not None:
        return share_interval(scores, groups=groups, folds=folds, level=level)
    if scores is not None:
        return crossed_interval(scores, groups=groups, folds=folds, level=level, bounds=definition.range)
    values = deleted(definition, probabilities, labels, groups=groups, only=only)
    numbers, first, sizes = numbered(groups, len(labels))
    noise = noise_of(definition, probabilities, labels, numbers, only)
    if noise is None:
        return Interval(float(values[:, 0].mean()), None, None)
    return jackknife_interval(
        *(values[:, 0], values[:, 1:].mean(axis=0), noise),
        strata=labels[first],
        sizes=sizes,
        level=level,
        bounds=definition.range,
    )


def share_interval(
    right: Floats, *, groups: Labels | None = None, folds: Labels | None = None, level: float = 0.95
) -> Interval:
    """Interval of a proportion: the variance and quantile of `crossed_interval`, and the ends of `score_ends`.

    Args:
        right: (S, C) of 0 and 1.
        groups: (C,).
        folds: (C,).
        level: nominal coverage.

    Returns:
        None for one case or group alone.
    """
    parts = variance_components(right, groups, folds=folds)
    if parts.n_groups <= parts.n_folds:
        return Interval(parts.mean, None, None)
    quantile = 0.0 if parts.none else parts.half_width((1 + level) / 2) / parts.variance**0.5
    variance = 0.0 if parts.none else parts.variance
    ends = score_ends(parts.mean, variance, quantile, RateNoise(parts.n_groups), parts.n_seeds, level)
    return Interval(parts.mean, *ends, "seeds+cases" if parts.n_seeds > 1 else "cases")


def numbered(groups: Labels | None, n_cases: int) -> tuple[Ints, Ints, Ints]:
    """(N,) numbers of the cases' groups, (G,) first case and (G,) size of each; without groups, each case by itself."""
    if groups is None:
        each = np.arange(n_cases)
        return each, each, np.ones(n_cases, np.int64)
    _, first, numbers, sizes = np.unique(
        np.asarray(groups), return_index=True, return_inverse=True, return_counts=True
    )
    return numbers, first, sizes


def deleted(
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    groups: Labels | None = None,
    only: int | None = None,
) -> Floats:
    """(S, 1 + G) a classification metric of all cases, then without each group; NaN where it is undefined.

    Args:
        definition: of the metric.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) deleted together; without, each case by itself.
        only: the class of a metric of one class.
    """
    names = numbered(groups, len(labels))[0]
    if definition.compute is not None:
        return np.stack([_recomputed(definition.compute, p, labels, names) for p in probabilities])
    return np.stack(
        [class_metric(definition.name, definition.averaging, p, labels, names, only=only) for p in probabilities]
    )


def _of_one_seed(over: NDArray[np.bool_], success: NDArray[np.bool_], groups: Labels | None, level: float) -> Interval:
    """Wilson's interval of the share of `success` in the cases `over`."""
    ends = wilson_interval(success[over], None if groups is None else np.asarray(groups)[over], level=level)
    point = float(success[over].mean())
    return Interval(point, *ends, "cases") if ends else Interval(point, None, None)


def case_scores(definition: Definition, probabilities: Floats, labels: NDArray[np.int64]) -> Floats | None:
    """(S, N) scores of each case where the metric is their mean; None where it is not."""
    if definition.id == "acc@1":
        return np.asarray(probabilities.argmax(axis=2) == labels, dtype=np.float64)
    if definition.name == "BRIER":
        return np.stack([brier_scores(p, labels) for p in probabilities])
    return None


def _recomputed(
    compute: Callable[..., float], probabilities: Floats, labels: NDArray[np.int64], groups: NDArray[np.int64]
) -> Floats:
    """(1 + G,) by computing anew without each group: slow, for emulated metrics alone."""
    kept = [groups != g for g in range(int(groups.max()) + 1)]
    n_classes = len(np.unique(labels))
    left = [
        compute(probabilities[rows], labels[rows]) if len(np.unique(labels[rows])) == n_classes else np.nan
        for rows in kept
    ]
    return np.array([compute(probabilities, labels), *left])
