"""Pre-training methods by judgement: means over pre-trainings, and how far they are from random weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from usfm_bench.specs.model import resolve
from usfm_bench.specs.pretraining import Pretrained
from usfm_bench.stats import Interval, holm
from usfm_bench.stats.compare import Comparison
from usfm_bench.stats.contributions import Contributions
from usfm_bench.stats.headline import Headline
from usfm_bench.stats.pretrainings import Sources, compare_pretrainings, pretraining_interval, sources


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One pre-training method, judged by one metric of one adaptation on one data set."""

    table: str | None
    dataset: str
    adaptation: str
    metric: str
    definition: str
    unit: str
    method: str
    """A name of `METHODS`; of the weights that training starts from `random weights`."""
    encoder: str
    images_seen: int
    flops: float | None
    """Of one pre-training."""
    pretrainings: tuple[int, ...]
    """Their seeds."""
    n_seeds: int
    """Fine-tunings of each."""
    n_cases: int
    mean: Interval
    sources: Sources
    against: Comparison | None = None
    """With random weights of the same encoder; None: there are none, or they are these."""
    holm: float | None = None
    """Its p value, adjusted for all rows of one table, data set, adaptation and metric."""

    @property
    def untrained(self) -> bool:
        """These are the weights that training starts from."""
        return self.images_seen == 0


@dataclass(frozen=True)
class _Group:
    """Trials from weights of equal terms: the same recipe but for its seed, judged alike."""

    key: tuple[str | None, str, str, str]
    """Table, data set, definition, adaptation."""
    first: Headline
    pretrained: Pretrained
    seeds: tuple[int, ...]
    """Of the pre-trainings."""
    scores: NDArray[np.float64]
    """(P, S, C)."""

    @property
    def of(self) -> Contributions:
        assert self.first.contributions is not None
        return self.first.contributions


def judged(headlines: Sequence[Headline]) -> list[Judged]:
    """Every method, by the adaptation that its encoder is used with.

    Args:
        headlines: of all results; those without a card of their pre-training are left out.
    """
    groups = list(_groups(headlines))
    rows = [_described(group, _reference(group, groups)) for group in groups]
    places = [group.key for group in groups]
    for place in dict.fromkeys(places):
        own = [i for i, key in enumerate(places) if key == place and _p_value(rows[i]) is not None]
        for i, adjusted in zip(own, holm([_p_value(rows[i]) or 0.0 for i in own]), strict=True):
            rows[i] = replace(rows[i], holm=adjusted)
    return rows


def _p_value(row: Judged) -> float | None:
    return None if row.against is None else row.against.p_value


def _groups(headlines: Sequence[Headline]) -> Iterator[_Group]:
    found: dict[tuple[object, ...], dict[int, Headline]] = {}
    for headline in headlines:
        first = headline.results.first
        if first.pretrained is None or headline.contributions is None:
            continue
        # Weights that no step has changed depend on nothing but the encoder and the seed.
        terms = first.pretrained.terms if first.pretrained.images_seen else first.pretrained.model
        key = (*headline.place, resolve(headline.model).adaptation, terms, headline.units, first.data_hash)
        found.setdefault(key, {}).setdefault(first.pretrained.seed, headline)
    for terms_key, of in found.items():
        ordered = [of[seed] for seed in sorted(of)]
        common = sorted(set.intersection(*(set(h.results.seeds) for h in ordered)))
        pretrained = ordered[0].results.first.pretrained
        if not common or pretrained is None:
            continue
        scores = np.stack([h.of_seeds(common) for h in ordered])
        table, dataset, definition, adaptation = terms_key[:4]
        place = (None if table is None else str(table), str(dataset), str(definition), str(adaptation))
        yield _Group(place, ordered[0], pretrained, tuple(sorted(of)), scores)


def _reference(group: _Group, groups: Sequence[_Group]) -> _Group | None:
    """Random weights of its encoder, judged alike."""
    if group.pretrained.images_seen == 0:
        return None
    for other in groups:
        same = other.key == group.key and other.pretrained.model == group.pretrained.model
        if same and other.pretrained.images_seen == 0 and other.first.units == group.first.units:
            return other
    return None


def _described(group: _Group, reference: _Group | None) -> Judged:
    table, dataset, definition, adaptation = group.key
    of, metric = group.of, group.first.definition
    against = None
    if reference is not None:
        # As many of each, or the spread of one would count for more pre-trainings than it is from.
        n = min(len(group.scores), len(reference.scores))
        against = compare_pretrainings(
            group.scores[:n],
            reference.scores[:n],
            groups=of.groups,
            folds=of.folds,
            sizes=of.sizes,
            higher_is_better=metric.higher_is_better,
        )
    pretrained = group.pretrained
    return Judged(
        table=table,
        dataset=dataset,
        adaptation=adaptation,
        metric=metric.name,
        definition=definition,
        unit=metric.unit,
        method=pretrained.method if pretrained.images_seen else "random weights",
        encoder=pretrained.model,
        images_seen=pretrained.images_seen,
        flops=pretrained.flops,
        pretrainings=group.seeds,
        n_seeds=group.scores.shape[1],
        n_cases=len({name for name, _ in group.first.units}),
        mean=pretraining_interval(group.scores, groups=of.groups, folds=of.folds, sizes=of.sizes, bounds=metric.range),
        sources=sources(group.scores, groups=of.groups, folds=of.folds),
        against=against,
    )
