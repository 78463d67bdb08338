"""Wilson's interval for proportions of a single seed, where no spread over seeds can be had."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from usfm_bench.core.labels import Labels
from usfm_bench.metrics.definitions import Definition
from usfm_bench.stats.components import groups_alike, variance_components

Floats = NDArray[np.float64]


def wilson_interval(
    successes: NDArray[np.bool_], groups: Labels | None = None, *, level: float = 0.95
) -> tuple[float, float] | None:
    """Low and high end of a proportion's interval: Wilson (1927), doi:10.1080/01621459.1927.10502953.

    Where cases form groups, n is the number of independent cases that would vary as much, as Korn and Graubard (1998)
    take it for surveys: n_eff = min(n, p(1 - p) / V) with V the variance clustered by group, times (z / t)^2 for its
    few degrees of freedom; the number of groups where all succeed, or none does.

    Args:
        successes: (N,).
        groups: (N,).
        level: nominal coverage.

    Returns:
        None without a case, or with one group alone.
    """
    n = float(len(successes))
    if not n:
        return None
    p, z = float(successes.mean()), float(ndtri((1 + level) / 2))
    if groups is not None and (n_groups := len(np.unique(np.asarray(groups)))) < n:
        if n_groups < 2:
            return None
        variance = variance_components(successes[None].astype(np.float64), groups).cases
        alike = p * (1 - p) / variance if variance else float(n_groups)
        freedom = min(n_groups - 1, groups_alike(groups))
        n = min(n, alike * float(z / stdtrit(freedom, (1 + level) / 2)) ** 2)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return max(0.0, centre - half), min(1.0, centre + half)


def trials_of(
    definition: Definition, predicted: NDArray[np.int64], labels: NDArray[np.int64], only: int | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """(N,) which cases a proportion is over, and which succeed; None for a metric that is no proportion.

    Args:
        definition: ACC, or SEN, SPEC, PREC and ACC of one class.
        predicted: (N,) classes of one seed.
        labels: (N,).
        only: the class.
    """
    everything = np.ones(len(labels), bool)
    if definition.id == "acc@1":
        return everything, predicted == labels
    if only is None or definition.averaging not in ("class", "binary") or definition.compute is not None:
        return None
    said, true = predicted == only, labels == only
    kinds = {"SEN": (true, said), "SPEC": (~true, ~said), "PREC": (said, true), "ACC": (everything, said == true)}
    return kinds.get(definition.name)
