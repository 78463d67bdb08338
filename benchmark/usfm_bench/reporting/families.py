"""One model on a data set and its variants, as decisions for or against the positive class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import unknown
from usfm_bench.metrics.classification import binary_definition
from usfm_bench.results.frames import ModelResults
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.stats import (
    Contributions,
    Interval,
    classification_interval,
    reweighted_contributions,
    reweighted_interval,
)
from usfm_bench.stats.reweighted import METRICS

Bools = NDArray[np.bool_]
GRID = (0.5, 0.3, 0.2, 0.1, 0.05)
"""Prevalences at which a classifier is tested that was trained on the data set as it is."""
ALIKE = 0.0005  # prevalences that print alike


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
        """(S, N): the positive class has the highest probability; not to be written to."""
        found = np.asarray(self.results.probabilities.argmax(axis=2) == self._index)
        found.setflags(write=False)
        return found

    @cached_property
    def labels(self) -> Bools:
        """(N,)."""
        return np.asarray(self.results.labels == self._index)

    @cached_property
    def own(self) -> float:
        """Prevalence among the test cases."""
        return float(self.labels.mean())

    @cached_property
    def n_rarer(self) -> int:
        """Groups with a case of the rarer class."""
        return min(self.results.n_groups(self.labels == kind) for kind in (True, False))

    @property
    def _index(self) -> int:
        classes = self.results.first.classes
        if self.positive not in classes:
            raise unknown("class", self.positive, classes)
        return classes.index(self.positive)

    def at(self, metric: str, prevalence: float) -> Interval:
        """A key of `stats.reweighted.METRICS`, or SEN or SPEC, which no prevalence changes."""
        if metric not in METRICS:
            return self._sensitivity if metric == "SEN" else self._specificity
        return reweighted_interval(metric, self.decisions, self.labels, prevalence, groups=self.results.groups)

    @cached_property
    def _sensitivity(self) -> Interval:
        return self._binary("SEN")

    @cached_property
    def _specificity(self) -> Interval:
        return self._binary("SPEC")

    def _binary(self, metric: str) -> Interval:
        definition = binary_definition(metric, self.positive)
        labels = self.results.labels
        groups, repeats = self.results.groups, self.results.repeats
        return classification_interval(
            definition, self.results.probabilities, labels, groups=groups, repeats=repeats, only=self._index
        )

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
        return sorted([*defined, *(p for p in GRID if abs(p - own) > ALIKE)], reverse=True)


def families(results: Sequence[ModelResults]) -> list[Family]:
    """Models by the base of their data sets. A data set that has variants is left to them."""
    decided = [r for r in results if not r.task.per_case and r.first.spec.dataset.positive]
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


def _trained_at(results: ModelResults) -> float | None:
    training = results.first.spec.dataset.training
    return None if training is None else training.prevalence
