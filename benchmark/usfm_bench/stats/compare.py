"""Is one model better than another? Paired on the same cases; seeds are not pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import Labels
from usfm_bench.stats.components import Components, difference_components
from usfm_bench.stats.intervals import Interval, check_level, interval_of

Floats = NDArray[np.float64]
Resized = Callable[[int], Components]
_POWER, _SMALLEST, _MOST = 0.8, 1e-12, 100_000
_AT_THE_MARGIN = 1e-6
_ROUNDING = 1e-12  # of a spread of zero, relative to the scores
_Z_POWER = float(ndtri(_POWER))


class Comparison(NamedTuple):
    """A mean paired difference a - b. What does not exist is None: no spread, one case, one group."""

    difference: Interval
    p_value: float | None
    """Two-sided, of no difference; the level at which the interval just touches 0."""
    effect_size: float | None
    """Mean difference over its standard deviation between cases (Cohen's d of paired means over seeds).

    None where every case differs by the same: there is no standard deviation to divide by, but for rounding.
    """
    probability_better: float | None
    """1 - p/2 or p/2: that `a` is better if all differences were equally likely before, which networks never are."""
    false_claim: float | None
    """p/2: the same, that the one with the better mean is not better; see docs/comparisons.md for how far off it is."""
    detectable: float | None
    """Smallest true difference that this design would find at the level with 80 % power."""
    seeds_needed: int | None
    """Seeds at which the observed difference would be found so, with these cases; None: no number is enough.

    None for one seed, too, which says nothing of others.
    """
    cases_needed: int | None
    """Cases (groups) likewise, with these seeds."""
    error: float | None = None
    """Standard error of the difference."""


def compare(
    a: Floats,
    b: Floats,
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    sizes: NDArray[np.int64] | None = None,
    level: float = 0.95,
    higher_is_better: bool = True,
) -> Comparison:
    """Compare two models' scores of the same cases and seeds.

    Means of trainings are taken for normal. Where those of one model scatter by more than half of their distance from
    an end of the metric and those of the other hardly, p < 0.05 comes out in up to 27 % where nothing differs; reports
    warn of it, this function does not (docs/type-one.md).

    Args:
        a: (S, C), no NaN.
        b: (S, C), the same seeds and cases in the same order.
        groups: (C,) cases of one group vary together.
        folds: (C,) the fold that each case is tested in.
        sizes: (C,) cases behind each score, where a score is of a whole group (`Contributions.sizes`).
        level: of the interval.
        higher_is_better: False for distances and errors.

    Raises:
        BenchError: shapes differ, NaN or infinite, or a level that is none.
    """
    a, b = (np.asarray(x, np.float64) for x in (a, b))  # of right and wrong, too
    if a.shape != b.shape:
        raise BenchError(f"a is {a.shape}, b is {b.shape}; a comparison needs the same seeds and the same cases.")
    check_level(level)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BenchError(
            "a or b has scores that are NaN or infinite; leave undefined cases out of both and count them."
        )
    scores = a - b
    parts = difference_components(a, b, groups, folds=folds, sizes=sizes)
    interval = interval_of(parts, level=level)
    if parts.none:
        return Comparison(interval, *[None] * 7)
    p_value = two_sided_p(parts)
    tail = p_value / 2
    better = 1 - tail if (parts.mean > 0) == higher_is_better else tail
    spread = float(scores.mean(axis=0).std(ddof=1))
    rounding = _ROUNDING * float(max(np.abs(a).max(), np.abs(b).max()))
    return Comparison(
        difference=interval,
        p_value=p_value,
        effect_size=parts.mean / spread if spread > rounding else None,
        probability_better=better,
        false_claim=tail,
        detectable=detectable_difference(parts, level),
        seeds_needed=_needed(parts, level, lambda n: with_seeds(parts, n)) if parts.n_seeds > 1 else None,
        cases_needed=_needed(parts, level, lambda n: with_cases(parts, n), max(2, parts.n_folds + 1)),
        error=parts.variance**0.5,
    )


def two_sided_p(parts: Components) -> float:
    """The level at which the interval around the mean just touches 0; not below 1e-12."""
    return 1.0 if parts.mean == 0 else 2 * _tail(parts, abs(parts.mean))


def p_beyond(parts: Components, margin: float) -> float:
    """One-sided p value of "the true mean is at most the margin"; not below 1e-12.

    Scores of several groups without any spread: certain, either way. A mean at the margin, to a millionth: 0.5.
    """
    beyond = parts.mean - margin
    if abs(beyond) <= _AT_THE_MARGIN:
        return 0.5
    tail = _SMALLEST if parts.none else _tail(parts, abs(beyond))
    return tail if beyond > 0 else 1 - tail


def detectable_difference(parts: Components, level: float = 0.95) -> float:
    """Smallest true mean that a two-sided test at 1 - level finds with 80 % power."""
    return _detectable(parts, (1 + level) / 2)


def detectable_drop(parts: Components, alpha: float) -> float:
    """Smallest true mean beyond a margin that a one-sided test at alpha finds with 80 % power."""
    return _detectable(parts, 1 - alpha)


def _detectable(parts: Components, tail: float) -> float:
    """Noncentral t at the critical value, by Johnson and Welch's (1940) approximation.

    The standard error is estimated too: with few seeds it is often too large, which costs power. Adding up two
    quantiles of the central t would leave that out.
    """
    error, freedom = parts.variance**0.5, parts.freedom
    critical = parts.half_width(tail) / error
    spread = (1 + critical**2 / (2 * freedom)) ** 0.5
    return float(error * (critical * (1 - 1 / (4 * freedom)) + _Z_POWER * spread))


def _tail(parts: Components, distance: float) -> float:
    """Probability that the mean deviates from the truth by the distance or more, to one side."""
    width = parts.half_widths()

    def beyond(p: float) -> float:
        return width(1 - p) - distance

    return float(brentq(beyond, _SMALLEST, 0.5)) if beyond(_SMALLEST) > 0 else _SMALLEST


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) adjusted p values: the family-wise error of rejecting those at most alpha is at most alpha.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def with_seeds(parts: Components, n: int) -> Components:
    """The components that n seeds would have, with these cases."""
    share = parts.n_seeds / n
    held = 0.0 if parts.for_test else parts.residual  # the residual's share in the part of the cases
    cases = parts.cases - held + held * share
    return parts._replace(seeds=parts.seeds * share, cases=cases, residual=parts.residual * share, n_seeds=n)


def with_cases(parts: Components, n: int) -> Components:
    """The components that n cases or groups would have, with these seeds."""
    share = parts.n_groups / n
    held = min(parts.seeds, parts.residual) if parts.for_test else 0.0  # the residual's share in the part of the seeds
    seeds = parts.seeds - held + held * share
    return parts._replace(
        seeds=seeds,
        cases=parts.cases * share,
        residual=parts.residual * share,
        n_groups=n,
        n_alike=parts.n_alike / share,
    )


def _needed(parts: Components, level: float, resized: Resized, least: int = 2) -> int | None:
    """Smallest number, `least` or more, at which the observed mean is detectable; None beyond 100,000."""

    def enough(n: int) -> bool:
        return detectable_difference(resized(n), level) <= abs(parts.mean)

    high = _guess(parts, level, resized, least)
    step = 1
    if enough(high):
        low = high
        while high > least and enough(low := max(high - step, least)):
            high, step = low, 2 * step
    else:
        low = high
        while not enough(high := min(low + step, _MOST)):
            if high == _MOST:
                return None
            low, step = high, 4 * step
    while high - low > 1:  # the number is above low, and at most high
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _guess(parts: Components, level: float, resized: Resized, least: int) -> int:
    """About the number that is needed, from the variance a + b / n of n, and how it becomes a detectable difference."""
    one, most = resized(1).variance, resized(_MOST).variance  # a + b, and a all but for nothing
    n = parts
    guess = float(_MOST)
    for _ in range(2):  # the quantiles, too, depend on the number
        wanted = n.variance * (parts.mean / detectable_difference(n, level)) ** 2
        guess = (one - most) / (wanted - most) if wanted > most else float(_MOST)
        guess = min(max(guess, least), _MOST)
        n = resized(round(guess))
    return round(guess)
