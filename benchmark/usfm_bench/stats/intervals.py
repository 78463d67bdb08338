"""Intervals over training seeds and test cases, given the training split (docs/intervals.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.labels import Labels
from usfm_bench.stats.components import Components, Freedom, variance_components
from usfm_bench.stats.score import RateNoise, score_ends

Floats = NDArray[np.float64]


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
    sizes: NDArray[np.int64] | None = None,
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
        sizes: (C,) cases behind each score, where a score is of a whole group (`Contributions.sizes`).
        level: nominal coverage.
        bounds: the metric's range; the interval is cut off there, which cannot lower its coverage.
        freedom: `satterthwaite` is there for comparison.

    Returns:
        One seed: the case component alone. One case or one group: no interval. Scores without any spread: none
        either, since a width of zero would claim certainty.

    Raises:
        BenchError: NaN, or not two-dimensional.
    """
    parts = variance_components(scores, groups, folds=folds, sizes=sizes)
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
