"""Every pair of models on every data set, by the headline metrics, with Holm over all pairs of a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from typing import Any, Literal

import numpy as np

from usfm_bench.core.errors import unknown
from usfm_bench.reporting.rows import Row
from usfm_bench.stats import compare, holm
from usfm_bench.stats.families import letters, p_best, shrunken_probabilities
from usfm_bench.stats.headline import Headline

_ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A pair of models on one data set by one metric; `a` has the better mean. What does not exist is None."""

    table: str | None
    dataset: str
    metric: str
    definition: str
    unit: str
    a: str
    b: str
    n_seeds: int
    """That both have; pairs are of the same case, while seed 0 of one model has nothing to do with that of another."""
    n_cases: int
    """Cases, or groups where the metric is no mean over cases, that both have."""
    difference: float | None = None
    """a - b, in the metric's unit."""
    ci_low: float | None = None
    ci_high: float | None = None
    interval: str | None = None
    p_value: float | None = None
    p_holm: float | None = None
    """By Holm over the table's `family`."""
    p_best: float | None = None
    """Of "b is the best here", by this pair: one-sided, by Bonferroni over all other models and all `places`."""
    places: int = 0
    """Data sets and headline metrics of this table by which models are compared."""
    family: int = 0
    """Number of comparisons of this table: all pairs of models, data sets and headline metrics."""
    effect_size: float | None = None
    error: float | None = None
    """Standard error of the difference."""
    probability_better: float | None = None
    """That a is better, shrunk by how little the models differ on this data set beyond chance."""
    false_claim: float | None = None
    """Probability that "a is better than b" is false: the rest."""
    detectable: float | None = None
    """Smallest true difference found with 80 % power, at 5 % uncorrected."""
    seeds_needed: int | None = None
    """For 80 % power at the observed difference, with these cases; None: no number is enough."""
    cases_needed: int | None = None
    reason: str = ""
    """Why there is no comparison."""
    against: str | None = None
    """The model with which alone the others are compared; None: all pairs are."""


def compare_models(headlines: Sequence[Headline]) -> list[Compared]:
    """Compare all pairs, by table, data set and metric, in the order given."""
    return corrected(compare_pairs(headlines))


def compare_pairs(headlines: Sequence[Headline]) -> list[Compared]:
    """Of all pairs what they say by themselves; `corrected` adds what depends on how many there are."""
    return [pair for place in _places(headlines) for pair in _pairs(place)]


def corrected(pairs: Sequence[Compared]) -> list[Compared]:
    """The pairs of all data sets, tables one behind the other, corrected for how many there are of a table."""
    found: list[Compared] = []
    for _, of_table in groupby(sorted(pairs, key=lambda pair: _table_order(pair.table)), key=lambda pair: pair.table):
        own = list(of_table)
        tested = [pair.p_value for pair in own if pair.p_value is not None]
        adjusted = iter(holm(tested))
        own = [_changed(p, family=len(tested), p_holm=next(adjusted) if p.p_value is not None else None) for p in own]
        found += _with_families(own)
    return found


def _table_order(table: str | None) -> tuple[bool, str]:
    return table is None, table or ""


def _changed(pair: Compared, **fields: Any) -> Compared:
    """As `replace`, in a quarter of its time: there are thousands of pairs."""
    return Compared(**{**vars(pair), **fields})


def compare_against(compared: Sequence[Compared], model: str) -> list[Compared]:
    """The comparisons with one model, chosen before the results were seen: Holm is over these alone.

    Raises:
        BenchError: no pair has that model; the nearest name is suggested.
    """
    models = dict.fromkeys(name for pair in compared for name in (pair.a, pair.b))
    if model not in models:
        raise unknown("model", model, models, hint="`--against` takes a model of the report.")
    found: list[Compared] = []
    for table in dict.fromkeys(pair.table for pair in compared):
        pairs = [pair for pair in compared if pair.table == table and model in (pair.a, pair.b)]
        tested = [pair.p_value for pair in pairs if pair.p_value is not None]
        adjusted = iter(holm(tested))
        found += [
            replace(
                pair, family=len(tested), p_holm=next(adjusted) if pair.p_value is not None else None, against=model
            )
            for pair in pairs
        ]
    return found


def _with_families(pairs: Sequence[Compared]) -> list[Compared]:
    """The pairs of a table with what depends on the other models of their data set and metric."""
    places: dict[tuple[str, str], list[Compared]] = {}
    for pair in pairs:
        if pair.p_value is not None:
            places.setdefault((pair.dataset, pair.definition), []).append(pair)
    found = {id(pair): changed for place in places.values() for pair, changed in _with_family(place, len(places))}
    return [found.get(id(pair), pair) for pair in pairs]


def _with_family(place: Sequence[Compared], n_places: int) -> Iterator[tuple[Compared, Compared]]:
    n_models = len({model for pair in place for model in (pair.a, pair.b)})
    known = [(p.difference or 0.0, p.error or 0.0, p.p_value or 0.0) for p in place]
    for pair, better in zip(place, shrunken_probabilities(*zip(*known, strict=True)), strict=True):
        yield (
            pair,
            _changed(
                pair,
                p_best=p_best(pair.p_value or 0.0, n_models, n_places),
                places=n_places,
                probability_better=better,
                false_claim=1 - better,
            ),
        )


def groups_not_told_apart(compared: Sequence[Compared]) -> dict[tuple[str, str], dict[str, str]]:
    """Data set and metric -> model -> letters, of three models or more: those that share one are not told apart."""
    found, places = {}, defaultdict[tuple[str, str], list[Compared]](list)
    for c in compared:
        places[c.dataset, c.metric].append(c)
    for place, of_place in places.items():
        pairs = [c for c in of_place if c.p_holm is not None and c.against is None]
        wins = Counter(c.a for c in pairs)
        models = sorted({model for c in pairs for model in (c.a, c.b)}, key=lambda model: -wins[model])
        if len(models) > 2:
            apart = {frozenset((c.a, c.b)) for c in pairs if c.p_holm is not None and c.p_holm <= _ALPHA}
            found[place] = letters(models, apart)
    return found


def with_standing(rows: Sequence[Row], compared: Sequence[Compared]) -> list[Row]:
    """Rows that say which model has the best mean on a data set by a headline metric, and which may be the best."""
    standing: dict[tuple[str | None, str, str, str], Literal["best", "tied"]] = {}
    places = defaultdict[tuple[str | None, str, str], list[Compared]](list)
    for c in compared:
        if c.difference is not None:
            places[c.table, c.dataset, c.definition].append(c)
    for place, pairs in places.items():
        best = {c.a for c in pairs} - {c.b for c in pairs}
        if len(best) == 1:
            standing |= {(*place, name): "best" for name in best}
            beaten = {c.b for c in pairs if c.p_best is not None and c.p_best <= _ALPHA}
            standing |= {(*place, c.b): "tied" for c in pairs if c.a in best and c.b not in beaten}
    return [
        replace(row, standing=standing.get((row.table, row.dataset, row.definition or "", row.model)))
        if row.source == "measured" and row.label is None
        else row
        for row in rows
    ]


def _places(headlines: Sequence[Headline]) -> list[list[Headline]]:
    """Models that can be compared, tables one behind the other."""
    found: dict[tuple[str | None, str, str], list[Headline]] = {}
    for each in headlines:
        found.setdefault(each.place, []).append(each)
    return sorted(found.values(), key=lambda of: _table_order(of[0].place[0]))


def _pairs(place: Sequence[Headline]) -> Iterator[Compared]:
    for one, other in combinations(place, 2):
        yield _compared(one, other)


def _compared(one: Headline, other: Headline) -> Compared:
    spec, definition = one.results.first.spec, one.definition
    seeds = [seed for seed in one.results.seeds if seed in other.results.seeds]
    same = one.units == other.units
    both = set() if same else set(one.units) & set(other.units)
    base = Compared(
        table=spec.table,
        dataset=spec.dataset.name,
        metric=definition.name,
        definition=definition.id,
        unit=definition.unit,
        a=one.model,
        b=other.model,
        n_seeds=len(seeds),
        n_cases=one.n_names if same else len({name for name, _ in both}),
    )
    if one.contributions is None or other.contributions is None:
        return replace(base, reason="undefined without one of the groups of cases")
    if one.results.first.data_hash != other.results.first.data_hash:
        return replace(base, reason="other states of the data")
    if not seeds or not (one.units if same else both):
        return replace(base, reason="no seed in common" if not seeds else "no case in common")
    a, b = one.of_seeds(seeds), other.of_seeds(seeds)
    _, groups, folds, sizes = one.contributions
    if not same:
        used, others = (np.array([unit in both for unit in each.units]) for each in (one, other))
        a, b, groups, folds = a[:, used], b[:, others], groups[used], folds[used]
        sizes = None if sizes is None else sizes[used]
    means = a.mean(), b.mean()
    if (means[0] < means[1]) == definition.higher_is_better and means[0] != means[1]:
        a, b, base = b, a, _changed(base, a=other.model, b=one.model)
    found = compare(a, b, groups=groups, folds=folds, sizes=sizes, higher_is_better=definition.higher_is_better)
    return _changed(
        base,
        difference=found.difference.point,
        ci_low=found.difference.low,
        ci_high=found.difference.high,
        interval=None if found.difference.low is None else found.difference.kind,
        p_value=found.p_value,
        effect_size=found.effect_size,
        probability_better=found.probability_better,
        false_claim=found.false_claim,
        error=found.error,
        detectable=found.detectable,
        seeds_needed=found.seeds_needed,
        cases_needed=found.cases_needed,
        reason="" if found.p_value is not None else "no spread, or too few cases",
    )
