"""A CSV or Parquet file that lists images: `path,label` and, where known, `patient,mask,spacing_y,spacing_x`."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any

import pandas as pd

from usfm_bench.data.readers.base import READERS, read_grey, read_mask
from usfm_bench.data.readers.busi import missing_folder
from usfm_bench.data.sample import Case, Sample, Spacing
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError, did_you_mean

_COLUMNS = ("path", "label", "patient", "mask", "spacing_y", "spacing_x")


@READERS.register("manifest")
class ManifestReader:
    """Paths are relative to the list's folder and may not leave it."""

    faults: tuple[str, ...] = ()

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self._spec, self._list = spec, root
        self._spacing: dict[str, Spacing] = {}

    def cases(self) -> list[Case]:
        """One case a row, in the order of the list; every faulty row is named in one error."""
        table = self._read()
        rows = table.to_dict("records")
        named = "patient" in table and bool((table["patient"] != "").any())
        faults = [
            f"{self._list.name}, row {i + 2}: {fault}" for i, row in enumerate(rows) for fault in self._faults(row)
        ]
        faults += [f"{self._list.name}: '{path}' is listed twice." for path in table["path"][_same_file(table["path"])]]
        if named:
            faults += [
                f"{self._list.name}, row {i + 2}: patient is empty." for i in table.index[table["patient"] == ""]
            ]
        if faults:
            raise DataError("\n".join(faults))
        return [self._case(row) for row in rows]

    def load(self, case: Case) -> Sample:
        """Image by luminance; mask where the list names one."""
        assert case.image is not None
        image = read_grey(case.image)
        mask = read_mask(case.masks, image.shape) if case.masks else None
        return Sample(case, image, mask, self._spacing.get(case.case_id))

    def _read(self) -> pd.DataFrame:
        if not self._list.is_file():
            raise DataError(missing_folder(self._spec, self._list))
        parquet = self._list.suffix.lower() == ".parquet"
        try:
            table = (
                pd.read_parquet(self._list) if parquet else pd.read_csv(self._list, dtype=str, keep_default_na=False)
            )
        except ValueError as error:
            raise DataError(f"{self._list}: cannot be read as a table: {error}") from None
        if missing := {"path", "label"} - set(table.columns):
            raise DataError(
                f"{self._list}: column {' and '.join(sorted(missing))} missing; found {list(table.columns)}."
            )
        if strange := [str(name) for name in table.columns if name not in _COLUMNS]:
            hints = "".join(did_you_mean(name.lower(), _COLUMNS) for name in strange)
            raise DataError(f"{self._list}: unknown column {', '.join(strange)}; known: {', '.join(_COLUMNS)}.{hints}")
        text: pd.DataFrame = table.astype(str).where(table.notna(), "")
        return text.map(str.strip)

    def _faults(self, row: dict[Any, str]) -> list[str]:
        faults = []
        for column in ("path", "mask"):
            name = row.get(column, "")
            if not name and column == "mask":
                continue
            path = self._list.parent / name
            if not name or "\0" in name:
                faults.append(f"{column} is empty.")
            elif Path(name).is_absolute() or not path.resolve().is_relative_to(self._list.parent.resolve()):
                faults.append(f"{column} '{name}' leaves the list's folder.")
            elif not path.is_file():
                faults.append(f"{column} '{name}' does not exist.")
        if bool(row.get("spacing_y")) != bool(row.get("spacing_x")):
            faults.append("spacing_y and spacing_x belong together; one is empty.")
        if not row["label"] and "classification" in self._spec.tasks:
            faults.append("label is empty.")
        elif self._spec.classes and row["label"] not in self._spec.classes:
            faults.append(f"label '{row['label']}' is not one of {', '.join(self._spec.classes)}.")
        return faults + [
            f"{column} '{row[column]}' is not a positive number of millimetres."
            for column in ("spacing_y", "spacing_x")
            if row.get(column) and not _positive(row[column])
        ]

    def _case(self, row: dict[Any, str]) -> Case:
        folder, name = self._list.parent, row["path"]
        if row.get("spacing_y") and row.get("spacing_x"):
            self._spacing[name] = Spacing(float(row["spacing_y"]), float(row["spacing_x"]))
        masks = (folder / row["mask"],) if row.get("mask") else ()
        return Case(
            name, row["label"], folder / name, masks, patient=row.get("patient") or None, organ=self._spec.organ
        )


def _same_file(paths: pd.Series[str]) -> pd.Series[bool]:
    return paths.map(posixpath.normpath).duplicated()


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
