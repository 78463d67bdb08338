"""Chosen definitions of rescored trials as Markdown, JSON or CSV: what `usfm-bench score` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from usfm_bench.core.csv_cells import guarded_frame
from usfm_bench.core.errors import BenchError
from usfm_bench.core.pipe_table import Grid, bullet
from usfm_bench.core.words import count, unit_sign
from usfm_bench.metrics.definitions import Definition
from usfm_bench.reporting.facts import NOT_RECORDED
from usfm_bench.reporting.rows import Row, chosen_rows, usual
from usfm_bench.reporting.sections.cells import cell, counts, dataset_name
from usfm_bench.reporting.writers.json import SCHEMA_VERSION, dumped
from usfm_bench.reporting.writers.markdown import grid_lines
from usfm_bench.results.frames import ModelResults


def render_scores(results: Sequence[ModelResults], definitions: Sequence[Definition], form: str) -> str:
    """Text of chosen definitions (none: the primary ones) of rescored trials: `markdown`, `json` or `csv`.

    Raises:
        BenchError: no definition is of the trials' task.
    """
    found = [(r, row) for r in results for row in chosen_rows(r, definitions or _primary_of(r))]
    if not found:
        tasks = sorted({r.first.spec.task for r in results})
        if any(d.tuned and d.of in {r.task.of for r in results} for d in definitions):
            raise BenchError(
                "What these definitions ask for was not chosen on validation cases: earlier versions kept no "
                "predictions for them, and thresholds are for the class alone that the data set's entry names as "
                "`positive`. `usfm-bench run --fresh` makes trials that have both."
            )
        raise BenchError(f"None of the definitions is of {' or '.join(tasks)}, which is what these trials did.")
    rows = [{"suite": r.first.spec.suite, "profile": r.first.spec.profile, **asdict(row)} for r, row in found]
    if form == "json":
        return dumped({"schema_version": SCHEMA_VERSION, "rows": rows})
    if form == "csv":
        return guarded_frame(pd.DataFrame(rows)).to_csv(index=False, lineterminator="\n")
    several = len({(r.first.spec.suite, r.first.spec.profile) for r in results}) > 1
    places = [f"{r.first.spec.suite}, {r.first.spec.profile}" for r, _ in found] if several else []
    return _list([row for _, row in found], places)


def _primary_of(results: ModelResults) -> list[Definition]:
    chosen = usual(results.task)
    return [d for d in chosen if d.column in results.cases] if results.task.per_case else chosen


def _list(rows: Sequence[Row], places: Sequence[str] = ()) -> str:
    """One line a number, with its definition: for definitions that the tables of a report do not show.

    `places`: suite and profile of each row, where they differ.
    """
    header = ["Suite"] * bool(places) + ["Dataset", "Model", "Definition", "Class", "Value", "Unit", "Seeds"]
    header += ["n", "Missed", "False alarms"]
    body = [
        [
            *(dataset_name(row.dataset, row), row.model, row.definition or "", row.label or "", cell(row)),
            *(unit_sign(row.unit), count(row.n_seeds)),
            *(counts(row) if row.n_missed is not None else [count(row.n_cases), "", ""]),
        ]
        for row in rows
    ]
    body = [[place, *line] for place, line in zip(places, body, strict=True)] if places else body
    notes = ["Mean [95 % interval] over seeds and cases; n: cases that the mean is over (docs/metrics.md)."]
    groups = {row.dataset: f"{row.dataset}: {row.grouped_by or NOT_RECORDED}" for row in rows}
    notes.append(f"Groups, which no split parts: {'; '.join(groups.values())}.")
    if repositories := sorted({row.emulates for row in rows if row.emulates}):
        notes.append(
            f"{', '.join(repositories)}: emulated, what that repository's code would print for these predictions, "
            "faults included; for comparison with its published numbers only."
        )
    return "\n".join([*grid_lines(Grid(header, body)), "", *map(bullet, notes), ""])
