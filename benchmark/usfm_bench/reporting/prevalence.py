"""F1 against prevalence: of classifiers trained at several, and of one classifier that is only tested at several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from usfm_bench.metrics.classification import binary_definition, reweighted_definition
from usfm_bench.reporting.families import ALIKE, Classifier, Family, families
from usfm_bench.reporting.published import published_rows
from usfm_bench.reporting.rows import Row, fields_of, figures
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats import Interval
from usfm_bench.stats.components import difference_components, paired_components
from usfm_bench.stats.intervals import interval_of
from usfm_bench.stats.reweighted import METRICS

Curve = Literal["trained", "beside", "alone"]
JUDGED = ("F1", "F1 macro")
"""What is compared with the paper's F1, since the paper does not state its averaging."""


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


def prevalence_of(results: Sequence[ModelResults]) -> Prevalence:
    """Of every data set that names a positive class."""
    found = families(results)
    trained = [family for family in found if family.is_trained]
    return Prevalence(
        tuple(row for family in found for row in _rows(family)),
        tuple(_answer(family, metric) for family in trained for metric in JUDGED),
    )


def published_f1() -> Row:
    """F1 of the paper's row on clinical, unbalanced data."""
    [row] = [row for row in published_rows("2") if (row.dataset, row.metric) == ("Clinical", "F1")]
    return row


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
            n_cases=of.results.n_distinct(),
            n_groups=of.results.n_groups(),
            label=None if definition.averaging == "macro" else of.positive,
            curve=curve,
            prevalence=prevalence,
            trained_at=of.trained_at,
            trained_on=of.results.first.spec.dataset.name,
            positive=of.positive,
            n_rarer=of.n_rarer,
            own=abs(prevalence - of.own) <= ALIKE,
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
    _, groups, folds, sizes = start
    parts = {
        "change": difference_components(end.values, start.values, groups, folds=folds, sizes=sizes),
        # The same networks, and so paired in their seeds too.
        "by_test_prevalence": paired_components(moved.values - start.values, groups, folds=folds, sizes=sizes),
        "by_training": difference_components(end.values, moved.values, groups, folds=folds, sizes=sizes),
    }
    return {name: interval_of(part, bounds=(-1.0, 1.0)) for name, part in parts.items()}


def _same_cases(a: ModelResults, b: ModelResults) -> bool:
    columns = ["case_id", "group_id", "label"]
    return bool(a.case_table[columns].astype(str).equals(b.case_table[columns].astype(str)))
