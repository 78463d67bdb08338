"""Networks trained anew on such data: what several random holdouts of one data set say of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from usfm_bench.specs.split import TEST
from usfm_bench.stats.headline import Headline
from usfm_bench.stats.intervals import Interval
from usfm_bench.stats.jackknife import deleted, parts_of

Floats = NDArray[np.float64]
RATIO = TEST / (1 - TEST)
"""Cases that a repeat tests over those that it does not test: they train a network, or choose its checkpoint."""


def corrected_interval(
    values: Floats, *, ratio: float = RATIO, level: float = 0.95, bounds: tuple[float, float] | None = None
) -> Interval:
    """Interval of the mean score of networks trained anew: Nadeau and Bengio (2003), doi:10.1023/A:1024068626366.

    Repeats share cases, so their mean varies more than that of as many independent values would. Its variance is taken
    as (1 / R + ratio) s^2, and t has R - 1 degrees of freedom.

    >>> [round(x, 3) for x in corrected_interval(np.array([0.7, 0.8, 0.9]), ratio=0.25)[:3]]
    [0.8, 0.471, 1.129]

    Args:
        values: (R,) of each repeat, means over seeds.
        ratio: of the cases that a repeat tests to all others.
        level: nominal coverage.
        bounds: the metric's range.

    Returns:
        No interval for one repeat, or where the values are all the same.
    """
    point, error = float(values.mean()), _error(values, ratio)
    if error is None:
        return Interval(point, None, None)
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * error
    low, high = bounds or (-np.inf, np.inf)
    return Interval(point, max(low, point - half), min(high, point + half), "training sets")


def corrected_p(differences: Floats, *, ratio: float = RATIO) -> float | None:
    """Two-sided p value of "networks trained anew do not differ on average": the corrected resampled t test.

    Args:
        differences: (R,) of each repeat.
        ratio: as in `corrected_interval`.
    """
    error = _error(differences, ratio)
    if error is None:
        return None
    return 2 * float(stdtr(len(differences) - 1, -abs(float(differences.mean())) / error))


def _error(values: Floats, ratio: float) -> float | None:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    # What is left of a spread of zero is rounding.
    known = spread > 1e-12 * float(np.abs(values).max())
    return spread * (1 / len(values) + ratio) ** 0.5 if known else None


def by_repeat(headline: Headline) -> dict[int, Floats]:
    """Repeat -> (S,) the metric on its test cases, by seed; nothing for a split in which a case is tested once.

    A repeat in which the metric is undefined is left out.
    """
    results, found = headline.results, headline.contributions
    if results.repeats is None or found is None:
        return {}
    values = {}
    if found.folds.any():  # contributions of cases, which keep their repeats; those of groups are over all of them
        for repeat in np.unique(found.folds):
            values[int(repeat)] = np.asarray(found.values[:, found.folds == repeat].mean(axis=1))
        return values
    labels = results.labels
    for repeat, rows in zip(np.unique(results.repeats), parts_of(results.repeats), strict=True):
        together = np.zeros(len(labels[rows]), np.int64)  # one group: the metric alone is wanted
        scores = deleted(headline.definition, results.probabilities[:, rows], labels[rows], groups=together)[:, 0]
        if not np.isnan(scores).any():
            values[int(repeat)] = scores
    return values
