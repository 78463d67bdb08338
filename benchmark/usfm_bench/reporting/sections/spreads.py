"""Where the spread of a mean comes from, and what would narrow its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import difference, percent, probability
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.spreads import Spread


def spreads(report: Report) -> Iterator[Section]:
    """One a table of the paper."""
    for table in dict.fromkeys(s.table for s in report.spreads):
        own = [s for s in report.spreads if s.table == table]
        yield Section(
            title="Where the spread comes from",
            grid=_grid(own),
            notes=(
                "Standard deviations between seeds, between cases (or groups of them) and of what is left; the share "
                "of each in the variance of the mean; and how its interval would change with twice the seeds or twice "
                "the cases.",
                *advice(own),
            ),
            caption="What makes the intervals as wide as they are.",
            table=table,
            ident="spread",
            folded=True,
        )


def limits(report: Report) -> Iterator[Section]:
    """What would tell more, by table."""
    lines: dict[str, None] = {}
    for table in dict.fromkeys(row.table for row in report.rows):
        where = f"Table {table}: " if table else ""
        lines |= {f"{where}{line}": None for line in advice([s for s in report.spreads if s.table == table])}
    if lines:
        yield Section(title="What would tell more", notes=tuple(lines))


def _grid(spread: Sequence[Spread]) -> Grid:
    """One line a headline metric of a model."""
    header = ["Dataset", "Model", "Metric", "sd of seeds", "sd of cases", "sd of the rest"]
    header += [
        "Variance from seeds",
        "from cases",
        "from the rest",
        "Twice the seeds",
        "Twice the cases",
        "Narrower with",
    ]
    body = [
        [
            *(s.dataset, s.model, s.metric),
            *(difference(x, s.unit, digits=1) for x in (s.sd_seeds, s.sd_groups, s.sd_residual)),
            *(probability(x) for x in (s.share_seeds, s.share_groups, s.share_residual)),
            *(percent(None if x is None else x - 1) for x in (s.twice_seeds, s.twice_cases)),
            _narrower(s),
        ]
        for s in spread
    ]
    return Grid(header, body, tuple((s.dataset, s.model) for s in spread))


def advice(spread: Sequence[Spread]) -> list[str]:
    """What would narrow the intervals."""
    lines = []
    chosen = [_narrower(s) for s in spread]
    if chosen.count("more cases") > len(chosen) / 2:
        lines.append("Mostly the test cases limit what can be said here: a larger test set, or five folds, tells more.")
    elif chosen.count("more seeds") > len(chosen) / 2:
        lines.append("Mostly the seeds limit what can be said here: more of them (`--seeds`) tell more.")
    if "" in chosen:
        lines.append("One seed says nothing of how much another training differs; `--seeds 3` is the least.")
    return lines


def _narrower(spread: Spread) -> str:
    if spread.twice_seeds is None or spread.twice_cases is None:
        return ""
    return "more seeds" if spread.twice_seeds < spread.twice_cases else "more cases"


def _data(report: Report) -> Mapping[str, object]:
    return {"spreads": [dict(vars(spread)) for spread in report.spreads]}


SECTIONS.register("limits")(
    SectionKind(name="limits", make=limits, place="top", order=20, nothing="No metric of this report has a spread.")
)
SECTIONS.register("spreads")(
    SectionKind(
        name="spreads",
        make=spreads,
        place="table",
        order=90,
        nothing="No metric of this report has a spread.",
        data=_data,
    )
)
