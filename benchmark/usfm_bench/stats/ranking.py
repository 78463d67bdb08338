"""Which model is best over several data sets? Mean ranks, how stable they are, and Friedman's test.

**Who is ranked.** Ranks are among the models that have every data set; 1 is the best, ties get their average. A model
that lacks a data set has no overall rank. On the data sets that it has, its rank is the place that it would take among
the complete models; it moves none of them. A model's score on a data set is its mean over seeds and cases.

**Bootstrap.** In each draw
- a data set's groups of cases are drawn once, with replacement, for all its models: models share the difficulty of the
  cases, and what decides a rank is their difference on the same ones;
- seeds are drawn with replacement for each model and data set by themselves, since seed 0 of one model has nothing to
  do with seed 0 of another. S seeds drawn from S show (S - 1) / S of their variance: half at two, nothing at one. The
  residual between seeds and cases, in turn, counts up to three times (Owen 2007, doi:10.1214/07-AOAS122);
- data sets are not drawn. A rank interval is about these data sets and not about others.

Intervals are percentiles, widened to their point where they miss it. That of a mean rank is for the mean rank that such
an experiment gives on average. It is none for the rank of the true means: noise pulls observed ranks to the middle, and
where models are all but equal it misses that rank often (Hall and Miller 2009, doi:10.1214/09-AOS699;
docs/comparisons.md, Ranking, has the shares). Where a data set has one case or group there is no interval, and no
share of first places.

**Interquartile mean** (Agarwal et al. 2021, arXiv:2108.13264) of the run scores, one a data set and seed: the mean of
the middle half. Its bootstrap is stratified by data set and is the one above: their runs carry the noise of their own
episodes, but here all runs share their test cases, and seeds drawn alone would leave the noise of the cases out.

**Friedman.** With few data sets the chi-square approximation is too cautious, and the F of Iman and Davenport that
Demsar (2006, JMLR 7:1-30) advises gives p = 0 wherever all data sets agree, be they only two. Ranks are permuted within
data sets instead, which holds the level at any size; p = (1 + as extreme) / (1 + permutations) is never 0 (Phipson and
Smyth 2010, doi:10.2202/1544-6115.1585).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import numbered

Floats = NDArray[np.float64]
Table = Mapping[str, Mapping[str, "Scored"]]
ALPHA = 0.05  # of the critical difference
_DIGITS = 12  # of scores that count as different, relative to the largest
_PERMUTATIONS = 9_999


@dataclass(frozen=True)
class Scored:
    """One model on one data set."""

    scores: Floats
    """(S, C) over seeds and cases, finite, S and C at least 1."""
    groups: tuple[str, ...]
    """(C,) the groups of the cases."""


@dataclass(frozen=True)
class Ranked:
    """One model over all data sets. All but `missing` and `ranks` is None where a data set is missing."""

    model: str
    mean_rank: float | None
    rank_low: float | None
    """Bootstrap interval of the mean rank; None also where a data set has one case or group."""
    rank_high: float | None
    first: float | None
    """Share of the bootstrap draws in which it has the best mean rank; those that tie share a draw."""
    iqm: float | None
    """Interquartile mean of the run scores, one a data set and seed."""
    iqm_low: float | None
    """Its bootstrap interval; None also where a data set has one case or group, or nothing varies."""
    iqm_high: float | None
    missing: tuple[str, ...]
    """Data sets that it lacks."""
    ranks: Mapping[str, float]
    """Rank on each data set that it has, among the complete models and itself; empty where no model is complete."""


@dataclass(frozen=True)
class Ranking:
    """Models over data sets, best mean rank first, those without an overall rank last."""

    models: tuple[Ranked, ...]
    datasets: tuple[str, ...]
    n_draws: int
    """Bootstrap draws; 0 where a data set has one case or group, or no model is complete."""
    friedman_p: float | None
    """By permutation; None below 3 complete models or 2 data sets, as are the next two."""
    critical_difference: float | None
    """Of mean ranks, Nemenyi at 5 %; None, too, where it is more than mean ranks can differ."""
    nemenyi: Floats | None = field(compare=False)
    """(M, M) p values between the complete models, in the order of `models`."""


def rank_models(
    table: Table, *, higher_is_better: bool, rng: np.random.Generator, draws: int = 1000, level: float = 0.95
) -> Ranking:
    """Rank models over data sets. The order of models and data sets in the table changes no number.

    Args:
        table: data set -> model -> its scores. All models of a data set have the same cases in the same order.
        higher_is_better: False for distances and errors.
        rng: of the bootstrap and of Friedman's permutations.
        draws: of the bootstrap.
        level: of the intervals.

    Raises:
        BenchError: no data set, a score that is not finite, or models of one data set with different cases.
    """
    _check(table)
    missing = _missing(table)
    complete = [model for model, lacks in missing.items() if not lacks]
    ranks = _ranks(_means(table, complete), higher_is_better)  # (D, M)
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    complete, ranks = [complete[i] for i in order], ranks[:, order]
    drawn = _bootstrap(table, complete, higher_is_better, rng, draws)
    ranked = [
        _ranked(table, model, ranks[:, i], drawn[model] if drawn else None, level) for i, model in enumerate(complete)
    ]
    for model, lacks in missing.items():
        if lacks:
            places = _places(table, model, complete, higher_is_better)
            ranked.append(Ranked(model, None, None, None, None, None, None, None, lacks, places))
    testable = len(complete) > 2 and len(table) > 1
    limit = critical_difference(len(complete), len(table)) if testable else np.inf
    # The largest difference of mean ranks that there can be is that of the first and the last on every data set.
    reachable = limit <= len(complete) - 1
    return Ranking(
        models=tuple(ranked),
        datasets=tuple(table),
        n_draws=draws if drawn else 0,
        friedman_p=_friedman(ranks[np.argsort(list(table))], rng) if testable else None,
        critical_difference=limit if reachable else None,
        nemenyi=_nemenyi(ranks) if reachable else None,
    )


def critical_difference(n_models: int, n_datasets: int) -> float:
    """Least difference of two mean ranks that Nemenyi's test finds at 5 %: q sqrt(k (k + 1) / 6N), Demsar (2006).

    >>> round(critical_difference(5, 10), 2)
    1.93
    """
    from scipy.stats import studentized_range  # here, since it takes a second to import

    q = studentized_range.ppf(1 - ALPHA, n_models, np.inf) / 2**0.5
    return float(q * (n_models * (n_models + 1) / (6 * n_datasets)) ** 0.5)


class _Drawn(NamedTuple):
    """Bootstrap of one model, (draws,) each."""

    mean_ranks: Floats
    first: Floats
    iqms: Floats


def _check(table: Table) -> None:
    if not table:
        raise BenchError("There is no data set to rank models on.")
    faults = [fault for name, models in table.items() for fault in _faults(name, models)]
    if faults:
        raise BenchError("\n".join(faults))


def _faults(dataset: str, models: Mapping[str, Scored]) -> Iterator[str]:
    cases: dict[tuple[str, ...], list[str]] = {}
    for model, scored in models.items():
        scores, groups = scored.scores, scored.groups
        if scores.ndim != 2 or not scores.size or scores.shape[1] != len(groups):
            yield f"{dataset}, {model}: scores of shape {scores.shape} and {len(groups)} groups; expected (S, C) and C."
        elif not np.isfinite(scores).all():
            undefined = int((~np.isfinite(scores)).sum())
            yield f"{dataset}, {model}: {undefined} scores are not finite; leave these cases out for all models."
        else:
            cases.setdefault(groups, []).append(model)
    if len(cases) > 1:
        listed = "; ".join(f"{', '.join(sorted(of))}: {len(groups)}" for groups, of in cases.items())
        yield f"{dataset}: models have different test cases ({listed}). Rank them on the same cases in the same order."


def _missing(table: Table) -> dict[str, tuple[str, ...]]:
    """Model, by name, -> the data sets that it lacks."""
    models = sorted({model for of in table.values() for model in of})
    return {model: tuple(name for name, of in table.items() if model not in of) for model in models}


def _means(table: Table, models: Sequence[str]) -> Floats:
    """(D, M)."""
    return np.array([[of[model].scores.mean() for model in models] for of in table.values()])


def _ranks(scores: Floats, higher_is_better: bool) -> Floats:
    """(..., M) ranks along the last axis, 1 the best. What differs by rounding alone is a tie."""
    from scipy.stats import rankdata

    if not scores.size:
        return scores
    largest = np.abs(scores).max(axis=-1, keepdims=True)
    rounded = np.round(scores / np.where(largest > 0, largest, 1), _DIGITS)
    return np.asarray(rankdata(-rounded if higher_is_better else rounded, axis=-1))


def _places(table: Table, model: str, complete: Sequence[str], higher_is_better: bool) -> dict[str, float]:
    """Rank of an incomplete model among the complete ones and itself, on each data set that it has."""
    has = {name: of for name, of in table.items() if complete and model in of}
    ranks = _ranks(_means(has, [*complete, model]), higher_is_better)
    return {name: float(row[-1]) for name, row in zip(has, ranks, strict=True)}


def _ranked(table: Table, model: str, ranks: Floats, drawn: _Drawn | None, level: float) -> Ranked:
    mean_rank = float(ranks.mean())
    iqm = float(_iqm(np.concatenate([of[model].scores.mean(axis=1) for of in table.values()])))
    by_dataset = dict(zip(table, ranks.tolist(), strict=True))
    if drawn is None:
        return Ranked(model, mean_rank, None, None, None, iqm, None, None, (), by_dataset)
    low, high = _interval(drawn.mean_ranks, mean_rank, level)
    iqm_low, iqm_high = _interval(drawn.iqms, iqm, level)
    first = float(drawn.first.mean())
    if iqm_high - iqm_low <= 10**-_DIGITS * abs(iqm):  # a width of zero would claim certainty
        return Ranked(model, mean_rank, low, high, first, iqm, None, None, (), by_dataset)
    return Ranked(model, mean_rank, low, high, first, iqm, iqm_low, iqm_high, (), by_dataset)


def _interval(drawn: Floats, point: float, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), point), max(float(high), point)


def _iqm(runs: Floats) -> Floats:
    """(R, ...) -> (...) mean without the lowest and the highest quarter, as many whole runs as that is."""
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(runs, 0.25, axis=0))


def _bootstrap(
    table: Table, models: Sequence[str], higher_is_better: bool, rng: np.random.Generator, draws: int
) -> dict[str, _Drawn] | None:
    """None where no model is complete, or a data set has one case or group."""
    if not models or any(len(set(of[models[0]].groups)) < 2 for of in table.values()):
        return None
    runs = {name: _draw_runs([table[name][m] for m in models], rng, draws) for name in sorted(table)}
    by_model = {m: [runs[name][i] for name in sorted(table)] for i, m in enumerate(models)}
    scores = np.array([[of.mean(axis=0) for of in by_model[m]] for m in models])  # (M, D, draws)
    mean_ranks = _ranks(scores.T, higher_is_better).mean(axis=1)  # (draws, M)
    best = mean_ranks == mean_ranks.min(axis=1, keepdims=True)
    first = best / best.sum(axis=1, keepdims=True)
    return {m: _Drawn(mean_ranks[:, i], first[:, i], _iqm(np.concatenate(by_model[m]))) for i, m in enumerate(models)}


def _draw_runs(models: Sequence[Scored], rng: np.random.Generator, draws: int) -> list[Floats]:
    """Run scores on one data set, of each model (S, draws): groups drawn once for all, seeds for each."""
    index = numbered(models[0].groups)
    sizes = np.bincount(index)
    order, starts = np.argsort(index, kind="stable"), np.cumsum(sizes) - sizes
    scores = np.concatenate([model.scores for model in models])[:, order]
    totals = np.add.reduceat(scores, starts, axis=1)  # (all runs, G)
    times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=draws).astype(np.float64)
    means = totals @ times.T / (times @ sizes)  # (all runs, draws)
    each = np.split(means, np.cumsum([len(model.scores) for model in models])[:-1])
    return [np.take_along_axis(of, rng.integers(len(of), size=of.shape), axis=0) for of in each]


def _friedman(ranks: Floats, rng: np.random.Generator) -> float:
    """Friedman's test of (D, M) ranks by permuting them within data sets.

    Reference: Friedman (1937), doi:10.1080/01621459.1937.10503522.
    """
    totals = np.zeros((_PERMUTATIONS, ranks.shape[1]))
    for row in ranks:
        totals += rng.permuted(np.tile(row, (_PERMUTATIONS, 1)), axis=1)
    # Number of models and ties are the same in all permutations: the sum of squares orders them as the statistic does.
    as_extreme = (totals**2).sum(axis=1) >= (ranks.sum(axis=0) ** 2).sum()
    return float((1 + as_extreme.sum()) / (1 + _PERMUTATIONS))


def _nemenyi(ranks: Floats) -> Floats:
    from scikit_posthocs import posthoc_nemenyi_friedman

    return np.asarray(posthoc_nemenyi_friedman(ranks), dtype=np.float64)
