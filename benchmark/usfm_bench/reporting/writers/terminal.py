"""A report as tables that fit the width of a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from usfm_bench.core.pipe_table import Grid, printable
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import WORDS, Section, sections
from usfm_bench.reporting.writers.markdown import shown_notes

_GAP = 2  # characters between columns
_KEYS = ("Dataset", "Model")
_BREAK = re.compile(r" (?=[\[(])|(?<=\]) ")


def draw(report: Report, console: Console, names: Sequence[str] = ()) -> None:
    """Print the sections of a report; wide tables go on below, with their data sets and models repeated."""
    console.print(Text(printable(f"{report.suite}, profile {report.profile}"), style="bold"))
    for section in sections(report, names):
        for part in _parts(section, console.width):
            console.print(part)


def _parts(section: Section, width: int) -> Iterator[RenderableType]:
    if section.grid or section.place == "top":
        about = f", {section.caption}" if section.caption and not section.grid else ""
        yield Text("\n").append(Text(printable(section.full_title), style="bold")).append(printable(about))
    if section.grid:
        yield from _tables(section.grid, WORDS | section.words, width)
    if notes := shown_notes(section):
        yield _list(notes)


def _list(notes: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for note in notes:
        table.add_row("-", Text(printable(note)))
    return table


def _tables(grid: Grid, words: frozenset[str], width: int) -> Iterator[RenderableType]:
    """The grid in one table, with its cells on several lines where that fits, or else in several tables."""
    header, body = [printable(head) for head in grid.header], [[printable(c) for c in line] for line in grid.body]
    header, body = _filled(header, body)
    if sum(_widths(header, body)) > width:
        header = [_stacked(head) for head in header]
        body = [[c if head == "Model" else _stacked(c) for head, c in zip(header, line, strict=True)] for line in body]
    widths = _widths(header, body)
    keys = [i for i, head in enumerate(header) if head in _KEYS]
    for i in keys:  # long names are folded, so that numbers have room
        widths[i] = min(widths[i], max(12, width // 3))
    for chosen in _chunks(widths, keys, width):
        yield _table(header, body, chosen, [min(widths[i], width) for i in chosen], words)
        yield Text("")


def _stacked(cell: str) -> str:
    """`71.2 [66.0, 76.4] best` and `busi (LEAKS)` on several lines."""
    return _BREAK.sub("\n", cell)


def _filled(header: list[str], body: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns that are empty in every line."""
    kept = [i for i in range(len(header)) if any(line[i] for line in body)]
    return [header[i] for i in kept], [[line[i] for i in kept] for line in body]


def _widths(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[int]:
    """Of the columns with the gap behind them."""
    columns = zip(header, *body, strict=True)
    return [_GAP + max(cell_len(part) for cell in column for part in cell.split("\n")) for column in columns]


def _chunks(widths: Sequence[int], keys: Sequence[int], width: int) -> Iterator[list[int]]:
    """Columns that fit beside the keys; at least one in each chunk."""
    chunk, left = list(keys), width - sum(widths[i] for i in keys)
    for i in range(len(widths)):
        if i in keys:
            continue
        if widths[i] > left and len(chunk) > len(keys):
            yield chunk
            chunk, left = list(keys), width - sum(widths[k] for k in keys)
        chunk.append(i)
        left -= widths[i]
    yield chunk


def _table(
    header: Sequence[str],
    body: Sequence[Sequence[str]],
    chosen: Sequence[int],
    widths: Sequence[int],
    words: frozenset[str],
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, _GAP, 0, 0), collapse_padding=True)
    for i, width in zip(chosen, widths, strict=True):
        side: Literal["left", "right"] = "left" if header[i].replace("\n", " ") in words else "right"
        table.add_column(Text(header[i]), justify=side, overflow="fold", max_width=width - _GAP)
    stacked = any("\n" in line[i] for line in body for i in chosen)
    for line in body:
        style = "bold" if any(line[i].endswith("best") for i in chosen) else None
        table.add_row(*(Text(line[i]) for i in chosen), style=style, end_section=stacked)
    return table
