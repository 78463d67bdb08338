"""What the cases of a report are told apart by: columns of their scores, or of the tables that come with a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from usfm_bench.core.errors import BenchError, did_you_mean
from usfm_bench.data.readers.cells import read_table
from usfm_bench.data.readers.tables import Table, key_finder, own_tables
from usfm_bench.results.frames import ModelResults
from usfm_bench.specs.dataset import DatasetSpec

SIZE, CLASS, SEEN = "size", "class", "seen"
"""Columns that need no table: the lesion's size in fifths, the class, and whether the weights saw the image."""
MOST = 20
"""Values of a column of words; more are names, which no report shows."""
_FIFTHS = 5
_MISSING = {"", "-", "?", "na", "n/a", "nan", "none", "null", "unknown"} | {
    f"not {word}" for word in ("available", "applicable", "stated")
}


@dataclass(frozen=True)
class Column:
    """A column over the cases of one model on one data set."""

    name: str
    values: tuple[str | None, ...]
    """(C,) in the order of `case_table`; None where it is missing."""
    order: tuple[str, ...]
    """The values in the order of display."""


def column_of(results: ModelResults, name: str, registry: Mapping[str, DatasetSpec], data_root: Path) -> Column:
    """A column by its name, whatever its case.

    Numbers of more than five values are cut into fifths of equally many cases. What a table calls not available, or
    leaves empty, is missing.

    Args:
        results: of one model on one data set.
        name: `size`, `class`, `seen` where a card of the weights says which images they saw, or a column of the table
            that the registry entry of the data set names.
        registry: all data sets.
        data_root: where their paths are resolved.

    Raises:
        BenchError: there is no such column (the nearest is suggested), its table is not here, or it names cases.
    """
    if name.lower() == CLASS:
        labels = [None if label is None else str(label) for label in results.case_table["class"].tolist()]
        return Column(CLASS, tuple(labels), tuple(sorted({label for label in labels if label is not None})))
    if name.lower() == SIZE and "target_px" in results.case_table:
        pixels = results.case_table["target_px"].to_numpy(np.float64)
        return _fifths(SIZE, [float(n) if n > 0 else None for n in pixels], " px")
    if name.lower() == SEEN and SEEN in results.case_table:
        words = ["seen" if seen else "not seen" for seen in results.case_table[SEEN].tolist()]
        return Column(SEEN, tuple(words), ("not seen", "seen"))
    dataset = results.first.spec.dataset.name.partition("@")[0]
    title, read = _from_tables(dataset, name, registry, data_root)
    return parsed(title, [read(str(case)) for case in results.case_table["case_id"]], dataset)


def parsed(name: str, texts: Sequence[str | None], dataset: str) -> Column:
    """Texts as a column: words, few numbers, or fifths of many.

    Raises:
        BenchError: so many words that they name cases.
    """
    values = [None if text is None or text.strip().lower() in _MISSING else text.strip() for text in texts]
    distinct = {value for value in values if value is not None}
    numbers = {value: number for value in distinct if (number := _number(value)) is not None}
    if distinct and len(numbers) == len(distinct):
        if len(set(numbers.values())) > _FIFTHS:
            return _fifths(name, [None if value is None else numbers[value] for value in values], "")
        return Column(name, tuple(values), tuple(sorted(distinct, key=numbers.__getitem__)))
    if len(distinct) > MOST:
        raise BenchError(
            f"Dataset '{dataset}': column '{name}' has {len(distinct)} values, so that it names cases or patients. "
            f"--by takes columns of at most {MOST} values, and numbers."
        )
    return Column(name, tuple(values), tuple(sorted(distinct)))


def _from_tables(
    dataset: str, name: str, registry: Mapping[str, DatasetSpec], data_root: Path
) -> tuple[str, Callable[[str], str | None]]:
    """The column's own name, and what reads it by case id."""
    spec = registry.get(dataset)
    tables = own_tables(spec.options) if spec is not None else []
    known = [SIZE, CLASS]
    for table in tables:
        assert spec is not None
        path = data_root / spec.path / table.file
        if not path.is_file():
            raise BenchError(
                f"Dataset '{dataset}': {path} is not here, which may have a column '{name}'. --data-root says where "
                "data sets lie."
            )
        rows = read_table(path, [], separator=table.separator, header=table.header, unnamed=True)
        hidden = {table.id, table.patient}
        own = [str(each) for each in rows.columns if each not in hidden]
        known += own
        match = next((each for each in own if each.lower() == name.lower()), None)
        if match is not None:
            return match, _reader(dict(zip(rows[table.id], rows[match], strict=True)), table)
    where = f"its table has {', '.join(known[2:])}; " if len(known) > 2 else "it comes with no table; "
    raise BenchError(
        f"Dataset '{dataset}' has no column '{name}'.{did_you_mean(name, known)} --by takes {SIZE} (of lesions), "
        f"{CLASS}, {SEEN} (of weights with a card), and columns of the table that its registry entry names: {where}ids "
        "and patients are not taken."
    )


def _reader(rows: Mapping[str, str], table: Table) -> Callable[[str], str | None]:
    find = key_finder(rows)

    def read(case_id: str) -> str | None:
        key = find(case_id, PurePosixPath(case_id).stem)
        return None if key is None else rows[key]

    return read


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _fifths(name: str, values: Sequence[float | None], unit: str) -> Column:
    """Ranges with equally many cases each, as far as equal values allow."""
    there = np.array([value for value in values if value is not None])
    if not len(there):
        return Column(name, tuple(None for _ in values), ())
    edges = np.unique(np.quantile(there, np.linspace(0, 1, _FIFTHS + 1)))
    n = max(1, len(edges) - 1)
    shown = [f"{edge:.0f}" if abs(edge) >= 1000 else f"{edge:.4g}" for edge in edges]
    words = [f"{shown[i]} to {shown[min(i + 1, len(edges) - 1)]}{unit}" for i in range(n)]
    inner = edges[1:-1]
    found = [None if v is None else words[int(np.searchsorted(inner, v, side="left"))] for v in values]
    return Column(name, tuple(found), tuple(words))
