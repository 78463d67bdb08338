"""F1 against prevalence: of classifiers trained at several, and of one classifier that is only tested at several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import unknown
from usfm_bench.metrics.classification import binary_definition, reweighted_definition
from usfm_bench.reporting.published import published_rows
from usfm_bench.reporting.rows import Row, fields_of, figures
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats import (
    Contributions,
    Interval,
    classification_interval,
    reweighted_contributions,
    reweighted_interval,
    variance_components,
)
from usfm_bench.stats.components import difference_components
from usfm_bench.stats.intervals import interval_of
from usfm_bench.stats.reweighted import METRICS

Bools = NDArray[np.bool_]
Curve = Literal["trained", "beside", "alone"]
GRID = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Prevalences at which a classifier is tested that was trained on the data set as it is."""
JUDGED = ("F1", "F1 macro")
"""What is compared with the paper's F1, since the paper does not state its averaging."""
_ALIKE = 0.0005  # prevalences that print alike


@dataclass(frozen=True, kw_only=True)
class PrevalenceRow(Row):
    """A number of the test set reweighted to a prevalence; `dataset` is the base of its variants."""

    curve: Curve
    """`trained`: trained and tested at the prevalence. `beside`: trained at the highest one and tested at the
    prevalence. `alone`: the data set has no variants."""
    prevalence: float
    """Of the positive class among the reweighted test cases."""
    trained_at: float | None
    """Prevalence among the training cases; None: the training side as it is."""
    trained_on: str
    """The data set, or the variant of it, whose trials these are."""
    positive: str
    n_rarer: int
    """Groups with a case of the rarer class: positive, or all others."""
    own: bool = False
    """The prevalence is the test set's own."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Where a model's F1, trained and tested at the same prevalence, falls to the paper's, and what it falls by."""

    table: str | None
    dataset: str
    model: str
    definition: str
    positive: str
    label: str | None
    """The class that F1 is of; None: mean of both."""
    highest: float
    """Of the training prevalences; the most balanced one."""
    lowest: float
    published: float
    """The paper's F1 on clinical data."""
    reached_at: float | None
    """Highest training prevalence whose mean is at or below the published F1; None: at none."""
    wholly_below: bool | None
    """Whether the interval there lies below the published F1 as a whole; None: there is none."""
    change: Interval | None = None
    """From the highest to the lowest prevalence, of the seeds that both have; below 0: a fall."""
    by_test_prevalence: Interval | None = None
    """Of one classifier, trained at the highest and tested at the lowest prevalence."""
    by_training: Interval | None = None
    """What is left: of the classifiers of both, tested at the lowest prevalence."""
    reason: str = ""
    """Why there is no change."""


@dataclass(frozen=True)
class Prevalence:
    """What a report says of prevalence."""

    rows: tuple[PrevalenceRow, ...] = ()
    answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Classifier:
    """The networks of one model on one data set, as decisions for or against the positive class."""

    results: ModelResults

    @property
    def positive(self) -> str:
        """The class that decisions are about."""
        return str(self.results.first.spec.dataset.positive)

    @property
    def trained_at(self) -> float | None:
        """Prevalence among the training cases, where it was set."""
        return _trained_at(self.results)

    @cached_property
    def decisions(self) -> Bools:
        """(S, N): the positive class has the highest probability."""
        return np.asarray(self.results.probabilities.argmax(axis=2) == self._index)

    @cached_property
    def labels(self) -> Bools:
        """(N,)."""
        return np.asarray(self.results.case_table["label"].to_numpy() == self._index)

    @property
    def own(self) -> float:
        """Prevalence among the test cases."""
        return float(self.labels.mean())

    @property
    def n_rarer(self) -> int:
        """Groups with a case of the rarer class."""
        return min(len(np.unique(self.results.groups[self.labels == kind])) for kind in (True, False))

    @property
    def _index(self) -> int:
        classes = self.results.first.classes
        if self.positive not in classes:
            raise unknown("class", self.positive, classes)
        return classes.index(self.positive)

    def at(self, metric: str, prevalence: float) -> Interval:
        """A key of `stats.reweighted.METRICS`, or SEN or SPEC, which no prevalence changes."""
        groups = self.results.groups
        if metric in METRICS:
            return reweighted_interval(metric, self.decisions, self.labels, prevalence, groups=groups)
        definition = binary_definition(metric, self.positive)
        labels = self.results.case_table["label"].to_numpy(np.int64)
        probabilities = self.results.probabilities
        return classification_interval(definition, probabilities, labels, groups=groups, only=self._index)

    def contributions(self, metric: str, prevalence: float, seeds: Sequence[int]) -> Contributions | None:
        """Of some of its seeds."""
        own, used = self.results, [self.results.seeds.index(seed) for seed in seeds]
        decisions = self.decisions[used]
        return reweighted_contributions(metric, decisions, self.labels, prevalence, own.groups, own.folds)


@dataclass(frozen=True)
class Family:
    """One model on the variants of one data set, the highest training prevalence first; or on the data set itself."""

    dataset: str
    classifiers: tuple[Classifier, ...]

    @property
    def first(self) -> Classifier:
        """Of the highest training prevalence, or the only one."""
        return self.classifiers[0]

    @property
    def place(self) -> tuple[str | None, str]:
        """Table and data set."""
        return self.first.results.first.spec.table, self.dataset

    @property
    def model(self) -> str:
        """Its name."""
        return self.first.results.first.spec.model

    @property
    def is_trained(self) -> bool:
        """Whether training prevalences were set."""
        return self.first.trained_at is not None

    @property
    def prevalences(self) -> list[float]:
        """At which it is tested, the highest first."""
        if self.is_trained:
            return [c.trained_at for c in self.classifiers if c.trained_at is not None]
        own = self.first.own
        defined = [own] if 0 < own < 1 else []
        return sorted([*defined, *(p for p in GRID if abs(p - own) > _ALIKE)], reverse=True)


def prevalence_of(results: Sequence[ModelResults]) -> Prevalence:
    """Of every data set that names a positive class."""
    found = families(results)
    trained = [family for family in found if family.is_trained]
    return Prevalence(
        tuple(row for family in found for row in _rows(family)),
        tuple(_answer(family, metric) for family in trained for metric in JUDGED),
    )


def families(results: Sequence[ModelResults]) -> list[Family]:
    """Models by the base of their data sets. A data set that has variants is left to them."""
    decided = [r for r in results if r.first.spec.task == "classification" and r.first.spec.dataset.positive]
    made: dict[tuple[str | None, str, str], list[ModelResults]] = {}
    for r in decided:
        if _trained_at(r) is not None:
            spec = r.first.spec
            made.setdefault((spec.table, base_of(spec.dataset), spec.model), []).append(r)
    varied = {(table, name) for table, name, _ in made}
    for r in decided:
        spec = r.first.spec
        if spec.dataset.training is None and (spec.table, spec.dataset.name) not in varied:
            made[spec.table, spec.dataset.name, spec.model] = [r]
    return [
        Family(name, tuple(map(Classifier, sorted(of, key=lambda r: -(_trained_at(r) or 0)))))
        for (_, name, _), of in made.items()
    ]


def base_of(dataset: DatasetSpec) -> str:
    """`busi-binary` of `busi-binary@malignant=5%`; a share of the training cases stays in the name."""
    base, training = dataset.name.split("@")[0], dataset.training
    return base if training is None or training.fraction is None else f"{base}@{100 * training.fraction:g}%"


def published_f1() -> Row:
    """F1 of the paper's row on clinical, unbalanced data."""
    [row] = [row for row in published_rows("2") if (row.dataset, row.metric) == ("Clinical", "F1")]
    return row


def _trained_at(results: ModelResults) -> float | None:
    training = results.first.spec.dataset.training
    return None if training is None else training.prevalence


def _rows(family: Family) -> Iterator[PrevalenceRow]:
    if family.is_trained:
        for classifier, prevalence in zip(family.classifiers, family.prevalences, strict=True):
            yield from _at(family, classifier, prevalence, "trained")
    for prevalence in family.prevalences:
        yield from _at(family, family.first, prevalence, "beside" if family.is_trained else "alone")


def _at(family: Family, of: Classifier, prevalence: float, curve: Curve) -> Iterator[PrevalenceRow]:
    for metric in (*METRICS, "SEN", "SPEC"):
        build = reweighted_definition if metric in METRICS else binary_definition
        definition = build(metric, of.positive)
        fields: dict[str, Any] = fields_of(of.results, definition) | figures(of.at(metric, prevalence))
        yield PrevalenceRow(
            **fields | {"dataset": family.dataset},
            n_cases=len(of.labels),
            n_groups=len(np.unique(of.results.groups)),
            label=None if definition.averaging == "macro" else of.positive,
            curve=curve,
            prevalence=prevalence,
            trained_at=of.trained_at,
            trained_on=of.results.first.spec.dataset.name,
            positive=of.positive,
            n_rarer=of.n_rarer,
            own=abs(prevalence - of.own) <= _ALIKE,
        )


def _answer(family: Family, metric: str) -> Answer:
    spec, published = family.first.results.first.spec, published_f1().mean or 0.0
    definition = reweighted_definition(metric, family.first.positive)
    prevalences = family.prevalences
    intervals = {p: c.at(metric, p) for c, p in zip(family.classifiers, prevalences, strict=True)}
    reached = next((p for p in prevalences if intervals[p].point <= published), None)
    high = None if reached is None else intervals[reached].high
    return Answer(
        table=spec.table,
        dataset=family.dataset,
        model=spec.model,
        definition=definition.id,
        positive=family.first.positive,
        label=None if definition.averaging == "macro" else family.first.positive,
        highest=prevalences[0],
        lowest=prevalences[-1],
        published=published,
        reached_at=reached,
        wholly_below=None if high is None else high < published,
        **_changes(family, metric),
    )


def _changes(family: Family, metric: str) -> Mapping[str, Any]:
    """What F1 changes by from the highest to the lowest prevalence, in two parts that add up to it."""
    first, last = family.first, family.classifiers[-1]
    high, low = family.prevalences[0], family.prevalences[-1]
    seeds = [seed for seed in first.results.seeds if seed in last.results.seeds]
    if first is last:
        return {"reason": "one training prevalence alone"}
    if not seeds:
        return {"reason": "no seed in common"}
    if not _same_cases(first.results, last.results):
        return {"reason": "other test cases"}
    start, moved = (first.contributions(metric, p, seeds) for p in (high, low))
    end = last.contributions(metric, low, seeds)
    if start is None or moved is None or end is None:
        return {"reason": "undefined without one of the groups of cases"}
    groups, folds = start.groups, start.folds
    parts = {
        "change": difference_components(end.values, start.values, groups, folds=folds),
        # The same networks, and so paired in their seeds too.
        "by_test_prevalence": variance_components(moved.values - start.values, groups, folds=folds),
        "by_training": difference_components(end.values, moved.values, groups, folds=folds),
    }
    return {name: interval_of(part, bounds=(-1.0, 1.0)) for name, part in parts.items()}


def _same_cases(a: ModelResults, b: ModelResults) -> bool:
    columns = ["case_id", "group_id", "label"]
    return bool(a.case_table[columns].astype(str).equals(b.case_table[columns].astype(str)))
