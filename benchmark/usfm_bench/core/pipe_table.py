"""GitHub's pipe tables, padded so that they also read well in a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple


class Grid(NamedTuple):
    """A table as text, whatever it is written as."""

    header: list[str]
    body: list[list[str]]
    of: tuple[tuple[str, str] | None, ...] = ()
    """Data set and model whose trials a line's numbers come from; None where it is not of one model's trials."""


def marked(grid: Grid, names: Collection[str], mark: str) -> Grid:
    """The grid with a mark behind these data sets, in their column and in headings such as `Rank on busi`."""
    if not names or not grid.header:
        return grid
    heads = [f"{head} {mark}" if head.removeprefix("Rank on ") in names else head for head in grid.header]
    of_data = grid.header[0] in ("Dataset", "Source")
    body = [
        [f"{line[0]} {mark}", *line[1:]] if of_data and line[0].removesuffix(" (synthetic)") in names else line
        for line in grid.body
    ]
    return Grid(heads, body, grid.of)


def marked_models(grid: Grid, pairs: Collection[tuple[str, str]], mark: str) -> Grid:
    """The grid with a mark behind the model of the lines whose numbers come from these data sets and models."""
    if not pairs or "Model" not in grid.header:
        return grid
    column = grid.header.index("Model")
    body = [
        [*line[:column], f"{line[column]} {mark}", *line[column + 1 :]] if of in pairs else line
        for line, of in zip(grid.body, grid.of or [None] * len(grid.body), strict=True)
    ]
    return Grid(grid.header, body, grid.of)


def pipe_table(header: Sequence[str], body: Iterable[Sequence[str]], left: Collection[str]) -> list[str]:
    """Lines of a table; the columns in `left` to the left, figures to the right."""
    lines = [[escaped(cell) for cell in line] for line in (header, *body)]
    widths = [max(2, *(len(line[i]) for line in lines)) for i in range(len(header))]  # a rule needs a dash and a colon
    rule = [
        ":" + "-" * (w - 1) if name in left else "-" * (w - 1) + ":" for name, w in zip(header, widths, strict=True)
    ]
    shown = [
        [cell.ljust(w) if name in left else cell.rjust(w) for name, cell, w in zip(header, line, widths, strict=True)]
        for line in lines
    ]
    return [f"| {' | '.join(line)} |" for line in (shown[0], rule, *shown[1:])]


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line; backticks stay, since notes quote commands in them."""
    plain = printable(text).replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("](", "]\\(")
    plain = re.sub(r"&(?=#?\w+;)", "&amp;", plain)
    plain = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)
    plain = plain.replace("~", "\\~").replace("$", "\\$")
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", plain)


def bullet(text: str) -> str:
    """A line of a list that shows the text as it is, whatever list, heading or box the text seems to begin."""
    return "- " + re.sub(r"^(\s*\d*)([#>+=\-.)\[])", r"\1\\\2", escaped(text))


def printable(text: str) -> str:
    """Without control characters, which a terminal would obey and XML forbids, and on one line.

    Those that turn the direction of what follows are among them. Joiners and the like stay, since scripts need them.
    """
    return "".join(" " if unicodedata.category(c) in _UNPRINTABLE or c in _OTHERS else c for c in text)


def printable_lines(text: str) -> str:
    """Every line of a text `printable`."""
    return "\n".join(map(printable, text.split("\n")))


_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
_OTHERS = "\ufffe\uffff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
