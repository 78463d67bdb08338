"""Which models of a table are best over its data sets, by each headline metric."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from usfm_bench.metrics.definitions import Definition
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.stats import Ranking, Scored, rank_models
from usfm_bench.stats.headline import Headline, Unit


@dataclass(frozen=True)
class TableRanking:
    """Of one table, or of the results that belong to none, by one metric."""

    table: str | None
    definition: Definition
    ranking: Ranking
    left_out: tuple[str, ...]
    """Data sets without a ranking, and why."""


def rankings(headlines: Sequence[Headline], rng: np.random.Generator) -> Iterator[TableRanking]:
    """One for each table and metric with two models and two data sets or more, which share no test cases."""
    by_metric: dict[tuple[str | None, str], list[Headline]] = {}
    apart = variants(each.results.first.spec.dataset for each in headlines)
    for each in headlines:
        if each.place[1] in apart:
            continue
        by_metric.setdefault((each.place[0], each.definition.id), []).append(each)
    for (table, _), of in sorted(by_metric.items(), key=lambda item: (item[0][0] is None, item[0][0] or "")):
        scored, left_out = _scored(of)
        # One data set ranks its models by their means, which its table shows.
        if len(scored) > 1 and len({model for models in scored.values() for model in models}) > 1:
            definition = of[0].definition
            ranking = rank_models(scored, higher_is_better=definition.higher_is_better, rng=rng)
            yield TableRanking(table, definition, ranking, tuple(left_out))


def variants(datasets: Iterable[DatasetSpec]) -> list[str]:
    """Names of data sets that differ from their base in the training cases alone, and so are no further evidence."""
    return list(dict.fromkeys(dataset.name for dataset in datasets if dataset.training is not None))


def _scored(headlines: Sequence[Headline]) -> tuple[dict[str, dict[str, Scored]], list[str]]:
    """Data set -> model -> scores on the cases that all its models have."""
    by_dataset: dict[str, list[Headline]] = {}
    for each in headlines:
        by_dataset.setdefault(each.place[1], []).append(each)
    scored, left_out = {}, []
    for name, models in by_dataset.items():
        known = [each for each in models if each.contributions is not None]
        shared = set.intersection(*(set(each.units) for each in known)) if known else set()
        if len({each.results.first.data_hash for each in known}) > 1:
            left_out.append(f"{name}: models were tested on other states of the data")
        elif not shared:
            left_out.append(f"{name}: no case in common, or undefined without one of the groups of cases")
        else:
            scored[name] = {each.model: _of_cases(each, shared) for each in known}
    return scored, left_out


def _of_cases(each: Headline, shared: set[Unit]) -> Scored:
    assert each.contributions is not None
    used = np.array([unit in shared for unit in each.units])
    groups = each.contributions.groups[used]
    return Scored(each.contributions.values[:, used], tuple(map(str, groups.tolist())))
