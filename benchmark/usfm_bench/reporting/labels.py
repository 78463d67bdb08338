"""Scores against the share of the training side that is used: curves, areas, and labels to reach another model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from usfm_bench.reporting.rows import Row
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.stats import Interval
from usfm_bench.stats.headline import Headline
from usfm_bench.stats.label_curves import area_under, reached_at

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LabelPoint:
    """A headline metric of a model that was trained on a part of the training side."""

    share: float
    """Of the training side; 1: all of it."""
    n_train: int
    """Images of it, their mean over seeds."""
    mean: float | None
    ci_low: float | None
    ci_high: float | None


@dataclass(frozen=True, kw_only=True)
class LabelCurve:
    """One model's scores against the share."""

    table: str | None
    dataset: str
    """The whole data set, of which parts were used."""
    model: str
    metric: str
    definition: str
    unit: str
    n_seeds: int
    """That all shares have."""
    n_cases: int
    points: tuple[LabelPoint, ...]
    """By ascending share."""
    area: Interval | None
    """Mean over the logarithm of the share; None: undefined at one of them, or tested on other cases."""
    reason: str = ""
    """Why there is no area."""


@dataclass(frozen=True, kw_only=True)
class Needed:
    """How many labels a model needs for what another scores with all. Shares and images; None as in `Reach`."""

    table: str | None
    dataset: str
    metric: str
    definition: str
    model: str
    other: str
    at: float
    """Share that the other has; 1: all."""
    least: float
    """The smallest share of the curve: a result that is equal to it means `at most`."""
    share: float | None
    low: float | None
    high: float | None
    known: bool
    """There is an interval."""
    images: int | None
    images_low: int | None
    images_high: int | None


@dataclass(frozen=True)
class LabelCurves:
    """What a report says of label fractions."""

    curves: tuple[LabelCurve, ...] = ()
    needed: tuple[Needed, ...] = ()


@dataclass(frozen=True)
class _Curve:
    """A model's headlines at ascending shares."""

    shares: tuple[float, ...]
    headlines: tuple[Headline, ...]
    seeds: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        own = [set(h.results.seeds) for h in self.headlines]
        object.__setattr__(self, "seeds", tuple(sorted(set.intersection(*own))))

    @property
    def first(self) -> Headline:
        return self.headlines[0]

    @property
    def reason(self) -> str:
        """Why its points cannot be put together."""
        if len(self.shares) < 2:
            return "one share alone"
        if any(h.contributions is None for h in self.headlines):
            return "undefined without one of the groups of cases"
        if len({(h.units, h.results.first.data_hash) for h in self.headlines}) > 1:
            return "other test cases"
        return "" if self.seeds else "no seed in common"

    def values(self, seeds: Sequence[int]) -> Floats:
        """(P, S, U)."""
        return np.stack([h.of_seeds(seeds) for h in self.headlines])

    @property
    def n_train(self) -> list[float]:
        """Images at each share."""
        return [float(np.mean([record.n_train for record in h.results.records])) for h in self.headlines]


def label_curves(headlines: Sequence[Headline], rows: Sequence[Row]) -> LabelCurves:
    """Of every model that was trained on parts of a data set.

    Args:
        headlines: of all results.
        rows: measured, with the intervals of the points.
    """
    found = _curves(headlines)
    own = {(r.table, r.dataset, r.definition, r.model): r for r in rows if r.source == "measured" and r.label is None}
    return LabelCurves(
        tuple(_described(dataset, curve, own) for (_, dataset, _, _), curve in found.items()),
        tuple(_needed(found)),
    )


_Key = tuple[str | None, str, str, str]


def _curves(headlines: Sequence[Headline]) -> dict[_Key, _Curve]:
    """Table, whole data set, definition and model -> curve; with two shares at least one of which is a part."""
    made: dict[_Key, dict[float, Headline]] = {}
    for h in headlines:
        dataset = h.results.first.spec.dataset
        if (share := _share(dataset)) is not None:
            key = h.place[0], dataset.name.partition("@")[0], h.definition.id, h.model
            if share not in made.setdefault(key, {}) or dataset.training is not None:  # NAME@100% before NAME
                made[key][share] = h
    return {
        key: _Curve(tuple(sorted(of)), tuple(of[share] for share in sorted(of)))
        for key, of in made.items()
        if min(of) < 1
    }


def _share(dataset: DatasetSpec) -> float | None:
    """Of the training side; None: it was changed in another way."""
    return 1.0 if dataset.training is None else dataset.training.fraction


def _described(dataset: str, curve: _Curve, rows: Mapping[tuple[str | None, str, str | None, str], Row]) -> LabelCurve:
    first = curve.first
    table, _, ident = first.place
    points = []
    for share, h, n_train in zip(curve.shares, curve.headlines, curve.n_train, strict=True):
        row = rows.get((*h.place, h.model))
        values = (row.mean, row.ci_low, row.ci_high) if row else (None, None, None)
        points.append(
            LabelPoint(share=share, n_train=round(n_train), mean=values[0], ci_low=values[1], ci_high=values[2])
        )
    area = None
    if not curve.reason:
        assert first.contributions is not None
        area = area_under(
            curve.values(curve.seeds),
            np.array(curve.shares),
            groups=first.contributions.groups,
            folds=first.contributions.folds,
            sizes=first.contributions.sizes,
            bounds=first.definition.range,
        )
    return LabelCurve(
        table=table,
        dataset=dataset,
        model=first.model,
        metric=first.definition.name,
        definition=ident,
        unit=first.definition.unit,
        n_seeds=len(curve.seeds),
        n_cases=len({name for name, _ in first.units}),
        points=tuple(points),
        area=area,
        reason=curve.reason,
    )


def _needed(found: dict[_Key, _Curve]) -> Iterator[Needed]:
    """Every model against every other of the same table, data set and definition."""
    for place in dict.fromkeys(key[:3] for key in found):
        own = [curve for key, curve in found.items() if key[:3] == place and not curve.reason]
        for one, other in permutations(own, 2):
            seeds = [seed for seed in one.seeds if seed in other.seeds]
            target = other.headlines[-1]
            if not seeds or target.units != one.first.units:
                continue
            assert one.first.contributions is not None
            reach = reached_at(
                one.values(seeds),
                np.array(one.shares),
                target.of_seeds(seeds),
                higher_is_better=target.definition.higher_is_better,
                groups=one.first.contributions.groups,
                folds=one.first.contributions.folds,
                sizes=one.first.contributions.sizes,
            )
            table, dataset, ident = place
            images = [_images(one, share) for share in reach[:3]]
            yield Needed(
                table=table,
                dataset=dataset,
                metric=target.definition.name,
                definition=ident,
                model=one.first.model,
                other=other.first.model,
                at=other.shares[-1],
                least=one.shares[0],
                **reach._asdict(),
                images=images[0],
                images_low=images[1],
                images_high=images[2],
            )


def _images(curve: _Curve, share: float | None) -> int | None:
    """Images at a share, by a straight line between the logarithms of both."""
    if share is None:
        return None
    return round(float(np.exp(np.interp(np.log(share), np.log(curve.shares), np.log(curve.n_train)))))
