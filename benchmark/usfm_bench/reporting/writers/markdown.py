"""A report as GitHub Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from usfm_bench.core.errors import capped
from usfm_bench.core.pipe_table import Grid, bullet, escaped, pipe_table
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import WORDS, Section, sections

HINT = "; --format json has all"


def to_markdown(report: Report, names: Sequence[str] = ()) -> str:
    """Tables with their notes below them; of sections of notes alone those on top have their title in each line."""
    parts: list[str] = [f"# {report.suite}, profile {report.profile}", ""]
    for section in sections(report, names):
        lines = _table(section) if section.grid else _list(section)
        if parts[-1].startswith("- ") and not lines[0].startswith("- "):
            parts.append("")
        parts += lines
    return "\n".join([*parts, ""])


def _table(section: Section) -> list[str]:
    assert section.grid is not None
    notes = [bullet(note) for note in shown_notes(section)]
    return [
        *(f"**{escaped(section.full_title)}.**", "", *grid_lines(section.grid, section.words), ""),
        *([*notes, ""] if notes else ()),
    ]


def _list(section: Section) -> list[str]:
    notes = shown_notes(section)
    if section.place == "end":
        return [bullet(note) for note in notes]
    about = f", {section.caption}" * bool(section.caption)
    heads = [f"- **{escaped(section.full_title)}**{escaped(about) if i == 0 else ''}. " for i in range(len(notes))]
    return [head + escaped(note) for head, note in zip(heads, notes, strict=True)]


def shown_notes(section: Section) -> list[str]:
    """The notes as sentences, of many the first."""
    shown = capped(section.notes, section.most or len(section.notes), hint=HINT)
    return [note if note.endswith(".") else f"{note}." for note in shown]


def grid_lines(grid: Grid, words: frozenset[str] = frozenset()) -> list[str]:
    """A pipe table with words to the left."""
    return pipe_table(grid.header, grid.body, left=WORDS | words)
