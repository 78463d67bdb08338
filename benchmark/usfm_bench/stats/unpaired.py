"""A difference between two sets of cases by the same trained networks: seeds are paired, cases are not.

**Formula.** Of one model, networks s = 1..S score C1 cases of one set (a) and C2 cases of another (b). With d_s the
difference of network s's two means, the point is their mean, and its variance has three parts:

- seeds: max(var(d_s) - R / 2, R / 2) / S, where R is what the residual adds to var(d_s), on both sets. Networks that
  are better on both sets take nothing from it, since d_s is of one network;
- cases of a, and cases of b: each as in `variance_components`, over groups, with half of the residual's share in it.

Half of R stays in the seeds' part, as in `paired_components`, since few networks often show no spread by luck.

The ends are at t times the standard error, t being Cochran's weighted quantile over the three parts, with S - 1
degrees of freedom for the seeds and, for each set, those of its own cases or groups. One network: the parts of the
cases alone. docs/external.md has the simulated coverage.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import Labels
from usfm_bench.stats.components import KEPT, Components, variance_components
from usfm_bench.stats.intervals import Interval

Floats = NDArray[np.float64]
_SMALLEST = 1e-12


class Unpaired(NamedTuple):
    """A difference a - b, with the parts of its variance."""

    difference: float
    parts: tuple[tuple[float, float], ...]
    """(variance, degrees of freedom) of the seeds, of the cases of a and of those of b; seeds are left out for one."""
    known: bool
    """Both sets have cases, or groups, enough for a spread, and there is one."""

    @property
    def variance(self) -> float:
        """Of the difference."""
        return sum(variance for variance, _ in self.parts)

    def half_width(self, tail: float) -> float:
        """Quantile `tail` of the deviation of the difference."""
        each = [(variance, float(stdtrit(freedom, tail))) for variance, freedom in self.parts]
        weighted = sum(variance * t for variance, t in each) / self.variance**0.5
        # Of two seeds, or groups, t is so large that a part alone can ask for more than all together.
        return float(max(weighted, *(variance**0.5 * t for variance, t in each)))

    def interval(self, level: float = 0.95) -> Interval:
        """At a level; none where no spread can be had."""
        if not self.known:
            return Interval(self.difference, None, None)
        half = self.half_width((1 + level) / 2)
        kind = "seeds+cases" if len(self.parts) == 3 else "cases"
        return Interval(self.difference, self.difference - half, self.difference + half, kind)

    def p_value(self) -> float | None:
        """Two-sided, of no difference: the level at which the interval just touches 0; None without an interval."""
        if not self.known:
            return None
        if self.difference == 0:
            return 1.0

        def beyond(p: float) -> float:
            return self.half_width(1 - p) - abs(self.difference)

        return 2 * float(brentq(beyond, _SMALLEST, 0.5)) if beyond(_SMALLEST) > 0 else 2 * _SMALLEST


def unpaired(
    a: Floats,
    b: Floats,
    *,
    groups_a: Labels | None = None,
    groups_b: Labels | None = None,
    folds_a: Labels | None = None,
    folds_b: Labels | None = None,
    sizes_a: NDArray[np.int64] | None = None,
    sizes_b: NDArray[np.int64] | None = None,
) -> Unpaired:
    """mean(a) - mean(b) over cases of two sets by the same networks, as the module says.

    Args:
        a: (S, C1), no NaN.
        b: (S, C2), the same networks in the same order.
        groups_a: (C1,) cases of one group vary together.
        groups_b: (C2,) the same of b. A group in both sets is taken for two.
        folds_a: (C1,) the fold that each case of a is tested in; where b has none, its rows are means of the folds'
            networks.
        folds_b: (C2,) the same of b.
        sizes_a: (C1,) cases behind each score, where a score is of a whole group (`Contributions.sizes`).
        sizes_b: (C2,) the same of b.

    Raises:
        BenchError: not the same number of networks, or NaN.
    """
    if len(a) != len(b):
        raise BenchError(f"a has {len(a)} networks, b {len(b)}; the difference is of the same networks on both sets.")
    sides = [
        variance_components(a, groups_a, folds=folds_a, sizes=sizes_a),
        variance_components(b, groups_b, folds=folds_b, sizes=sizes_b),
    ]
    parts = [(max(0.0, side.cases - KEPT * side.residual), float(_freedom(side))) for side in sides]
    n_seeds = len(a)
    if n_seeds > 1:
        between = float((a.mean(axis=1) - b.mean(axis=1)).var(ddof=1)) / n_seeds
        noise = sum(side.residual for side in sides)
        parts.insert(0, (max(between - (1 - KEPT) * noise, KEPT * noise), n_seeds - 1))
    enough = all(side.n_groups > side.n_folds for side in sides)
    rounding = (_SMALLEST * float(max(np.abs(a).max(), np.abs(b).max()))) ** 2
    known = enough and sum(variance for variance, _ in parts) > rounding
    return Unpaired(sides[0].mean - sides[1].mean, tuple(parts), known)


def _freedom(side: Components) -> float:
    return max(1.0, min(side.n_groups - side.n_folds, side.n_alike))
