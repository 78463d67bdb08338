"""Intervals with three sources of spread: pre-trainings, fine-tunings of each, and cases.

A score is y[p, s, c] of pre-training p (its seed), fine-tuning s of it, and case c, with random parts of p, of s within
p, of c, and a rest. In a balanced design the means over s, (P, C), hold all that their mean varies by: the spread
between pre-trainings of such means is var(p) + var(s) / S, unbiased, so fine-tunings need no term of their own. What
is left is a crossed design of P rows and C cases, which `variance_components` takes, with P - 1 degrees of freedom for
the rows. docs/pretraining.md has the simulated coverage, and that of taking all P x S trainings for independent ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import Labels
from usfm_bench.stats.compare import Comparison, compare
from usfm_bench.stats.components import variance_components
from usfm_bench.stats.intervals import Interval, interval_of

Floats = NDArray[np.float64]
THREE = "pretrainings+seeds+cases"
"""Kind of an interval over all three."""


class Sources(NamedTuple):
    """Parts of the variance of a mean over pre-trainings, fine-tunings and cases; they sum to that of the interval."""

    pretrainings: float | None
    """None: one pre-training. With one fine-tuning of each, that one's part is in it."""
    finetunings: float | None
    """None: one of each pre-training."""
    cases: float


def pretraining_interval(
    scores: Floats,
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    sizes: NDArray[np.int64] | None = None,
    level: float = 0.95,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Interval of a mean for new pre-trainings, fine-tunings and cases.

    Args:
        scores: (P, S, C), no NaN.
        groups: (C,) cases of one group vary together.
        folds: (C,) the fold that each case is tested in.
        sizes: (C,) cases behind each score, where a score is of a whole group.
        level: nominal coverage.
        bounds: the metric's range.

    Returns:
        Of one pre-training the interval over its fine-tunings and cases, of the kind `seeds+cases` or `cases`: how much
        another pre-training would differ is not in it.

    Raises:
        BenchError: NaN, or not three-dimensional.
    """
    rows = _rows(scores)
    found = interval_of(variance_components(rows, groups, folds=folds, sizes=sizes), level=level, bounds=bounds)
    return found._replace(kind=THREE) if found.kind == "seeds+cases" and len(scores) > 1 else found


def compare_pretrainings(
    a: Floats,
    b: Floats,
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    sizes: NDArray[np.int64] | None = None,
    level: float = 0.95,
    higher_is_better: bool = True,
) -> Comparison:
    """Mean difference of two methods, paired by case; pre-trainings are no pairs, and each method shows its own spread.

    Args:
        a: (P, S, C), no NaN.
        b: (P, S', C), as many pre-trainings, the same cases in the same order.
        groups: (C,).
        folds: (C,).
        sizes: (C,).
        level: of the interval.
        higher_is_better: False for distances and errors.

    Raises:
        BenchError: other numbers of pre-trainings or cases, or NaN.
    """
    rows = _rows(a), _rows(b)
    if rows[0].shape != rows[1].shape:
        raise BenchError(
            f"a is {a.shape}, b is {b.shape}; a comparison needs as many pre-trainings and the same cases."
        )
    kinds = {"groups": groups, "folds": folds, "sizes": sizes}
    return compare(*rows, **kinds, level=level, higher_is_better=higher_is_better)  # type: ignore[arg-type]


def sources(scores: Floats, *, groups: Labels | None = None, folds: Labels | None = None) -> Sources:
    """Where the variance of the mean comes from.

    Args:
        scores: (P, S, C), no NaN.
        groups: (C,).
        folds: (C,).
    """
    parts = variance_components(_rows(scores), groups, folds=folds)
    n_pretrainings, n_seeds, _ = scores.shape
    if n_pretrainings == 1:
        return Sources(None, parts.seeds if n_seeds > 1 else None, parts.cases)
    if n_seeds == 1:
        return Sources(parts.seeds, None, parts.cases)
    within = float(scores.mean(axis=2).var(axis=1, ddof=1).mean()) / (n_pretrainings * n_seeds)
    of_seeds = min(within, parts.seeds)
    return Sources(parts.seeds - of_seeds, of_seeds, parts.cases)


def _rows(scores: Floats) -> Floats:
    """(P, C) means over fine-tunings; of one pre-training its (S, C)."""
    if scores.ndim != 3:
        raise BenchError(f"scores is of shape {scores.shape}; expected (pre-trainings, fine-tunings, cases).")
    return np.asarray(scores[0] if len(scores) == 1 else scores.mean(axis=1))
