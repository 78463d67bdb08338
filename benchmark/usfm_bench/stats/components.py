"""Variance components of a mean over seeds and cases, and Cochran's weighted quantile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import Labels, one_for_each, sorted_numbers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Freedom = Literal["cochran", "satterthwaite"]
_ROUNDING = 1e-12  # what is left of a spread of zero, relative to the scores
KEPT = 0.5
"""Of the residual's share, what stays in the part of the seeds where the same networks are tested twice.

With all of it taken off, as for an interval of one mean, two networks (or three) often show no spread by luck alone:
in up to 12 % (7 %) of the comparisons in which nothing differs a difference is found at 5 %. With all of it left there
intervals of three networks are up to 45 % wider, with half up to 20 % (docs/type-one.md).
"""


class Components(NamedTuple):
    """Variance of the mean of (S, C) scores, in parts; docs/intervals.md."""

    mean: float
    seeds: float
    """Part of the seeds: their own variance / S, not below 0."""
    cases: float
    """Part of the cases or groups, with the residual's share in it."""
    residual: float
    """The residual's share: its variance / SC. 0 for one seed, whose residual is not known."""
    n_seeds: int
    n_groups: int
    """Cases, or groups of them."""
    none: bool
    """There is no spread, or one case or group alone: no interval can be had."""
    n_folds: int = 1
    """Each case is tested in one of them, by networks of their own."""
    for_test: bool = False
    """The residual's share is in the part of the seeds, and in `difference_components` there alone."""
    n_sets: float = 1.0
    """Sets of seeds that would tell as much of the seeds' part: of two models' networks 1 to 2, by Welch (1947)."""
    n_alike: float = np.inf
    """Groups of one size that would tell as much of the variance between groups; at least `n_groups` where all are."""

    @property
    def variance(self) -> float:
        """Of the mean."""
        return self.seeds + self.cases

    @property
    def _freedoms(self) -> tuple[float, float]:
        return self.n_sets * self.n_folds * (self.n_seeds - 1), min(self.n_groups - self.n_folds, self.n_alike)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of the variance."""
        df_seeds, df_cases = self._freedoms
        parts = self.cases**2 / df_cases + (self.seeds**2 / df_seeds if df_seeds else 0.0)
        return float(self.variance**2 / parts)

    def half_width(self, tail: float, freedom: Freedom = "cochran") -> float:
        """Quantile `tail` of the deviation of the mean: t times the standard error.

        `cochran`: t weighted by the parts. `satterthwaite`: approximate degrees of freedom, for comparison; with few
        seeds and many cases it covers less than it claims (docs/intervals.md).
        """
        if freedom == "satterthwaite":
            return float(stdtrit(self.freedom, tail) * self.variance**0.5)
        return self.half_widths()(tail)

    def half_widths(self) -> Callable[[float], float]:
        """`half_width` by Cochran's quantile, for many tails."""
        df_seeds, df_cases = self._freedoms
        seeds, cases, variance = self.seeds, self.cases, self.variance
        error, error_seeds, error_cases = variance**0.5, seeds**0.5, cases**0.5

        def at(tail: float) -> float:
            t_seeds = float(stdtrit(df_seeds, tail)) if df_seeds else 0.0
            t_cases = float(stdtrit(df_cases, tail))
            weighted = (seeds * t_seeds + cases * t_cases) / variance
            # Of two seeds, or groups, t is so large that a part alone can ask for more than both together.
            return float(max(weighted * error, t_seeds * error_seeds, t_cases * error_cases))

        return at


def variance_components(
    scores: Floats,
    groups: Labels | None = None,
    *,
    folds: Labels | None = None,
    sizes: Ints | None = None,
    for_test: bool = False,
) -> Components:
    """Components of the mean of (S, C) scores; cases of one group vary together.

    Args:
        scores: (S, C).
        groups: (C,).
        folds: (C,) the fold that each case is tested in; seeds then vary within folds, by networks of their own.
            Training sets overlap between folds, which this leaves out: it is approximate.
        sizes: (C,) cases behind each score, where a score is of a whole group (`Contributions.sizes`); None: one each.
        for_test: leave the residual's share in the part of the seeds, as `difference_components` needs it.

    Raises:
        BenchError: NaN or infinite, not two-dimensional, or groups or folds that do not fit the cases.
    """
    if scores.ndim != 2 or not scores.size:
        raise BenchError(f"scores is of shape {scores.shape}; expected (seeds, cases).")
    if not np.isfinite(scores).all():
        if n_nan := int(np.isnan(scores).sum()):
            raise BenchError(f"scores has {n_nan} NaN; leave undefined cases out and count them.")
        raise BenchError(f"scores has {int(np.isinf(scores).sum())} infinite values, of which there is no mean.")
    n_seeds, n_cases = scores.shape
    for labels, what in ((groups, "groups"), (folds, "folds")):
        if labels is not None:
            one_for_each(labels, n_cases, what)
    mean = float(scores.mean())
    sums, index, n_folds = _fold_sums(scores, folds)  # (S, K)
    means = (sums / np.bincount(index))[:, index] if n_folds > 1 else sums / n_cases
    totals = _group_totals(scores - means, groups)  # (S, G), deviations from a fold's seed means
    n_groups = totals.shape[1]
    free = n_groups - n_folds
    if free < 1:
        return Components(mean, 0.0, 0.0, 0.0, n_seeds, n_groups, none=True, n_folds=n_folds)
    cases = n_groups / free * float((totals.mean(axis=0) ** 2).sum()) / n_cases**2
    seeds = noise = 0.0
    if n_seeds > 1:
        rest = totals - totals.mean(axis=0)
        # Mean square of the residual as a variance of one seed's mean, on the scale of the seeds' own spread.
        noise = float((rest**2).sum()) / ((n_seeds - 1) * free) * n_groups / n_cases**2
        between = _between_seeds(sums, n_cases)
        seeds = (between if for_test else max(0.0, between - noise)) / n_seeds
    none = seeds + cases <= (_ROUNDING * float(np.abs(scores).max())) ** 2
    parts = Components(mean, seeds, cases, min(noise / n_seeds, cases), n_seeds, n_groups, none, n_folds, for_test)
    if groups is None and sizes is None:
        return parts
    return parts._replace(n_alike=groups_alike(np.arange(n_cases) if groups is None else groups, sizes))


def difference_components(
    a: Floats,
    b: Floats,
    groups: Labels | None = None,
    *,
    folds: Labels | None = None,
    sizes: Ints | None = None,
    n_sets: float | None = None,
) -> Components:
    """Components of mean(a) - mean(b), of the same cases by two sets of trainings.

    Cases are paired. Seeds are not: seed 0 of another model, or of other code, is another training. Two sets of S seeds
    whose variances are v and w show their spread with (S - 1) (v + w)^2 / (v^2 + w^2) degrees of freedom: Welch (1947),
    doi:10.1093/biomet/34.1-2.28. With 2 (S - 1), whatever they are, two models of which one has no spread, as a probe
    by nearest neighbours, differ at 5 % in up to 12 % of the comparisons in which nothing differs. The residual's
    share is in the seeds' part, which is not below it where seeds agree by luck, and taken out of the cases'.

    Args:
        a: (S, C).
        b: (S, C).
        groups: (C,).
        folds: (C,).
        sizes: (C,) as in `variance_components`.
        n_sets: sets of seeds that show the spread between trainings as well as both, where that is known otherwise;
            2 where both vary alike. None: by Welch, from these scores.

    Returns:
        With one seed the part of the cases alone; none where every score is the same.
    """
    parts = variance_components(a - b, groups, folds=folds, sizes=sizes, for_test=True)
    if parts.n_seeds == 1:
        return parts
    each = [_between_seeds(_fold_sums(x, folds)[0], x.shape[1]) for x in (a, b)]
    seeds, cases = max(sum(each) / parts.n_seeds, parts.residual), max(0.0, parts.cases - parts.residual)
    squares = sum(variance**2 for variance in each)
    if n_sets is None:
        n_sets = sum(each) ** 2 / squares if squares else 2.0
    rounding = _ROUNDING * float(np.abs(a).max())
    none = parts.n_groups <= parts.n_folds or seeds + cases <= rounding**2 or bool((np.abs(a - b) <= rounding).all())
    return parts._replace(seeds=seeds, cases=cases, n_sets=n_sets, none=none)


def paired_components(
    differences: Floats,
    groups: Labels | None = None,
    *,
    folds: Labels | None = None,
    sizes: Ints | None = None,
) -> Components:
    """Components of a mean difference by the same networks on the same cases: other images, or other code.

    Seeds are paired, as cases are. Half of the residual's share stays in the part of the seeds (`KEPT`).

    Args:
        differences: (S, C).
        groups: (C,).
        folds: (C,).
        sizes: (C,) as in `variance_components`.
    """
    parts = variance_components(differences, groups, folds=folds, sizes=sizes, for_test=True)
    return parts._replace(
        seeds=max(parts.seeds - (1 - KEPT) * parts.residual, KEPT * parts.residual) if parts.n_seeds > 1 else 0.0,
        cases=max(0.0, parts.cases - KEPT * parts.residual),
    )


def groups_alike(groups: Labels, sizes: Ints | None = None) -> float:
    """How many groups of one size would tell as much of the variance between groups: (sum n^2)^2 / sum n^4.

    A group's total varies with its size, so a variance from groups of 1 to 12 cases hangs on the largest few. Without
    this, intervals over 10 patients of 1 to 12 images hold the truth 3 to 5 points less often (docs/intervals.md).

    >>> groups_alike(["a", "a", "b", "b", "c", "c"]), groups_alike(["a"] * 12 + ["b", "c"])
    (3.0, 1.02...)

    Args:
        groups: (C,).
        sizes: (C,) cases behind each; None: one.
    """
    return sizes_alike(np.bincount(sorted_numbers(groups), weights=sizes))


def sizes_alike(sizes: Ints | Floats) -> float:
    """As `groups_alike`, from (G,) sizes."""
    squares = sizes.astype(np.float64) ** 2
    return float(squares.sum() ** 2 / (squares**2).sum())


def _between_seeds(sums: Floats, n_cases: int) -> float:
    """Variance between seeds of the mean over cases, from (S, K) sums over the cases of each fold."""
    return float(sums.var(axis=0, ddof=1).sum()) / n_cases**2


def _fold_sums(scores: Floats, folds: Labels | None) -> tuple[Floats, NDArray[np.int64], int]:
    """(S, K) sums over the cases of each fold, (C,) fold numbers from 0, and K."""
    if folds is None or (np.asarray(folds) == folds[0]).all():
        return scores.sum(axis=1, keepdims=True), np.zeros(scores.shape[1], np.int64), 1
    index = sorted_numbers(folds)
    return _totals(scores, index), index, int(index.max()) + 1


def _group_totals(scores: Floats, groups: Labels | None) -> Floats:
    """(S, C) -> (S, G) sums over the cases of each group."""
    if groups is None:
        return scores
    return _totals(scores, sorted_numbers(groups))


def _totals(scores: Floats, index: NDArray[np.int64]) -> Floats:
    """(S, C) -> (S, K) sums over the cases of each number 0..K-1."""
    n_seeds, n = len(scores), int(index.max()) + 1
    place = np.arange(n_seeds)[:, None] * n + index
    totals = np.bincount(place.ravel(), weights=scores.ravel(), minlength=n_seeds * n)
    return np.asarray(totals.reshape(n_seeds, n), dtype=np.float64)
