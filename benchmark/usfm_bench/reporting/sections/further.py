"""Metrics of the same predictions that the paper's columns lack."""

from __future__ import annotations

from collections.abc import Iterator

from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.tables import MEANS, main_grid, tables_of


def further_metrics(report: Report) -> Iterator[Section]:
    """One a table of the paper."""
    for of in tables_of(report):
        if of.further:
            measured = [row for row in of.rows if row.source == "measured"]
            grid = main_grid(measured, of.further, of.task)
            title = "More metrics of the same predictions"
            yield Section(title=title, grid=grid, caption=MEANS, table=of.table, ident="more", folded=True)


SECTIONS.register("metrics")(
    SectionKind(
        name="metrics", make=further_metrics, place="table", order=30, nothing="No further metric was measured."
    )
)
