"""Tables beside the images that say what they show: CSV, other separators, or the first sheet of a workbook."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from usfm_bench.core.errors import DataError, did_you_mean
from usfm_bench.data.alike import alike, only_one
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import Options
from usfm_bench.data.readers.cells import other_separator, point_hint, read_table
from usfm_bench.data.readers.files import link_fault
from usfm_bench.data.readers.patterns import SIDES
from usfm_bench.data.sample import Side, Spacing

if TYPE_CHECKING:
    import pandas as pd

_MILLIMETRES = {"mm": 1.0, "cm": 10.0}


class Table(Options):
    """A file relative to the data set's folder, with a row an image: CSV, or `.xlsx`."""

    file: str
    id: str
    """Column that holds the image's `{id}` (with or without its zeros in front), its path or file name, or either
    without the ending."""
    label: str | None = None
    """Column of the class."""
    names: dict[str, str] = Field(default_factory=dict)
    """What the column holds -> the class; others are classes as they are."""
    patient: str | None = None
    """Column of the patient."""
    split: str | None = None
    """Column of the side that the data set prescribes."""
    sides: dict[str, Side] = Field(default_factory=dict)
    """What that column holds -> the side; `train`, `val`, `test` and the like need none."""
    side: Side | None = None
    """The side of every image of this table."""
    spacing: str | None = None
    """Column of the distance between pixels, the same down and across; empty where it is not known."""
    unit: Literal["mm", "cm"] = "mm"
    """Of `spacing`."""
    separator: str | None = None
    """A regular expression where it has more than one character, such as `\\s+`; None: the one of comma, semicolon and
    tab that the line of names has most of."""
    header: tuple[str, ...] = ()
    """Names of the columns, where the file has no line of names."""


def own_tables(options: Mapping[str, Any]) -> list[Table]:
    """The tables that an entry's reader is told of with `label_from`, and a list with further `columns`."""
    told = options.get("label_from")
    listed = told if isinstance(told, list) else [told]
    tables = [Table.model_validate(each) for each in listed if isinstance(each, dict)]
    return tables if not options.get("columns") else [*tables, Table(file="", id="path", patient="patient")]


class Row(NamedTuple):
    """What a table says of one image."""

    label: str | None = None
    patient: str | None = None
    side: Side | None = None
    spacing: Spacing | None = None


def read_columns(
    path: Path,
    root: Path,
    columns: Iterable[str],
    separator: str | None = ",",
    header: Sequence[str] = (),
    *,
    unnamed: bool = True,
    uneven: list[str] | None = None,
) -> pd.DataFrame:
    """A table as text, stripped; other columns are dropped, those without a name only where `unnamed` allows it, and
    rows of another length only where `uneven` takes their faults.

    Raises:
        DataError: not there, outside `root`, not a table (see `cells.read_table`), or without one of the columns.
    """
    columns = list(dict.fromkeys(columns))
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{path}: leaves the data set's folder.")
    if not path.is_file():
        raise DataError(link_fault(path, root.resolve()) or f"{path}: does not exist.")
    table = read_table(path, columns, separator=separator, header=header, unnamed=unnamed, uneven=uneven)
    if missing := [name for name in columns if name not in table]:
        hints = "".join(did_you_mean(name, table.columns) for name in missing) or other_separator(list(table.columns))
        raise DataError(f"{path}: column '{', '.join(missing)}' missing; found {list(table.columns)}.{hints}")
    return table[columns]


def look_up(tables: Sequence[Table], root: Path, images: Iterable[tuple[str, str]]) -> tuple[dict[str, Row], list[str]]:
    """The rows of (name, id) pairs, by name, and the faults: images without a row, rows without an image.

    Raises:
        DataError: a table cannot be read; see `read_columns`.
    """
    by_key: dict[str, tuple[Table, dict[Any, str]]] = {}
    faults: list[str] = []
    for table in tables:
        wanted = filter(None, (table.id, table.label, table.patient, table.split, table.spacing))
        rows = read_columns(
            root / table.file, root, wanted, table.separator, table.header, unnamed=table.patient is not None
        )
        twice = set(rows[table.id][rows[table.id].duplicated()]) | (by_key.keys() & set(rows[table.id]))
        faults += [f"{root / table.file}: '{key}' has two rows." for key in sorted(twice)]
        by_key |= {key: (table, row) for key, row in zip(rows[table.id], rows.to_dict("records"), strict=True)}
    near = only_one(by_key)
    found: dict[str, Row] = {}
    used: dict[str, str] = {}
    find = key_finder(by_key)
    for name, ident in images:
        path = PurePosixPath(name)
        loosely = (near.get(alike(form)) for form in (ident, path.name, path.stem, name))
        known = find(name, ident) or next(filter(None, loosely), None)
        if known is None:
            files = " or ".join(table.file for table in tables)
            faults.append(Fault(f"{root / name}: has no row in '{files}'.", name))
            continue
        first = used.setdefault(known, name)
        if first != name and known != ident:
            where = f"{root / by_key[known][0].file}: '{known}'"
            faults.append(Fault(f"{where} fits '{first}' and '{name}'. Write ids with their folder.", first, name))
        found[name], wrong = _row(*by_key[known])
        faults += [Fault(f"{root / by_key[known][0].file}: '{known}': {fault}", name) for fault in wrong]
    faults += [f"{root / by_key[key][0].file}: '{key}' names no image." for key in by_key if key not in used]
    return found, faults


def key_finder(keys: Iterable[str]) -> Callable[[str, str], str | None]:
    """Finds what a table calls an image, by the image's path and `{id}`; None where it is not in the table.

    Keys are ids (with or without zeros in front), file names or paths, with the ending or without. A path may be longer
    or shorter than the image's, as long as the one ends with the other.
    """
    whole: dict[str, str] = {}
    ends: dict[str, set[str]] = {}
    for key in keys:
        forms = _ends(key)
        whole |= {form: whole.get(form, key) for form in forms[:2]} | {key: key}
        for end in forms:
            ends.setdefault(end, set()).add(key)
    known = whole | {end: next(iter(found)) for end, found in ends.items() if len(found) == 1 and end not in whole}

    def find(name: str, ident: str) -> str | None:
        path = PurePosixPath(name)
        forms = (ident, path.name, path.stem, ident.lstrip("0") or ident[-1:], *_ends(name))
        shorter = next((whole[form] for form in forms if form in whole), None)
        return shorter or next((known[form] for form in _ends(name)[:2] if form in known), None)

    return find


def _ends(path: str) -> list[str]:
    """A path and its ends, the longest first, each with its ending and without: `a/b.png`, `a/b`, `b.png`, `b`."""
    parts = path.replace("\\", "/").removeprefix("./").split("/")
    ends = ["/".join(parts[i:]) for i in range(len(parts))]
    return list(dict.fromkeys(form for end in ends for form in (end, re.sub(r"(\.nii)?\.[A-Za-z]\w{0,4}$", "", end))))


def _row(table: Table, row: Mapping[Any, str]) -> tuple[Row, list[str]]:
    """What one row says, and what is wrong with it."""
    wanted = (table.label, table.patient, table.split)
    faults = [f"{column} is empty." for column in wanted if column and not row[column]]
    label = row[table.label] if table.label else ""
    side, spacing = table.side, None
    if table.split and (value := row[table.split]):
        side = table.sides.get(value) or SIDES.get(value.lower())
        if side is None:
            faults.append(f"'{value}' is no split; known: {', '.join([*table.sides, *SIDES])}.")
    if table.spacing and (value := row[table.spacing]):
        spacing = _spacing(value, table.unit)
        if spacing is None:
            faults.append(f"{table.spacing} '{value}' is no distance between pixels{point_hint(value)}.")
    patient = row[table.patient] if table.patient else ""
    return Row(table.names.get(label, label) or None, patient or None, side, spacing), faults


def _spacing(text: str, unit: str) -> Spacing | None:
    try:
        step = float(text) * _MILLIMETRES[unit]
    except ValueError:
        return None
    return Spacing(step, step) if 0 < step < math.inf else None
