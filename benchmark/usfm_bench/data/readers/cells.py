"""Tables as text, checked cell by cell: no row, column or patient goes missing in silence.

A row that has more or fewer fields than the line of names is refused, as is a column with values and without a name:
guessing would move every value by one column, or drop the patients.
"""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from usfm_bench.core.errors import DataError
from usfm_bench.data.readers.workbooks import read_workbook

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5
_SEPARATORS = ",;\t"
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


class Cells(NamedTuple):
    """A table as it is written, stripped."""

    names: list[str]
    """Of the columns; empty where the table gives none."""
    rows: list[list[str]]
    lines: list[int]
    """Line of each row in the file, or its row in a workbook; the line of names is 1 as a rule."""


def read_table(
    path: Path,
    columns: Collection[str] | None = None,
    *,
    separator: str | None = ",",
    header: Sequence[str] = (),
    unnamed: bool = False,
    uneven: list[str] | None = None,
) -> pd.DataFrame:
    """A table as text; rows are numbered as in the file, lists are joined by NUL, and empty rows are left out.

    Args:
        path: `.xlsx`, `.parquet`, or else text in UTF-8, or in UTF-16 with a byte order mark.
        columns: those that are used, which may not come twice; None: all.
        separator: of text; a regular expression where it has several characters; None: the one of comma, semicolon and
            tab that the line of names has most of.
        header: names of the columns, where the file has no line of names.
        unnamed: a column that has values and no name is left out; otherwise it is refused.
        uneven: rows of another length are left out and named here; None: they are refused.

    Raises:
        DataError: not a table; a row of another length; a column without a name, or a name that comes twice.
    """
    import pandas as pd  # every start imports all readers; most need no table

    cells = _columns_named(path, _even(path, _read(path, separator, header), uneven), unnamed)
    used = set(cells.names if columns is None else columns)
    if twice := sorted({name for name in used if cells.names.count(name) > 1}):
        raise DataError(f"{path}: column {', '.join(map(repr, twice))} comes twice. Rename or delete one.")
    return pd.DataFrame(cells.rows, columns=cells.names, index=cells.lines, dtype=str)


def separator_of(text: str) -> str:
    """The one of comma, semicolon and tab that the first line with anything in it has most of."""
    first = re.sub('"[^"]*"', "", next(filter(str.strip, io.StringIO(text)), ""))
    return max(_SEPARATORS, key=first.count)


def capped(faults: Sequence[str]) -> str:
    """The first few faults, a line each, and how many more there are."""
    more = [f"... and {len(faults) - _SHOWN} more."] if len(faults) > _SHOWN else []
    return "\n".join([*faults[:_SHOWN], *more])


def point_hint(value: str) -> str:
    """What to do about a decimal comma, where there is one."""
    return "; write it with a point" if "," in value else ""


# ---- how each kind of file becomes cells -----------------------------------------------------------------------------


def _read(path: Path, separator: str | None, header: Sequence[str]) -> Cells:
    if path.suffix.lower() == ".xlsx":
        lines = read_workbook(path)
    elif path.suffix.lower() == ".parquet":
        lines = _parquet(path)
    else:
        text = _decoded(path)
        lines = list(_lines(path, text, separator or separator_of(text)))
    filled = [(i, [cell.strip() for cell in row]) for i, row in lines if any(map(str.strip, row))]
    names = list(header) or (filled.pop(0)[1] if filled else [])
    return Cells([*map(str.strip, names)], [row for _, row in filled], [i for i, _ in filled])


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a table: {error.strerror}.") from None
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: cannot be read as a table: line {line} is not {'UTF-16' if marked else 'UTF-8'}. "
            "Save it as CSV in UTF-8."
        ) from None
    if "\0" in text:
        raise DataError(f"{path}: cannot be read as a table: it holds NUL characters. Save it as CSV in UTF-8.")
    return text


def _lines(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Number of the line that each row begins in, and its fields."""
    if len(separator) > 1:
        for i, line in enumerate(io.StringIO(text, newline=None), start=1):
            yield i, re.split(separator, line.strip())
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    start = 1
    try:
        for row in reader:
            yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as a table: line {start}: {error}.") from None


def _parquet(path: Path) -> list[tuple[int, list[str]]]:
    """Every stored column, also one that pandas keeps as its index."""
    import pyarrow.parquet as pq  # every start imports all readers; most need no table

    try:
        table = pq.ParquetFile(path).read()
        columns = [column.to_pylist() for column in table.columns]
    except (OSError, ValueError) as error:  # Arrow's errors are among these
        raise DataError(f"{path}: cannot be read as a table: {error}") from None
    names = ["" if _PANDAS_INDEX.fullmatch(name) else name for name in table.column_names]
    rows = ([_text(path, *cell) for cell in zip(names, row, strict=True)] for row in zip(*columns, strict=True))
    return [(1, names), *enumerate(rows, start=2)]


def _text(path: Path, column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, list):
        return "\0".join(filter(None, (_text(path, column, part) for part in value)))
    if isinstance(value, (dict, bytes)):
        raise DataError(f"{path}: column '{column}' holds {type(value).__name__} values, not text or numbers.")
    return str(value)


# ---- no cell is lost -------------------------------------------------------------------------------------------------


def _even(path: Path, cells: Cells, uneven: list[str] | None) -> Cells:
    """Every row with as many fields as there are names; separators at the end of a line add nothing."""
    n = len(cells.names)
    rows = [row[:n] if not any(row[n:]) else row for row in cells.rows]
    if rows and {len(row) for row in rows} == {n + 1}:  # as R's write.table writes the names of rows
        if _are_row_numbers([row[0] for row in rows]):
            return Cells(cells.names, [row[1:] for row in rows], cells.lines)
        raise DataError(
            f"{path}: every row has {n + 1} fields, the line of names {n}: a column has no name, the first if R wrote "
            f"the table ('{rows[0][0]}' in line {cells.lines[0]}). Name it in the first line (such as `patient`), or "
            f"delete it.{other_separator(cells.names)}"
        )
    wrong = [(i, len(row)) for i, row in zip(cells.lines, rows, strict=True) if len(row) != n]
    faults = [f"{path}, line {i}: has {fields} fields, the line of names has {n}." for i, fields in wrong]
    if uneven is not None:
        uneven += faults
        kept = [i for i, row in enumerate(rows) if len(row) == n]
        return Cells(cells.names, [rows[i] for i in kept], [cells.lines[i] for i in kept])
    if faults:
        hint = other_separator(cells.names) or " A value that holds the separator needs quotes around it."
        raise DataError(capped(faults) + hint)
    return Cells(cells.names, rows, cells.lines)


def other_separator(names: Sequence[str]) -> str:
    """What to do where the line of names looks parted by another character than it was parted by, or nothing."""
    found = separator_of(names[0]) if len(names) == 1 else None
    return f" The names look parted by {found!r}: say so with `separator`." if found and found in names[0] else ""


def _columns_named(path: Path, cells: Cells, unnamed: bool) -> Cells:
    """Without the columns that have no name: empty ones, and numbers of rows as R and pandas write them."""
    kept = []
    for i, name in enumerate(cells.names):
        column = [row[i] for row in cells.rows]
        if not name and any(column) and not unnamed and not _are_row_numbers(column):
            line, value = next((line, v) for line, v in zip(cells.lines, column, strict=True) if v)
            raise DataError(
                f"{path}: column {i + 1} has no name and holds '{value}' in line {line}, as R writes the names of "
                "rows. Name it in the first line (such as `patient`), or delete it."
            )
        kept += [i] if name else []
    return Cells([cells.names[i] for i in kept], [[row[i] for i in kept] for row in cells.rows], cells.lines)


def _are_row_numbers(column: Sequence[str]) -> bool:
    """0, 1, 2 ... or 1, 2, 3 ...: they say nothing, and no two rows share one."""
    return any(column == [str(i + first) for i in range(len(column))] for first in (0, 1))
