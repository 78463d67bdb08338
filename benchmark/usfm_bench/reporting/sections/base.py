"""What a section of a report is, and the registry that writers loop over. A plug-in adds one with `SECTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from usfm_bench.core.errors import BenchError
from usfm_bench.core.pipe_table import Grid, marked, marked_models
from usfm_bench.core.registry import Registry
from usfm_bench.reporting.report import LEAKS, SEEN, Report, contaminated, leaking

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = Literal["top", "table", "end"]
ALL = "all"
"""What `--sections` takes for every section."""
_PLACES: tuple[Place, ...] = ("top", "table", "end")


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of a report: a table with its notes, or notes alone. Numbers are text here."""

    title: str
    """Without a full stop; empty where notes need none."""
    grid: Grid | None = None
    notes: tuple[str, ...] = ()
    """Whole sentences. A writer that shows the text as it is escapes them."""
    caption: str = ""
    """What a line and its cells are; above notes alone: what they are about."""
    table: str | None = None
    """Table of the paper that it belongs to; None: further results, or the report as a whole."""
    ident: str = ""
    """Tells sections of one kind and table apart, such as a data set."""
    folded: bool = False
    """A page shows it when asked for."""
    words: frozenset[str] = frozenset()
    """Columns of words, besides those that are such everywhere."""
    most: int | None = None
    """So many notes are shown where room is short; None: all."""
    figure: Callable[[], Figure] | None = None
    """Draws what belongs to it, for writers that show figures."""
    name: str = ""
    """Of its kind; filled in by `sections`."""
    place: Place = "end"
    """Of its kind; filled in by `sections`."""

    @property
    def full_title(self) -> str:
        """The title with the table that it belongs to, for where it may stand alone."""
        return f"Table {self.table}. {self.title}" if self.table and self.place == "table" else self.title


@dataclass(frozen=True, kw_only=True)
class SectionKind:
    """What makes the sections of one name."""

    name: str
    make: Callable[[Report], Iterable[Section]]
    place: Place
    """`top`: before the tables; `table`: with the table of the paper that it belongs to; `end`: behind them."""
    order: int
    """Within its place, ascending."""
    shown: bool = False
    """Part of a report for which nobody names sections."""
    nothing: str = ""
    """What is said where somebody names it and there is none."""
    data: Callable[[Report], Mapping[str, object]] | None = None
    """Keys of the JSON report with the numbers behind it; None: JSON gets its text."""


SECTIONS: Registry[SectionKind] = Registry("section", home="usfm_bench.reporting.sections")
"""Name -> kind of section."""
WORDS = frozenset(
    {
        *("Suite", "Dataset", "Model", "Published row", "Metric", "Difference [95 %]", "Arithmetic", "Class"),
        *("Structure", "Threshold for", "Predicted as", "Definition", "Unit", "A", "B", "Narrower with", "Lacks"),
        *("Device", "Corruption", "Worst", "Source", "Target", "Order, internal", "Order on target"),
        *("Column", "Value", "Best"),
    }
)
"""Columns of words, which stand to the left."""


def kinds() -> list[SectionKind]:
    """All kinds in reading order."""
    return sorted(SECTIONS.values(), key=lambda kind: (_PLACES.index(kind.place), kind.order, kind.name))


def check_names(names: Sequence[str]) -> None:
    """Refuse names of sections that there are not.

    Raises:
        BenchError: all of them at once, each with the nearest name.
    """
    faults = []
    for name in names:
        try:
            _ = name == ALL or SECTIONS[name]
        except BenchError as error:
            faults.append(str(error))
    if faults:
        raise BenchError("\n".join(faults))


def sections(report: Report, names: Sequence[str] = ()) -> list[Section]:
    """The sections of a report in reading order: what stands on top, each table of the paper with its own, the rest.

    Args:
        report: of `build_report`.
        names: of kinds, or `all`; none: those that a reader needs first.

    Raises:
        BenchError: an unknown name.
    """
    check_names(names)
    found = []
    for kind in kinds():
        if kind.shown if not names else ALL in names or kind.name in names:
            made = [replace(section, name=kind.name, place=kind.place) for section in kind.make(report)]
            if not made and kind.nothing and kind.name in names:
                made = [Section(title="", notes=(kind.nothing,), name=kind.name)]
            found += made
    leaks, tables = leaking(report), {table: i for i, table in enumerate(dict.fromkeys(r.table for r in report.rows))}
    found.sort(key=lambda s: (_PLACES.index(s.place), tables.get(s.table, 0) if s.place == "table" else 0))
    seen = contaminated(report)
    return [replace(s, grid=marked_models(marked(s.grid, leaks, LEAKS), seen, SEEN)) if s.grid else s for s in found]
