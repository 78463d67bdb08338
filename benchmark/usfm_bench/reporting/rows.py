"""One number of a table: a measured or a reported metric, with everything that says what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import unknown
from usfm_bench.core.memo import remembered
from usfm_bench.metrics.classification import PER_CLASS, binary_definition, class_definition_id
from usfm_bench.metrics.definitions import DEFINITIONS, Definition, known_definitions
from usfm_bench.metrics.measures import Missed
from usfm_bench.metrics.operating import RULES
from usfm_bench.metrics.tuned import BESIDE, DECIDED, decided_definition
from usfm_bench.results.frames import ModelResults, counted_scores
from usfm_bench.specs.task import Task
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
    grouped_by: str | None = None
    """What a group is, such as `patients` or `videos`; None: not recorded, by an earlier version."""
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
    """The class that the metric is of, one against the rest, or the structure; None: over all cases or classes, or the
    mean over structures."""
    emulates: str | None = None
    """Repository whose code's number this is; None: this project's own."""
    standing: Literal["best", "tied"] | None = None
    """Of the measured models on this data set by a headline metric: the best mean, or not told apart from it."""
    arithmetic: str | None = None
    """Whether a reported row is arithmetically `possible`, `impossible` or `undetermined`."""
    printed: str | None = None
    """A reported value as its source prints it, with its decimals and whatever stands behind the plus-minus sign."""

    def fields(self) -> dict[str, Any]:
        """Name -> value, as of `asdict`, which copies each value."""
        return dict(vars(self))


def measured_rows(results: ModelResults, *, missed: Missed = "diagonal") -> Iterator[Row]:
    """Every metric of one model on one data set; `missed`: what distances do with a missed lesion."""
    if results.task.per_case:
        known = known_definitions(results.definitions.values())
        parts = [None, *results.structures]
        order = {d.column: i for i, d in enumerate(results.task.primary())}
        rank = {d.id: order.get(d.column.partition("[")[0], len(order)) for d in known}
        for definition in sorted(known, key=lambda d: (parts.index(d.structure), rank[d.id])):
            yield case_row(results, definition, missed)
    else:
        for definition in usual(results.task):
            yield from set_rows(results, definition)
        of_classes = [row for n in PER_CLASS for row in set_rows(results, DEFINITIONS[class_definition_id(n)])]
        yield from sorted(of_classes, key=lambda row: results.first.classes.index(row.label or ""))
        if positive := results.first.spec.dataset.positive:
            yield from _decided_rows(results, positive)


def usual(task: Task) -> list[Definition]:
    """The primary definitions in the order of display, each with what stands behind it."""
    return [d for first in task.primary() for d in (first, *BESIDE.get(first.id, ()))]


def _decided_rows(results: ModelResults, positive: str) -> Iterator[Row]:
    """Of the positive class: BACC as it is, which the rows by class lack, then all by each rule's threshold."""
    yield from set_rows(results, binary_definition("BACC", positive))
    for rule in RULES:
        for metric in DECIDED:
            yield from set_rows(results, decided_definition(metric, positive, rule))


def chosen_rows(results: ModelResults, definitions: Sequence[Definition]) -> Iterator[Row]:
    """The rows of these definitions, those of the other task left out."""
    for definition in definitions:
        if definition.of != results.task.of:
            continue
        if results.task.per_case:
            for part in results.task.parts(definition, results.first.spec.dataset):
                yield case_row(results, part)
        else:
            yield from set_rows(results, definition)


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
        "seen_in_pretraining": results.seen_in_pretraining,
        "n_leaked": results.n_leaked,
        "grouped_by": results.first.grouped_by,
    }


def case_row(results: ModelResults, definition: Definition, missed: Missed = "diagonal") -> Row:
    """The mean of a score over the cases that count; n_cases says how many they are."""
    definition, scores, used = counted_scores(results, definition, missed)
    groups, values = results.groups[used], scores[:, used]
    interval = Interval(np.nan, None, None)
    if used.any():
        interval = crossed_interval(values, groups=groups, folds=results.folds[used], bounds=definition.range)
    return Row(
        **fields_of(results, definition),
        **figures(interval),
        sd_cases=_spread(values),
        n_cases=results.n_distinct(used),
        n_groups=results.n_groups(used),
        **_failures(results, definition),
        label=definition.structure,
    )


def _failures(results: ModelResults, definition: Definition) -> dict[str, Any]:
    """Missed lesions and false alarms over all seeds, of tasks that have such; None where no image could have any."""
    cases, lesion = results.cases, definition.about("lesion")
    if "missed" not in cases:
        return {}
    shown = [name for name in cases if name == lesion or str(name).startswith(f"{lesion}[")]  # the whole: of all parts
    everywhere = all(results.case_table[name].to_numpy().all() for name in shown)
    alarms = None if everywhere else int(cases[definition.about("false_alarm")].to_numpy().sum())
    return {"n_missed": int(cases[definition.about("missed")].to_numpy().sum()), "n_false_alarms": alarms}


def set_rows(results: ModelResults, definition: Definition) -> Iterator[Row]:
    """One row; one a class that the test set has for a definition of each class.

    None for what was tuned on validation, where some trial has no such choice, or made it for another class.
    """
    if definition.tuned not in ("", "temperature"):
        yield from _decided_row(results, definition)
        return
    classes = results.first.classes
    labels = results.labels
    wanted: list[int | None] = [None]
    if definition.averaging == "class":
        wanted = [k for k in range(len(classes)) if (labels == k).any()]
    elif definition.positive is not None:
        if definition.positive not in classes:
            raise unknown("class", definition.positive, classes)
        wanted = [classes.index(definition.positive)]
    probabilities = results.scaled_probabilities if definition.tuned else results.probabilities
    if probabilities is not None:
        for k in wanted:
            label = None if k is None else classes[k]
            yield _set_row(results, definition, probabilities, labels, k, label)


def _decided_row(results: ModelResults, definition: Definition) -> Iterator[Row]:
    """Decisions stand as probabilities of 0 and 1 of two classes, the second of which is the positive one."""
    decisions, positive = results.decisions(definition.tuned), definition.positive
    if decisions is not None and positive == results.first.spec.dataset.positive:
        truth = results.labels == results.first.classes.index(positive or "")
        two = remembered(decisions, "two classes", lambda: _two_classes(decisions))
        yield _set_row(results, definition, two, truth.astype(np.int64), 1, positive)


def _two_classes(decisions: NDArray[np.bool_]) -> Floats:
    """(S, N) -> (S, N, 2) probabilities, not to be written to."""
    two = np.stack([~decisions, decisions], axis=-1).astype(np.float64)
    two.setflags(write=False)
    return two


def _set_row(
    results: ModelResults,
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    k: int | None,
    label: str | None,
) -> Row:
    base = known_definitions([definition.base])[0] if definition.base else definition
    groups, own = results.groups, labels == k if k is not None else np.ones(len(labels), bool)
    scores = case_scores(base, probabilities, labels)
    interval = classification_interval(
        base, probabilities, labels, groups=groups, folds=results.folds, repeats=results.repeats, only=k
    )
    return Row(
        **fields_of(results, definition),
        **figures(interval),
        sd_cases=None if scores is None else _spread(scores),
        n_cases=results.n_distinct(own),
        n_groups=results.n_groups(own),
        label=label,
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
