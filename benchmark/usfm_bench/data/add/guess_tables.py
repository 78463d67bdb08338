"""Tables beside the images: which column names the images, the class, the patient and the side."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from usfm_bench.core.errors import DataError
from usfm_bench.data.add.found_files import Files
from usfm_bench.data.readers.cells import read_table
from usfm_bench.data.readers.patterns import SIDES, compile_pattern
from usfm_bench.data.readers.tables import key_finder

_LABEL_WORDS = (
    "label class diagnosis pathology category classification type target labels classes labelname classname tumortype "
    "malignancy finding outcome klasse diagnose befund clase classe diagnostico etiqueta pathologie patologia y"
)
_PATIENT_WORDS = (
    "patient patientid patientno patientnr patientnumber pid subject subjectid paciente idpaciente patienten "
    "patientennummer patientenid person case caseid casenumber"
)
_LABELS, _PATIENTS = _LABEL_WORDS.split(), _PATIENT_WORDS.split()
_SIDES = ("split", "set", "subset", "partition", "side", "fold", "phase", "usage")
_MOST_CLASSES, _LEAST_ROWS, _MOST_TABLES = 50, 3, 12


class Columns(NamedTuple):
    """What a table seems to say."""

    options: dict[str, Any]
    """Of the reader's `label_from`."""
    label: str | None
    patient: str | None


def label_tables(files: Files, pattern: str, names: Sequence[str]) -> Iterator[Columns]:
    """Tables in which one column names most of the images, and another the class, the patient or the side.

    Args:
        files: what lies there.
        pattern: of the images, with `{id}`.
        names: of the images.
    """
    compiled = compile_pattern(pattern)
    idents = {name: match["id"] for name in names if (match := compiled.fullmatch(name))}
    for file in files.tables[:_MOST_TABLES]:
        table = None if file.lower().endswith(".parquet") else read_raw(files.all[file])
        ids = None if table is None else column_of(table, idents)
        if table is None or ids is None:
            continue
        label, patient = _label_of(table, ids), _called(table, _PATIENTS, ids)
        side = next((name for name in _all_called(table, _SIDES, ids) if _holds_sides(table[name])), None)
        named = {"label": label, "patient": patient, "split": side}
        if label or patient or side:
            yield Columns({"file": file, "id": ids} | {k: v for k, v in named.items() if v}, label, patient)


def column_of(table: pd.DataFrame, idents: dict[str, str]) -> str | None:
    """The column that holds the ids, names or paths of most images."""
    hits = {}
    for column in table:
        find = key_finder(table[column])
        hits[str(column)] = sum(find(name, ident) is not None for name, ident in idents.items())
    best = max(hits, key=lambda column: hits[column], default=None)
    return best if best is not None and 2 * hits[best] >= len(idents) else None


def read_raw(path: Path) -> pd.DataFrame | None:
    """A table as text; None where it is no table."""
    try:
        return read_table(path, (), separator=None)
    except DataError:
        return None


def _label_of(table: pd.DataFrame, ids: str) -> str | None:
    """The column of the class: called so, with a few values; one whose values are all frequent comes first."""
    names = [name for name in _all_called(table, _LABELS, ids) if _holds_classes(table[name])]
    usual = [name for name in names if table[name].value_counts().min() >= _LEAST_ROWS]
    return next(iter(usual or names), None)


def _holds_classes(column: pd.Series[str]) -> bool:
    n = column.nunique()
    return 2 <= n <= min(_MOST_CLASSES, len(column) // _LEAST_ROWS)


def _holds_sides(column: pd.Series[str]) -> bool:
    values = set(column.str.lower())
    return values <= SIDES.keys() and len({SIDES[value] for value in values}) > 1


def _called(table: pd.DataFrame, names: Sequence[str], ids: str) -> str | None:
    return next(iter(_all_called(table, names, ids)), None)


def _all_called(table: pd.DataFrame, names: Sequence[str], ids: str) -> list[str]:
    """Columns that are called so, whatever their case, spaces, underscores and accents, in the order of `names`."""
    plain = {_plain(str(column)): str(column) for column in table if column != ids}
    return [plain[name] for name in names if name in plain]


def _plain(name: str) -> str:
    """`Patient ID` and `patient_id` are `patientid`."""
    bare = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", bare.lower())
