"""Grids as sortable tables of a page: each cell with its text, what it sorts by, and where its number comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from usfm_bench.core.pipe_table import Grid
from usfm_bench.reporting.sections.base import WORDS, Section

_NUMBER = re.compile(r"([<>]?) *(-?\d+(?:\.\d+)?)")
_FILTERED = "Dataset"
_KINDS = dict.fromkeys(("formula", "source", "Predicted as"), "prose") | dict.fromkeys(("Model", "A", "B"), "name")


class Column(NamedTuple):
    """A column's heading."""

    name: str
    is_number: bool
    is_filter: bool
    """One of its values can be chosen."""
    kind: str
    """Class of its cells: `name` of models, `prose` of sentences, or nothing."""


class Cell(NamedTuple):
    """A cell's text and what it is sorted by."""

    text: str
    order: str


class Line(NamedTuple):
    """One line; `link` is the id of the row that says where its numbers come from."""

    cells: list[Cell]
    link: str | None


class Table(NamedTuple):
    """A table with its heading, caption and notes."""

    ident: str
    title: str
    caption: str
    columns: list[Column]
    lines: list[Line]
    notes: list[str]
    folded: bool


def table_of(section: Section, ident: str, title: str, links: Mapping[tuple[str, str], str]) -> Table:
    """A section with a grid as a table.

    Args:
        section: that has one.
        ident: of the element; unique on the page.
        title: its heading.
        links: (data set, model) to the id of the row that says where its numbers come from.
    """
    grid = section.grid or Grid([], [])
    left = WORDS | section.words
    several = len({line[0] for line in grid.body}) > 1
    columns = [
        Column(name, name not in left, several and name == _FILTERED, _KINDS.get(name, "")) for name in grid.header
    ]
    of = grid.of or (None,) * len(grid.body)
    lines = [
        Line([Cell(text, order_of(text)) for text in line], links.get(key) if key else None)
        for line, key in zip(grid.body, of, strict=True)
    ]
    return Table(ident, title, section.caption, columns, lines, list(section.notes), section.folded)


def order_of(text: str) -> str:
    """The number that a cell starts with; empty where it has none.

    >>> [order_of(text) for text in ("71.2 [66.0, 76.4]", "84.3 ± 0.17", "-8 %", "n/a", "no number")]
    ['71.2', '84.3', '-8.0', '', '']
    >>> float(order_of("< 0.001")) < 0.001
    True
    """
    match = _NUMBER.match(text)
    if match is None:
        return ""
    return repr(float(match[2]) + {"<": -1e-9, ">": 1e-9, "": 0.0}[match[1]])
