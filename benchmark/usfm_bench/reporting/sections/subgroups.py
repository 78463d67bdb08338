"""Models on the cases of each value of a column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, finite, heading, number, p_value, with_interval
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.subgroups import LEAST, Gap, Subgroup

_NOTES = (
    f"A value with fewer than {LEAST} groups of cases (patients, near-duplicates, images) says `too few`: its mean "
    "stands alone, and it has no part in a gap. Cases without a value are counted under Missing and are in no row.",
    "Gap: the best value less the worst, by the same networks. Both were chosen by looking, so that its interval and "
    "p value are widened for all pairs of values (Bonferroni); p (Holm) is over the columns that were asked for. A gap "
    "is no cause: values differ in more than their name.",
)


def subgroups(report: Report) -> Iterator[Section]:
    """One a table of the paper, and the gaps."""
    for table in dict.fromkeys(row.table for row in report.subgroups.rows):
        rows = [row for row in report.subgroups.rows if row.table == table]
        gaps = [gap for gap in report.subgroups.gaps if gap.table == table]
        yield Section(
            title="Gaps between subgroups",
            grid=_gaps(gaps),
            notes=(*_NOTES, *report.subgroups.notes),
            caption="A line a column and metric.",
            table=table,
            ident="subgroup-gaps",
        )
        yield Section(
            title="Subgroups",
            grid=_groups(rows),
            caption="Mean over the cases with each value, with 95 % interval.",
            table=table,
            ident="subgroups",
        )


def _groups(rows: list[Subgroup]) -> Grid:
    metrics = list(dict.fromkeys((row.metric, row.unit) for row in rows))
    cells = {(r.dataset, r.model, r.column, r.value, r.metric, r.unit): r for r in rows}
    body, of = [], []
    for key in dict.fromkeys(key[:4] for key in cells):
        own = [cells.get((*key, *metric)) for metric in metrics]
        first = next(row for row in own if row is not None)
        body.append([*key, *map(_cell, own), str(first.n_cases), str(first.n_groups)])
        of.append(key[:2])
    header = ["Dataset", "Model", "Column", "Value", *(heading(*metric) for metric in metrics), "Cases", "Groups"]
    return Grid(header, body, tuple(of))


def _cell(row: Subgroup | None) -> str:
    if row is None or row.mean is None:
        return NONE
    shown = number(row.mean, row.unit)
    return f"{shown} [too few]" if row.too_few else with_interval(row.mean, row.low, row.high, row.unit)


def _gaps(gaps: list[Gap]) -> Grid:
    header = ["Dataset", "Model", "Column", "Metric", "Best", "Worst", "Gap", "p", "p (Holm)", "Values", "Missing"]
    body = [
        [
            *(gap.dataset, gap.model, gap.column, heading(gap.metric, gap.unit), gap.best or NONE, gap.worst or NONE),
            *(with_interval(*gap.gap[:3], gap.unit), p_value(gap.p_value), p_value(gap.p_holm)),
            *(str(gap.n_values), str(gap.n_missing)),
        ]
        for gap in gaps
    ]
    return Grid(header, body, tuple((gap.dataset, gap.model) for gap in gaps))


def _data(report: Report) -> Mapping[str, object]:
    found = report.subgroups
    gaps = [asdict(g) | {"gap": g.gap._asdict() | {"point": finite(g.gap.point)}} for g in found.gaps]
    return {"subgroups": [asdict(row) for row in found.rows], "subgroup_gaps": gaps} if found.rows else {}


SECTIONS.register("subgroups")(
    SectionKind(
        name="subgroups",
        make=subgroups,
        place="table",
        order=87,
        nothing="No column was named: `usfm-bench report --suite NAME --by size,class --sections subgroups`.",
        data=_data,
    )
)
