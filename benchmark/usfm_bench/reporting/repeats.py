"""Scores over several random holdouts: for new cases, and for networks trained anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usfm_bench.reporting.comparisons import Compared
from usfm_bench.reporting.rows import Row
from usfm_bench.stats.headline import Headline
from usfm_bench.stats.repeats import by_repeat, corrected_interval, corrected_p

FEW = 150
"""Training images below which the choice of them moves a score so much that reports offer repeats."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """A headline metric of one model, or its difference between two, over repeats. What does not exist is None."""

    table: str | None
    dataset: str
    model: str
    minus: str | None
    """The model whose score is taken off; None: the score itself."""
    metric: str
    definition: str
    unit: str
    n_repeats: int
    n_seeds: int
    n_train: int
    """Training images of a repeat, their mean over repeats."""
    mean: float | None
    """Over all cases of all repeats."""
    ci_low: float | None
    """The interval of `mean` for these networks on new cases."""
    ci_high: float | None
    anew_mean: float
    """Mean over repeats."""
    anew_low: float | None
    """The interval of `anew_mean` for networks trained anew on such data."""
    anew_high: float | None
    anew_p: float | None = None
    """Of no difference between networks trained anew."""
    sd_repeats: float | None
    """Standard deviation between repeats of the mean over seeds."""


def repeated(headlines: Sequence[Headline], rows: Sequence[Row], compared: Sequence[Compared]) -> list[Repeated]:
    """Of every model with repeats, then of every pair of such models.

    Args:
        headlines: of all results.
        rows: measured, with the intervals given the split.
        compared: all pairs, likewise.
    """
    scores = {(*h.place, h.model): (h, values) for h in headlines if len(values := by_repeat(h)) > 1}
    own = {(r.table, r.dataset, r.definition, r.model): r for r in rows if r.source == "measured" and r.label is None}
    return [*_models(scores, own), *_pairs(scores, compared)]


_Scores = dict[tuple[str | None, str, str, str], tuple[Headline, dict[int, Floats]]]


def _models(scores: _Scores, own: dict[tuple[str | None, str, str | None, str], Row]) -> Iterator[Repeated]:
    for key, (headline, values) in scores.items():
        row = own.get(key)
        if row is not None:
            means = np.array([of_seeds.mean() for of_seeds in values.values()])
            bounds, given = headline.definition.range, (row.mean, row.ci_low, row.ci_high)
            yield _entry(headline, None, means, len(headline.results.seeds), given, bounds)


def _pairs(scores: _Scores, compared: Sequence[Compared]) -> Iterator[Repeated]:
    for pair in compared:
        place = pair.table, pair.dataset, pair.definition
        sides = [scores.get((*place, model)) for model in (pair.a, pair.b)]
        if pair.difference is None or sides[0] is None or sides[1] is None:
            continue
        (one, a), (other, b) = sides[0], sides[1]
        seeds = [seed for seed in one.results.seeds if seed in other.results.seeds]
        places = [[h.results.seeds.index(seed) for seed in seeds] for h in (one, other)]
        means = np.array([a[k][places[0]].mean() - b[k][places[1]].mean() for k in a if k in b])
        if len(means) > 1:
            given = pair.difference, pair.ci_low, pair.ci_high
            yield _entry(one, other.model, means, len(seeds), given, None)


def _entry(
    headline: Headline,
    minus: str | None,
    means: Floats,
    n_seeds: int,
    given: tuple[float | None, float | None, float | None],
    bounds: tuple[float, float] | None,
) -> Repeated:
    anew, definition = corrected_interval(means, bounds=bounds), headline.definition
    table, dataset, _ = headline.place
    return Repeated(
        table=table,
        dataset=dataset,
        model=headline.model,
        minus=minus,
        metric=definition.name,
        definition=definition.id,
        unit=definition.unit,
        n_repeats=len(means),
        n_seeds=n_seeds,
        n_train=round(float(np.mean([record.n_train for record in headline.results.records]))),
        mean=given[0],
        ci_low=given[1],
        ci_high=given[2],
        anew_mean=anew.point,
        anew_low=anew.low,
        anew_high=anew.high,
        anew_p=None if minus is None else corrected_p(means),
        sd_repeats=float(means.std(ddof=1)),
    )
