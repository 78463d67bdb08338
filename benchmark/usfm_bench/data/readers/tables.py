"""A CSV file beside the images that says what they show."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from usfm_bench.data.readers.base import Options
from usfm_bench.data.readers.files import link_fault
from usfm_bench.errors import DataError, did_you_mean


class Table(Options):
    """A CSV file, relative to the data set's folder, with a row an image."""

    file: str
    id: str
    """Column that holds the image's `{id}`, its file name, or its file name without the ending."""
    label: str | None = None
    """Column of the class."""
    patient: str | None = None
    """Column of the patient."""


class Row(NamedTuple):
    """What a table says of one image."""

    label: str | None
    patient: str | None


def read_columns(path: Path, root: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A CSV file as text, stripped; other columns are dropped.

    Raises:
        DataError: not there, outside `root`, not a table, or without one of the columns.
    """
    columns = list(dict.fromkeys(columns))
    if not path.resolve().is_relative_to(root.resolve()):
        raise DataError(f"{path}: leaves the data set's folder.")
    if not path.is_file():
        raise DataError(link_fault(path, root.resolve()) or f"{path}: does not exist.")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except ValueError as error:  # pandas' parser errors and wrong encodings are ValueErrors
        raise DataError(f"{path}: cannot be read as a table: {error}") from None
    table = table.rename(columns=lambda name: str(name).strip())
    if missing := [name for name in columns if name not in table]:
        hints = "".join(did_you_mean(name, table.columns) for name in missing)
        raise DataError(f"{path}: column '{', '.join(missing)}' missing; found {list(table.columns)}.{hints}")
    return table[columns].map(str.strip)


def look_up(table: Table, root: Path, images: Iterable[tuple[str, str]]) -> tuple[dict[str, Row], list[str]]:
    """The rows of (name, id) pairs, by name, and the faults: images without a row, rows without an image.

    Raises:
        DataError: the table cannot be read; see `read_columns`.
    """
    path = root / table.file
    rows = read_columns(path, root, filter(None, (table.id, table.label, table.patient)))
    keys = rows[table.id]
    faults = [f"{path}: '{key}' has two rows." for key in dict.fromkeys(keys[keys.duplicated()])]
    by_key = dict(zip(keys, rows.to_dict("records"), strict=True))
    found, used = {}, set()
    for name, ident in images:
        known = [k for k in (ident, PurePosixPath(name).name, PurePosixPath(name).stem) if k in by_key]
        if not known:
            faults.append(f"{root / name}: has no row in '{table.file}'.")
            continue
        used.add(known[0])
        row = by_key[known[0]]
        found[name] = Row(row.get(table.label or "") or None, row.get(table.patient or "") or None)
        faults += [
            f"{path}: '{known[0]}': {column} is empty."
            for column in (table.label, table.patient)
            if column and not row[column]
        ]
    return found, faults + [f"{path}: '{key}' names no image." for key in by_key if key not in used]
