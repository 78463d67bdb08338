"""Variance components of a mean over seeds and cases, and Cochran's weighted quantile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from usfm_bench.errors import BenchError

Floats = NDArray[np.float64]
_ROUNDING = 1e-12  # what is left of a spread of zero, relative to the scores


class Components(NamedTuple):
    """Variance of the mean of (S, C) scores, in parts; docs/method.md, Statistics."""

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

    @property
    def variance(self) -> float:
        """Of the mean."""
        return self.seeds + self.cases

    def half_width(self, tail: float) -> float:
        """Quantile `tail` of the deviation of the mean: Cochran's weighted t times the standard error."""
        t_cases = float(stdtrit(self.n_groups - 1, tail))
        t_seeds = float(stdtrit(self.n_seeds - 1, tail)) if self.n_seeds > 1 else 0.0
        weighted = (self.seeds * t_seeds + self.cases * t_cases) / self.variance
        return float(weighted * self.variance**0.5)


def variance_components(scores: Floats, groups: Sequence[str] | None = None, *, for_test: bool = False) -> Components:
    """Components of the mean of (S, C) scores; cases of one group vary together.

    Args:
        scores: (S, C).
        groups: (C,).
        for_test: leave the residual's share in the part of the seeds. Between two models the seeds, few as they are,
            may be all that varies; taking that share out errs too often on the short side (docs/method.md).

    Raises:
        BenchError: NaN, or not two-dimensional.
    """
    if scores.ndim != 2 or not scores.size:
        raise BenchError(f"scores is of shape {scores.shape}; expected (seeds, cases).")
    if np.isnan(scores).any():
        raise BenchError(f"scores has {int(np.isnan(scores).sum())} NaN; leave undefined cases out and count them.")
    n_seeds, n_cases = scores.shape
    mean = float(scores.mean())
    totals = _group_totals(scores - scores.mean(axis=1, keepdims=True), groups)  # (S, G), deviations from seed means
    n_groups = totals.shape[1]
    if n_groups < 2:
        return Components(mean, 0.0, 0.0, 0.0, n_seeds, n_groups, none=True)
    cases = n_groups / (n_groups - 1) * float((totals.mean(axis=0) ** 2).sum()) / n_cases**2
    seeds = noise = 0.0
    if n_seeds > 1:
        rest = totals - totals.mean(axis=0)
        # Mean square of the residual as a variance of one seed's mean, on the scale of the seeds' own spread.
        noise = float((rest**2).sum()) / ((n_seeds - 1) * (n_groups - 1)) * n_groups / n_cases**2
        between = float(scores.mean(axis=1).var(ddof=1))
        seeds = (between if for_test else max(0.0, between - noise)) / n_seeds
    none = seeds + cases <= (_ROUNDING * float(np.abs(scores).max())) ** 2
    return Components(mean, seeds, cases, min(noise / n_seeds, cases), n_seeds, n_groups, none)


def _group_totals(scores: Floats, groups: Sequence[str] | None) -> Floats:
    """(S, C) -> (S, G) sums over the cases of each group."""
    if groups is None:
        return scores
    index = np.unique(np.asarray(groups), return_inverse=True)[1]
    totals = np.zeros((index.max() + 1, scores.shape[0]))
    np.add.at(totals, index, scores.T)
    return totals.T
