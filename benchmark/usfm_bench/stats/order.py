"""Does the order of models on one set of cases survive on another? Kendall's rank correlation with its bootstrap.

**Bootstrap.** In each draw the groups of cases of each set are drawn with replacement, once for all models, since
models share the difficulty of the cases. Networks are drawn with replacement for each model by itself, and the same
networks are asked on both sets, since they were: what makes a network good or bad moves both of its means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import Labels, numbered
from usfm_bench.stats.intervals import Interval

Floats = NDArray[np.float64]
_DRAWS = 2000


class OnTwo(NamedTuple):
    """One model's scores on two sets of cases, by the same networks."""

    first: Floats
    """(S, C1)."""
    second: Floats
    """(S, C2)."""


def kept_order(
    models: Sequence[OnTwo],
    groups_first: Labels,
    groups_second: Labels,
    rng: np.random.Generator,
    *,
    draws: int = _DRAWS,
    level: float = 0.95,
) -> Interval:
    """Kendall's tau-b between the models' means on two sets: 1 where the order is the same, -1 where it is reversed.

    Args:
        models: at least two, all on the same cases of each set.
        groups_first: (C1,) cases of one group are drawn together.
        groups_second: (C2,).
        rng: of the bootstrap.
        draws: of the bootstrap.
        level: of the interval.

    Returns:
        The interval has the bootstrap's percentiles, widened to the point where they miss it. None with two models,
        whose order is the same or not, and where a set has one group; NaN where all models score alike on a set.

    Raises:
        BenchError: fewer than two models.
    """
    if len(models) < 2:
        raise BenchError(f"An order needs two models at least, there is {len(models)}.")
    point = float(kendall(np.array([m.first.mean() for m in models]), np.array([m.second.mean() for m in models])))
    few = min(len(set(np.asarray(groups).tolist())) for groups in (groups_first, groups_second)) < 2
    if len(models) < 3 or few or np.isnan(point):
        return Interval(point, None, None)
    runs = [
        _group_draws([getattr(m, name) for m in models], groups, rng, draws)
        for name, groups in (("first", groups_first), ("second", groups_second))
    ]
    means = np.empty((2, draws, len(models)))
    for i, model in enumerate(models):
        n_seeds = len(model.first)
        times = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=draws) / n_seeds  # (draws, S)
        for side in range(2):
            means[side, :, i] = (runs[side][i].T * times).sum(axis=1)
    found = kendall(means[0], means[1])
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(point, min(float(low), point), max(float(high), point), "seeds+cases")


def kendall(a: Floats, b: Floats) -> Floats:
    """(...,) Kendall's tau-b of (..., M) and (..., M) along the last axis; NaN where one has a single value.

    >>> float(kendall(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]))).__round__(3)  # 2 pairs agree, 1 does not
    0.333
    """
    i, j = np.triu_indices(a.shape[-1], 1)
    of_a, of_b = (np.sign(x[..., i] - x[..., j]) for x in (a, b))
    pairs = np.sqrt((of_a != 0).sum(axis=-1) * (of_b != 0).sum(axis=-1))
    return np.asarray(np.where(pairs > 0, (of_a * of_b).sum(axis=-1) / np.where(pairs > 0, pairs, 1), np.nan))


def _group_draws(scores: Sequence[Floats], groups: Labels, rng: np.random.Generator, draws: int) -> list[Floats]:
    """Of each model (S, draws) means of every network over groups drawn with replacement, the same for all models."""
    index = numbered(groups)
    sizes = np.bincount(index)
    times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=draws).astype(np.float64)
    weights = times[:, index] / (times @ sizes)[:, None]  # (draws, C)
    return [of @ weights.T for of in scores]
