"""The first sheet of an Excel workbook (`.xlsx`), as text.

By hand, since calamine, behind `pandas.read_excel`, makes room for every cell up to the last one: a file of 2 KB with
a value in the last cell of the sheet ends the process. ECMA-376, part 1, section 18.3.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from usfm_bench.core.errors import DataError

_MOST = 64_000_000
"""Bytes of one unpacked part; a tiny file can claim any."""
_COLUMNS, _MOST_CELLS = (
    16_384,
    10_000_000,
)  # of a sheet, as Excel has them; of all rows with the gaps between their cells
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_NAMESPACE = re.compile(r"\{.*\}")


def read_workbook(path: Path) -> list[tuple[int, list[str]]]:
    """Number and cells of every row, all of one length; an empty cell is empty text, a whole number has no point.

    Raises:
        DataError: no workbook, or one too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            shared = [_text(item) for item in _part(archive, "xl/sharedStrings.xml") if item.tag == "si"]
            rows = [row for row in _part(archive, _first_sheet(archive)) if row.tag == "row"]
            lines = [(int(row.get("r") or i), _line(row, shared)) for i, row in enumerate(rows, start=1)]
        width = 1 + max((i for _, line in lines for i in line), default=-1)
        if width > _COLUMNS or width * len(lines) > _MOST_CELLS:
            raise ValueError(f"it claims {len(lines)} rows and {width} columns, most of them empty")
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise DataError(f"{path}: cannot be read as a workbook: {error}. Save it as CSV.") from None
    return [(number, [line.get(i, "") for i in range(width)]) for number, line in lines]


def _first_sheet(archive: zipfile.ZipFile) -> str:
    """Path of the sheet whose tab comes first; parts are numbered as they were made."""
    sheet = next((element for element in _part(archive, "xl/workbook.xml") if element.tag == "sheet"), None)
    ident = None if sheet is None else sheet.get(_RELATION)
    for link in _part(archive, "xl/_rels/workbook.xml.rels"):
        if link.tag == "Relationship" and link.get("Id") == ident:
            target = link.get("Target", "")
            return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
    raise ValueError("it has no sheet")


def _part(archive: zipfile.ZipFile, name: str) -> Iterator[ElementTree.Element]:
    if name not in archive.namelist() and name.endswith("sharedStrings.xml"):
        return
    if archive.getinfo(name).file_size > _MOST:
        raise ValueError(f"'{name}' has more than {_MOST / 1e6:g} MB")
    for element in ElementTree.fromstring(archive.read(name)).iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        yield element


def _line(row: ElementTree.Element, shared: list[str]) -> dict[int, str]:
    """Position of the column -> text."""
    cells = {}
    for i, cell in enumerate(row):
        value = next((_text(child) for child in cell if _NAMESPACE.sub("", child.tag) in ("v", "is")), "")
        if cell.get("t") == "s" and value:
            value = shared[int(value)]
        elif cell.get("t") in (None, "n") and re.fullmatch(r"-?\d+\.0+", value):
            value = value.partition(".")[0]
        cells[_column(cell.get("r", ""), i)] = value
    return cells


def _column(reference: str, otherwise: int) -> int:
    """`C7` is 2."""
    letters = reference.rstrip("0123456789")
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1 if letters else otherwise


def _text(element: ElementTree.Element) -> str:
    return "".join(part.text or "" for part in element.iter() if _NAMESPACE.sub("", part.tag) in ("t", "v"))
