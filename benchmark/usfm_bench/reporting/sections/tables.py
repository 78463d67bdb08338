"""Tables 1 and 2 in the paper's layout: reported rows above measured ones, and a gap where nothing is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, count, heading
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.cells import cell, counts, dataset_name, spread_cell
from usfm_bench.specs.task import Task

MEANS = "Mean [95 % interval] over seeds and cases, in the unit of the column."
_COUNTS = ("n", "Missed", "False alarms")
_NOT_MEASURED = "no finished trial"
MetricColumn = tuple[str, str | None]
"""Metric and unit."""


class Gap(NamedTuple):
    """What was not measured, though it was for the model's or the data set's others."""

    table: str | None
    dataset: str
    model: str


class TableRows(NamedTuple):
    """The rows of one table of the paper, but for those of single classes or structures."""

    table: str | None
    task: Task
    """What its models did."""
    rows: list[Row]
    columns: list[MetricColumn]
    """Of the main table."""
    further: list[MetricColumn]
    """All others that were measured."""

    @property
    def title(self) -> str:
        """By what its models did."""
        return self.task.title if self.table else "Further results"


def tables_of(report: Report) -> Iterator[TableRows]:
    """The paper's tables that the report has rows of."""
    for table, rows in groupby(report.rows, key=lambda row: row.table):
        main = [row for row in rows if row.label is None]
        task = next(r.task for r in report.results if r.first.spec.table == table)
        measured = list(dict.fromkeys((row.metric, row.unit) for row in main if row.source == "measured"))
        columns = [(metric, unit) for metric, unit in measured if metric in task.columns and unit != "mm"]
        yield TableRows(table, task, main, columns, [column for column in measured if column not in columns])


def main_tables(report: Report) -> Iterator[Section]:
    """One a table of the paper, with its columns."""
    missing = gaps(report)
    for of in tables_of(report):
        grid = main_grid(of.rows, of.columns, of.task)
        lacking = [gap for gap in missing if gap.table == of.table]
        caption = f"{MEANS} Reported rows are as published."
        yield Section(title=of.title, grid=_with_gaps(grid, lacking), caption=caption, table=of.table)


def gaps(report: Report) -> list[Gap]:
    """Models of a table that have no finished trial on one of its data sets."""
    found = []
    for table in dict.fromkeys(r.first.spec.table for r in report.results):
        specs = [r.first.spec for r in report.results if r.first.spec.table == table]
        pairs = {(spec.dataset.name, spec.model) for spec in specs}
        models = dict.fromkeys(spec.model for spec in specs)
        datasets = dict.fromkeys(spec.dataset.name for spec in specs)
        found += [Gap(table, d, m) for d in datasets for m in models if (d, m) not in pairs]
    return found


def _with_gaps(grid: Grid, missing: Sequence[Gap]) -> Grid:
    lines = [[g.dataset, f"{g.model} ({_NOT_MEASURED})", *[NONE] * (len(grid.header) - 2)] for g in missing]
    return Grid(grid.header, [*grid.body, *lines], (*grid.of, *[None] * len(lines)))


def main_grid(rows: Sequence[Row], columns: Sequence[MetricColumn], task: Task) -> Grid:
    """One line a model; behind the distances stand the cases they are over, missed lesions and false alarms."""
    header = ["Dataset", "Model"]
    judged = any(row.arithmetic for row in rows)
    distances = [unit in ("px", "mm") for _, unit in columns]
    ends = {i for i, is_distance in enumerate(distances) if is_distance and not any(distances[i + 1 : i + 2])}
    for i, (name, unit) in enumerate(columns):
        header += [heading(name, unit), *([f"{name} sd"] if name in task.with_sd and unit != "mm" else ())]
        header += _COUNTS if i in ends else ()
    body, of = [], []
    for (dataset, model, source), cells in groupby(rows, key=lambda row: (row.dataset, row.model, row.source)):
        line_rows = list(cells)
        first = line_rows[0]
        by_column = {(row.metric, row.unit): row for row in line_rows}
        line = [dataset_name(dataset, first), f"{model} (reported)" if source == "reported" else model]
        for i, column in enumerate(columns):
            # The published HD95 comes without a unit.
            row = by_column.get(column) or by_column.get((column[0], None))
            line += [cell(row)]
            line += [spread_cell(row)] if column[0] in task.with_sd and column[1] != "mm" else []
            line += counts(row) if i in ends else []
        body.append([*line, count(first.n_seeds), count(first.n_cases), *([first.arithmetic or ""] if judged else ())])
        of.append((dataset, model) if source == "measured" else None)
    return Grid([*header, "Seeds", "Cases", *(["Arithmetic"] if judged else ())], body, tuple(of))


SECTIONS.register("tables")(SectionKind(name="tables", make=main_tables, place="table", order=10, shown=True))
