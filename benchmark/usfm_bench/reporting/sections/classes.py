"""One class or structure against the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import count, heading
from usfm_bench.metrics.classification import PER_CLASS
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.cells import cell, counts, dataset_name
from usfm_bench.reporting.sections.tables import MEANS, MetricColumn, tables_of
from usfm_bench.results.frames import ModelResults


def by_class(report: Report) -> Iterator[Section]:
    """One a table of the paper whose metrics are known by class, or by structure."""
    for of in tables_of(report):
        labelled = [row for row in report.rows if row.table == of.table and row.label is not None]
        if of.task.per_case:
            labelled = [row for row in labelled if (row.metric, row.unit) in of.columns]
        else:
            labelled = [row for row in labelled if row.metric in PER_CLASS]
        if not labelled:
            continue
        said = {} if of.task.per_case else _predicted(report, of.table)
        yield Section(
            title="By structure" if of.task.per_case else "By class, one against the rest",
            grid=_grid(labelled, "Structure" if of.task.per_case else "Class", said),
            caption=MEANS + ("" if of.task.per_case else " Predicted as: cases, mean over seeds."),
            table=of.table,
            ident="classes",
            folded=True,
        )


def _grid(rows: Sequence[Row], label: str, said: dict[tuple[str, str, str], str]) -> Grid:
    """One line a model and class, or structure, of whose cases those count that show it; `said`: see `_predicted`."""
    columns: list[MetricColumn] = list(dict.fromkeys((row.metric, row.unit) for row in rows))
    failures = any(row.n_missed is not None for row in rows)
    names = ["Cases", "Missed", "False alarms"] if failures else ["Cases"]
    header = ["Dataset", "Model", label, *names, *(heading(*column) for column in columns)]
    header += ["Predicted as"] * bool(said)
    body, of = [], []
    for (dataset, model, name), cells in groupby(rows, key=lambda row: (row.dataset, row.model, str(row.label))):
        by_column = {(row.metric, row.unit): row for row in cells}
        first = next(iter(by_column.values()))
        line = [dataset_name(dataset, first), model, name]
        line += counts(first) if failures else [count(first.n_cases)]
        line += [cell(by_column.get(column)) for column in columns]
        body.append([*line, *([said[dataset, model, name]] if said else [])])
        of.append((dataset, model))
    return Grid(header, body, tuple(of))


def _predicted(report: Report, table: str | None) -> dict[tuple[str, str, str], str]:
    """(data set, model, class) -> the numbers of its cases by predicted class, in words."""
    return {
        (r.first.spec.dataset.name, r.first.spec.model, name): ", ".join(f"{n:.1f} {other}" for other, n in row.items())
        for r in report.results
        if r.first.spec.table == table
        for name, row in _mean_confusion(r).items()
    }


def _mean_confusion(results: ModelResults) -> dict[str, dict[str, float]]:
    """Class -> predicted class -> number of test cases, mean over seeds, and over repeats where there are some."""
    n_repeats = 1 if results.repeats is None else len(set(results.repeats.tolist()))
    classes = results.first.classes
    predicted, labels = results.probabilities.argmax(axis=2), results.case_table["label"].to_numpy()
    return {
        name: {
            other: float((predicted[:, labels == k] == j).sum(axis=1).mean()) / n_repeats
            for j, other in enumerate(classes)
        }
        for k, name in enumerate(classes)
    }


SECTIONS.register("classes")(
    SectionKind(
        name="classes", make=by_class, place="table", order=40, nothing="No metric of this report is of single classes."
    )
)
