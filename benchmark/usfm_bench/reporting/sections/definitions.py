"""What each metric of a report is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from usfm_bench.metrics.definitions import known_definitions
from usfm_bench.reporting.method import definitions_grid
from usfm_bench.reporting.report import Report, definitions_of
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind


def definitions(report: Report) -> Iterator[Section]:
    """One for each kind of prediction."""
    used = known_definitions(definitions_of(report.rows))
    for of in dict.fromkeys(d.of for d in used):
        grid = definitions_grid([d for d in used if d.of == of])
        yield Section(
            title=f"Definitions of metrics of {of}",
            grid=grid,
            caption="What each metric is. A number is comparable with another only where the id is the same.",
            ident=of,
            words=frozenset(grid.header),
        )


def _data(report: Report) -> Mapping[str, object]:
    return {"definitions": definitions_of(report.rows)}


SECTIONS.register("definitions")(SectionKind(name="definitions", make=definitions, place="end", order=50, data=_data))
