"""Intervals over training seeds and test cases, given the training split (docs/intervals.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import Labels
from usfm_bench.stats.components import Components, Freedom, paired_components, variance_components
from usfm_bench.stats.score import RateNoise, score_ends

Floats = NDArray[np.float64]
_LARGEST = 500.0  # logarithm of a ratio


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
    ratio: bool = False,
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
        ratio: as in `interval_of`.

    Returns:
        One seed: the case component alone. One case or one group: no interval. Scores without any spread: none
        either, since a width of zero would claim certainty.

    Raises:
        BenchError: NaN, or not two-dimensional.
    """
    parts = variance_components(scores, groups, folds=folds, sizes=sizes)
    return interval_of(parts, level=level, bounds=bounds, freedom=freedom, ratio=ratio)


def paired_interval(
    differences: Floats,
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    sizes: NDArray[np.int64] | None = None,
) -> Interval:
    """Interval of a mean difference by the same networks on the same cases (`paired_components`).

    Args:
        differences: (S, C).
        groups: (C,).
        folds: (C,).
        sizes: (C,) as in `crossed_interval`.
    """
    return interval_of(paired_components(differences, groups, folds=folds, sizes=sizes))


def interval_of(
    parts: Components,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
    freedom: Freedom = "cochran",
    ratio: bool = False,
) -> Interval:
    """Interval of a mean from its variance components; cut off at the bounds.

    Args:
        parts: of the mean.
        level: nominal coverage.
        bounds: the metric's range.
        freedom: as in `crossed_interval`.
        ratio: the ends are as far from the mean by their ratio to it, on the logarithmic scale: of means of many small
            values and a few large ones, all above 0, whose draws are too low more often than too high.
    """
    check_level(level)
    if parts.none:
        return Interval(parts.mean, None, None)
    half = parts.half_width((1 + level) / 2, freedom)
    low, high = bounds or (-np.inf, np.inf)
    kind = "seeds+cases" if parts.n_seeds > 1 else "cases"
    ends = parts.mean - half, parts.mean + half
    if ratio and parts.mean > 0:
        times = float(np.exp(min(half / parts.mean, _LARGEST)))
        ends = parts.mean / times, parts.mean * times
    return Interval(parts.mean, max(low, ends[0]), min(high, ends[1]), kind)


def check_level(level: float) -> None:
    """Refuse what is no nominal coverage, such as 95.

    Raises:
        BenchError: not above 0 and below 1.
    """
    if not 0 < level < 1:
        raise BenchError(f"level is {level:g}; expected a share above 0 and below 1, such as 0.95.")


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
