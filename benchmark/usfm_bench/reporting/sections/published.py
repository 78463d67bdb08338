"""Measured values beside published ones of the same data set, and why some cannot be compared or cannot be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import difference_unit, with_interval
from usfm_bench.reporting.published import Against, impossible_rows
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.cells import cell

_TITLE = "Against the published values, which are of other test images of the same data set, and taken as fixed"


def against_published(report: Report) -> Iterator[Section]:
    """One a table of the paper; and the proofs against rows that it prints."""
    for table in dict.fromkeys(a.table for a in report.against):
        grid = _grid([a for a in report.against if a.table == table])
        yield Section(title=_TITLE, grid=grid, caption=f"{_TITLE}.", table=table, ident="against", folded=True)
    for verdict in impossible_rows(report.rows):
        claim = verdict.claim
        yield Section(
            title=f"{claim.dataset}, {claim.model} (reported) is arithmetically impossible",
            notes=(f"{next(iter(verdict.proofs))} `usfm-bench claims` has every reading and what would rescue it.",),
            table=claim.table,
            ident=f"{claim.dataset}-{claim.model}",
            folded=True,
        )


def _grid(against: Sequence[Against]) -> Grid:
    """One line a metric; metrics that cannot be compared for one reason share a line."""
    header = ["Dataset", "Model", "Published row", "Metric", "Published", "Measured", "Difference [95 %]"]
    lines: dict[tuple[str, ...], list[Against]] = {}
    for a in against:
        own = a.not_comparable or a.metric
        lines.setdefault((a.dataset, a.model, a.published_model, own), []).append(a)
    body = [
        [
            *(first.dataset, first.model, first.published_model, ", ".join(a.metric for a in same)),
            ", ".join(a.published for a in same),
            cell(first.measured),
            f"not comparable: {first.not_comparable}" if first.difference is None else _difference(first),
        ]
        for first, *rest in lines.values()
        for same in [[first, *rest]]
    ]
    return Grid(header, body, tuple((line[0], line[1]) for line in body))


def _difference(a: Against) -> str:
    value = with_interval(a.difference, a.ci_low, a.ci_high, "fraction", signed=True)
    return f"{value} {difference_unit('fraction')}"


def _data(report: Report) -> Mapping[str, object]:
    return {
        "against": [{**asdict(a), "measured": None if a.measured is None else a.measured.mean} for a in report.against]
    }


SECTIONS.register("published")(
    SectionKind(
        name="published",
        make=against_published,
        place="table",
        order=20,
        nothing="No data set of this report stands for a published row.",
        data=_data,
    )
)
