"""Scores against the share of labelled training images: the area under a curve, and where it reaches a score."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.labels import Labels
from usfm_bench.stats.components import difference_components, variance_components
from usfm_bench.stats.intervals import Interval, interval_of

Floats = NDArray[np.float64]
_STEPS = 10  # between two shares


class Reach(NamedTuple):
    """The smallest share at which a model scores what another has, with an interval."""

    share: float | None
    """By the mean curve; None: not reached. The smallest share of the curve: there, or below it."""
    low: float | None
    """At smaller shares it is clearly worse; None: at all of them. The smallest of the curve: there, or below it."""
    high: float | None
    """From here on it is clearly better; None: at no share of the curve."""
    known: bool
    """There is an interval at every share."""


def area_under(
    curve: Floats,
    shares: Floats,
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    sizes: NDArray[np.int64] | None = None,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Mean of a score over the logarithm of the share, between the smallest and the largest one, by trapezoids.

    It is a weighted sum of the scores of each seed and case, and so has their interval.

    Args:
        curve: (P, S, U) what each case or group adds to the score at each share.
        shares: (P,) ascending, two at least.
        groups: (U,).
        folds: (U,).
        sizes: (U,) `Contributions.sizes`.
        bounds: the metric's range.
    """
    widths = np.diff(np.log(shares))
    weights = (np.append(widths, 0) + np.append(0, widths)) / (2 * widths.sum())
    parts = variance_components(np.tensordot(weights, curve, 1), groups, folds=folds, sizes=sizes)
    return interval_of(parts, bounds=bounds)


def reached_at(
    curve: Floats,
    shares: Floats,
    target: Floats,
    *,
    higher_is_better: bool,
    groups: Labels | None = None,
    folds: Labels | None = None,
    sizes: NDArray[np.int64] | None = None,
    level: float = 0.95,
) -> Reach:
    """The share at which the curve, straight over the logarithm between its points, reaches another model's mean score.

    The interval holds every share at which the paired difference to the target has 0 in its interval (Fieller's
    inversion of a test), and what lies between them.

    Args:
        curve: (P, S, U) what each case or group adds to the score at each share.
        shares: (P,) ascending, two at least.
        target: (S, U) of the other model, the same seeds and cases.
        higher_is_better: False for distances and errors.
        groups: (U,).
        folds: (U,).
        sizes: (U,) `Contributions.sizes`.
        level: of the interval.
    """
    sign = 1 if higher_is_better else -1
    at, means, ends = [], [], []
    for share, scores in _between(curve, shares):
        found = interval_of(difference_components(scores, target, groups, folds=folds, sizes=sizes), level=level)
        low, high = (np.nan, np.nan) if found.low is None or found.high is None else (found.low, found.high)
        at.append(share)
        means.append(sign * found.point)
        ends.append((low, high) if higher_is_better else (-high, -low))
    worst, best = np.array(ends).T
    # The last share at which it is not clearly better, and so the first one behind which it always is.
    above = _first_zero(np.array(at)[::-1], -worst[::-1])
    return Reach(
        share=_first_zero(np.array(at), np.array(means)),
        low=_first_zero(np.array(at), best),
        high=None if above == at[-1] else shares[0] if above is None else above,
        known=not np.isnan(worst).any(),
    )


def _between(curve: Floats, shares: Floats) -> Iterator[tuple[float, Floats]]:
    """Shares of the curve and some between them, each with (S, U)."""
    for i in range(len(shares) - 1):
        for step in range(_STEPS):
            t = step / _STEPS
            share = shares[i] * (shares[i + 1] / shares[i]) ** t
            yield float(share), (1 - t) * curve[i] + t * curve[i + 1]
    yield float(shares[-1]), curve[-1]


def _first_zero(shares: Floats, values: Floats) -> float | None:
    """Where values first are 0 or above, by straight lines over the logarithm; None: nowhere."""
    found = np.flatnonzero(values >= 0)
    if not len(found):
        return None
    i = int(found[0])
    if i == 0 or np.isnan(values[i - 1]):
        return float(shares[i])
    t = values[i] / (values[i] - values[i - 1])
    return float(np.exp((1 - t) * np.log(shares[i]) + t * np.log(shares[i - 1])))
