"""What each case adds to a metric, so that metrics of any kind can be compared case by case."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.definitions import Definition
from usfm_bench.stats.jackknife import deleted
from usfm_bench.stats.of_classes import case_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Contributions(NamedTuple):
    """Of one metric, by seed."""

    values: Floats
    """(S, U) of each case, or each group of cases: their mean is the metric."""
    groups: Ints
    """(U,) numbers."""
    folds: Ints
    """(U,) the fold that each is tested in."""
    sizes: Ints | None = None
    """(U,) cases in each, where they are groups: those of many weigh more. None: each is one case."""

    @property
    def metric(self) -> float:
        """Mean over seeds of the metric."""
        return float(self.values.mean())


def class_contributions(
    definition: Definition,
    probabilities: Floats,
    labels: Ints,
    groups: Ints,
    folds: Ints,
    repeats: Ints | None = None,
) -> Contributions | None:
    """Of a classification metric: scores of cases where it is their mean, else the jackknife's pseudo-values of groups.

    With G groups and m(-g) the metric without group g, a pseudo-value is G m - (G - 1) m(-g) (Tukey 1958), and the
    variance of their mean is the jackknife's. They are moved together, so that their mean is m: the jackknife's
    correction for bias is left out, as it is in the tables.

    Args:
        definition: over all classes, not of one.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,).
        folds: (N,).
        repeats: (N,) as in `deleted`.

    Returns:
        None where the metric is undefined without some group, as one that holds a whole class.
    """
    scores = case_scores(definition, probabilities, labels)
    if scores is not None:
        return Contributions(scores, groups, folds)
    values = deleted(definition, probabilities, labels, groups=groups, repeats=repeats)
    return pseudo_contributions(values, groups, folds)


def pseudo_contributions(values: Floats, groups: Ints, folds: Ints) -> Contributions | None:
    """The jackknife's pseudo-values of a metric, as `class_contributions` says.

    Args:
        values: (S, 1 + G) the metric of all cases, then without each group.
        groups: (N,).
        folds: (N,). Where a group is in several, a pseudo-value is of the networks of all, and there is one fold.

    Returns:
        None where the metric is undefined without some group, or with one group alone.
    """
    names, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    if np.isnan(values).any() or len(names) < 2:
        return None
    full, without = values[:, :1], values[:, 1:]
    pseudo = full + (len(names) - 1) * (without.mean(axis=1, keepdims=True) - without)
    parted = len(np.unique(np.stack([groups, folds]), axis=1).T) == len(names)
    return Contributions(pseudo, names, folds[first] if parted else np.zeros_like(names), sizes)
