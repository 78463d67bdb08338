"""What each case adds to a metric, so that metrics of any kind can be compared case by case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.definitions import Definition
from usfm_bench.stats.intervals import case_scores, deleted

Floats = NDArray[np.float64]


class Contributions(NamedTuple):
    """Of one metric, by seed."""

    metric: Floats
    """(S,) the metric of each seed."""
    values: Floats
    """(S, U) of each case, or each group of cases: their mean is the metric, up to the jackknife's bias."""
    groups: tuple[str, ...]
    """(U,)."""
    folds: tuple[int, ...]
    """(U,) the fold that each is tested in."""

    def only(self, kept: Sequence[int]) -> Contributions:
        """Those of some seeds, by position."""
        return self._replace(metric=self.metric[list(kept)], values=self.values[list(kept)])


def mean_contributions(scores: Floats, groups: Sequence[str], folds: Sequence[int]) -> Contributions:
    """Of a metric that is a mean over cases: (S, C) scores themselves."""
    return Contributions(scores.mean(axis=1), scores, tuple(groups), tuple(folds))


def class_contributions(
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    groups: Sequence[str],
    folds: Sequence[int],
) -> Contributions | None:
    """Of a classification metric: scores of cases where it is their mean, else the jackknife's pseudo-values of groups.

    With G groups and m(-g) the metric without group g, the pseudo-value is G m - (G - 1) m(-g) (Tukey 1958); the
    variance of their mean is the jackknife's.

    Args:
        definition: over all classes, not of one.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,).
        folds: (N,).

    Returns:
        None where the metric is undefined without some group, as one that holds a whole class.
    """
    scores = case_scores(definition, probabilities, labels)
    if scores is not None:
        return mean_contributions(scores, groups, folds)
    values = deleted(definition, probabilities, labels, groups=groups)
    names, first = np.unique(np.asarray(groups), return_index=True)
    if np.isnan(values).any() or len(names) < 2:
        return None
    pseudo = len(names) * values[:, :1] - (len(names) - 1) * values[:, 1:]
    return Contributions(values[:, 0], pseudo, tuple(names.tolist()), tuple(np.asarray(folds)[first].tolist()))
