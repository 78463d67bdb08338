"""A CSV or Parquet file that lists images: `path,label` and, where known, `patient,mask,spacing_y,spacing_x,split`."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from usfm_bench.csv_cells import unguarded
from usfm_bench.data.readers.base import READERS, FolderReader, Options, missing_folder, read_grey, read_options
from usfm_bench.data.readers.files import name_key
from usfm_bench.data.readers.mask_values import HALF, Values
from usfm_bench.data.sample import Case, Sample, Side, Spacing
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("path", "label", "patient", "mask", "spacing_y", "spacing_x", "split")


class ListOptions(Options):
    """Options of the layout `manifest`."""

    values: Values = HALF
    """Which levels of a mask are the lesion."""


@READERS.register("manifest")
class ManifestReader(FolderReader):
    """Paths are relative to the list's folder and may not leave it."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root.parent)
        self._list, self._options = root, read_options(spec, ListOptions)
        self._spacing: dict[str, Spacing] = {}

    def cases(self) -> list[Case]:
        """One case a row, in the order of the list; every faulty row is named in `faults`."""
        table = self._read()
        rows = table.to_dict("records")
        wrong = [self._faults(row) for row in rows]
        self.faults = [f"{self._list.name}, row {i + 2}: {fault}" for i, faults in enumerate(wrong) for fault in faults]
        self.faults += [
            f"{self._list.name}: '{path}' is listed twice." for path in table["path"][_same_file(table["path"])]
        ]
        for column in ("patient", "split"):
            given = table[column] != "" if column in table else None
            if given is not None and given.any():
                self.faults += [f"{self._list.name}, row {i + 2}: {column} is empty." for i in table.index[~given]]
        return [self._case(row) for row, faults in zip(rows, wrong, strict=True) if not faults]

    def load(self, case: Case) -> Sample:
        """Image by luminance; mask where the list names one."""
        assert case.image is not None
        image = read_grey(case.image)
        mask = self.read_mask(case, image.shape, self._options.values) if case.masks else None
        return Sample(case, image, mask, self._spacing.get(case.case_id))

    def _read(self) -> pd.DataFrame:
        if not self._list.is_file():
            raise DataError(missing_folder(self.spec, self._list))
        import pandas as pd  # every start imports all readers; most need no table

        parquet = self._list.suffix.lower() == ".parquet"
        try:
            table = (
                pd.read_parquet(self._list) if parquet else pd.read_csv(self._list, dtype=str, keep_default_na=False)
            )
        except ValueError as error:
            raise DataError(f"{self._list}: cannot be read as a table: {error}") from None
        needed = {"path", "label"} if "classification" in self.spec.tasks else {"path"}
        if missing := needed - set(table.columns):
            raise DataError(
                f"{self._list}: column {' and '.join(sorted(missing))} missing; found {list(table.columns)}."
            )
        if strange := [str(name) for name in table.columns if name not in _COLUMNS]:
            hints = "".join(did_you_mean(name.lower(), _COLUMNS) for name in strange)
            raise DataError(f"{self._list}: unknown column {', '.join(strange)}; known: {', '.join(_COLUMNS)}.{hints}")
        text: pd.DataFrame = table.astype(str).where(table.notna(), "")
        return text.map(str.strip).map(unguarded)

    def _faults(self, row: dict[Any, str]) -> list[str]:
        faults = []
        for column in ("path", "mask"):
            name = row.get(column, "")
            if not name and column == "mask":
                continue
            path = self.root / name
            if not name or "\0" in name:
                faults.append(f"{column} is empty.")
            elif Path(name).is_absolute() or not path.resolve().is_relative_to(self.root.resolve()):
                faults.append(f"{column} '{name}' leaves the list's folder.")
            elif not path.is_file():
                faults.append(f"{column} '{name}' does not exist.")
        if bool(row.get("spacing_y")) != bool(row.get("spacing_x")):
            faults.append("spacing_y and spacing_x belong together; one is empty.")
        if row.get("split") and row["split"] not in get_args(Side):
            faults.append(f"split '{row['split']}' is not one of {', '.join(get_args(Side))}.")
        label = row.get("label")
        if not label and "classification" in self.spec.tasks:
            faults.append("label is empty.")
        elif self.spec.classes and label not in self.spec.classes:
            faults.append(f"label '{label}' is not one of {', '.join(self.spec.classes)}.")
        return faults + [
            f"{column} '{row[column]}' is not a positive number of millimetres."
            for column in ("spacing_y", "spacing_x")
            if row.get(column) and not _positive(row[column])
        ]

    def _case(self, row: dict[Any, str]) -> Case:
        folder, name = self.root, row["path"]
        if row.get("spacing_y") and row.get("spacing_x"):
            self._spacing[name] = Spacing(float(row["spacing_y"]), float(row["spacing_x"]))
        masks = (folder / row["mask"],) if row.get("mask") else ()
        return Case(
            name,
            row.get("label") or None,
            folder / name,
            masks,
            patient=row.get("patient") or None,
            organ=self.spec.organ,
            split=cast(Side, row["split"]) if row.get("split") else None,
        )


def _same_file(paths: pd.Series[str]) -> pd.Series[bool]:
    return paths.map(posixpath.normpath).map(name_key).duplicated()


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
