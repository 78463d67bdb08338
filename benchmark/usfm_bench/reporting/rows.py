"""One number of a table: a measured or a reported metric, with everything that says what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from usfm_bench.errors import unknown
from usfm_bench.metrics.classification import PER_CLASS, class_definition_id
from usfm_bench.metrics.definitions import DEFINITIONS, Definition, primary
from usfm_bench.metrics.measures import Missed
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats import Interval, case_scores, classification_interval, crossed_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the JSON report. A figure that does not exist is None, never 0; rates are fractions."""

    table: str | None
    """Table of the paper."""
    dataset: str
    model: str
    metric: str
    definition: str | None = None
    """Versioned id; None for a reported value, whose definition its source does not state."""
    unit: str | None = None
    """`fraction`, `px`, `mm`, or `score` for a number without a unit."""
    source: Literal["measured", "reported"]
    mean: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    interval: str | None = None
    """`seeds+cases`, `cases` (one seed), or None where there is no interval."""
    sd_cases: float | None = None
    """Standard deviation over cases of the mean over seeds; None for metrics that a single case does not have."""
    n_seeds: int | None = None
    n_cases: int | None = None
    """Cases that the mean is over."""
    n_groups: int | None = None
    """Groups (patients, near-duplicates) among them."""
    n_missed: int | None = None
    """Lesions with an empty prediction, counted over all seeds."""
    n_false_alarms: int | None = None
    """Images without a lesion and with a prediction, counted over all seeds."""
    synthetic: bool | None = None
    seen_in_pretraining: bool | None = None
    """Whether the model's weights saw test images; None: unknown."""
    n_leaked: int | None = None
    """Test cases that have a case of their group in training or validation; 0 where a split was drawn here."""
    citation: str | None = None
    label: str | None = None
    """The class that the metric is of, one against the rest; None: over all cases or classes."""
    emulates: str | None = None
    """Repository whose code's number this is; None: this project's own."""
    standing: Literal["best", "tied"] | None = None
    """Of the measured models on this data set by a headline metric: the best mean, or not told apart from it."""
    arithmetic: str | None = None
    """Whether a reported row is arithmetically `possible`, `impossible` or `undetermined`."""
    printed: str | None = None
    """A reported value as its source prints it, with its decimals and whatever stands behind the plus-minus sign."""


def measured_rows(results: ModelResults, *, missed: Missed = "diagonal") -> Iterator[Row]:
    """Every metric of one model on one data set; `missed`: what distances do with a missed lesion."""
    if results.first.spec.task == "segmentation":
        known = [DEFINITIONS[i] for i in results.definitions.values() if i in DEFINITIONS]
        order = {d.id: i for i, d in enumerate(primary("segmentation"))}
        for definition in sorted(known, key=lambda d: order.get(d.id, len(order))):
            yield segmentation_row(results, *_under(missed, definition))
    else:
        for definition in primary("classification"):
            yield from classification_rows(results, definition)
        of_classes = [
            row for n in PER_CLASS for row in classification_rows(results, DEFINITIONS[class_definition_id(n)])
        ]
        yield from sorted(of_classes, key=lambda row: results.first.classes.index(row.label or ""))


def chosen_rows(results: ModelResults, definitions: Sequence[Definition]) -> Iterator[Row]:
    """The rows of these definitions, those of the other task left out."""
    for definition in definitions:
        if definition.task != results.first.spec.task:
            continue
        if definition.task == "segmentation":
            yield segmentation_row(results, definition, definition.column)
        else:
            yield from classification_rows(results, definition)


def _under(missed: Missed, definition: Definition) -> tuple[Definition, str, bool]:
    """The definition for the policy, the column it is computed from, and whether missed lesions are left out of it."""
    excluding = definition.id.replace("@", ".exclude@")
    if missed == "exclude" and excluding in DEFINITIONS:
        return DEFINITIONS[excluding], definition.column, True
    return definition, definition.column, False


def fields_of(results: ModelResults, definition: Definition) -> dict[str, Any]:
    """What a measured row says of its trials and its metric."""
    spec = results.first.spec
    return {
        "table": spec.table,
        "dataset": spec.dataset.name,
        "model": spec.model,
        "metric": definition.name,
        "definition": definition.id,
        "unit": definition.unit,
        "emulates": definition.emulates,
        "source": "measured",
        "n_seeds": len(results.seeds),
        "synthetic": spec.dataset.synthetic,
        "seen_in_pretraining": results.first.seen_in_pretraining,
        "n_leaked": sum(record.n_leaked for record in results.records) // len(results.seeds),
    }


def segmentation_row(results: ModelResults, definition: Definition, column: str, without_missed: bool = False) -> Row:
    """The mean of a column over the images with a lesion, or over all where the definition says so.

    A value that is undefined for any seed leaves the case out for all, and n_cases says so.
    """
    table = results.case_table
    lesion = table["lesion"].to_numpy(bool)
    scores = results.matrix(column)
    if without_missed:
        scores = np.where(results.matrix("missed") > 0, np.nan, scores)
    used = (lesion | (definition.over == "all")) & ~np.isnan(scores).any(axis=0)
    groups = results.groups[used]
    values = scores[:, used]
    interval = Interval(np.nan, None, None)
    if used.any():
        interval = crossed_interval(values, groups=groups, folds=results.folds[used], bounds=definition.range)
    return Row(
        **fields_of(results, definition),
        **figures(interval),
        sd_cases=_spread(values),
        n_cases=int(used.sum()),
        n_groups=len(np.unique(groups)),
        n_missed=int(results.cases["missed"].sum()),
        n_false_alarms=None if lesion.all() else int(results.cases["false_alarm"].sum()),
    )


def classification_rows(results: ModelResults, definition: Definition) -> Iterator[Row]:
    """One row; one a class that the test set has for a definition of each class."""
    classes = results.first.classes
    labels = results.case_table["label"].to_numpy(np.int64)
    wanted: list[int | None] = [None]
    if definition.averaging == "class":
        wanted = [k for k in range(len(classes)) if (labels == k).any()]
    elif definition.positive is not None:
        if definition.positive not in classes:
            raise unknown("class", definition.positive, classes)
        wanted = [classes.index(definition.positive)]
    probabilities, groups, folds = results.probabilities, results.groups, results.folds
    scores = case_scores(definition, probabilities, labels)
    for k in wanted:
        own = labels == k if k is not None else np.ones(len(labels), bool)
        interval = classification_interval(definition, probabilities, labels, groups=groups, folds=folds, only=k)
        yield Row(
            **fields_of(results, definition),
            **figures(interval),
            sd_cases=None if scores is None else _spread(scores),
            n_cases=int(own.sum()),
            n_groups=len(np.unique(groups[own])),
            label=None if k is None else classes[k],
        )


def figures(interval: Interval) -> dict[str, Any]:
    """A row's mean and interval."""
    point = interval.point
    return {
        "mean": None if np.isnan(point) else point,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval": None if interval.low is None else interval.kind,
    }


def _spread(scores: Floats) -> float | None:
    """(S, C) -> standard deviation over cases of the mean over seeds; None below two cases."""
    return float(scores.mean(axis=0).std(ddof=1)) if scores.shape[1] > 1 else None
