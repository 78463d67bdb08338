"""A table that lists images: `path,label` and, where known, `patient,mask,good,spacing_y,spacing_x,split`.

`good` is the same view in higher quality.

CSV (also with semicolons or tabs), Parquet or the first sheet of a workbook.
"""

from __future__ import annotations

import posixpath
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from usfm_bench.core.csv_cells import unguarded
from usfm_bench.core.errors import DataError, did_you_mean
from usfm_bench.data.alike import alike, only_one
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, FolderReader, MaskFileOptions, missing_folder, read_options
from usfm_bench.data.readers.cells import point_hint, read_table
from usfm_bench.data.readers.files import list_files, name_key
from usfm_bench.data.readers.pairs import with_good
from usfm_bench.data.sample import Case, Sample, Side, Spacing, sample_of
from usfm_bench.specs.dataset import DatasetSpec

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("path", "label", "patient", "mask", "good", "spacing_y", "spacing_x", "split")


class ListOptions(MaskFileOptions):
    """Options of the layout `manifest`."""

    no_mask: Literal["fault", "empty"] = "fault"
    """What an image without a mask in the list is, where a suite needs one: a fault, or an image without a lesion."""
    columns: tuple[str, ...] = ()
    """Further columns of the list, such as `Device` or `drawn_in_text`, which `report --by` tells cases apart by."""


@READERS.register("manifest")
class ManifestReader(FolderReader):
    """Paths are relative to the list's folder and may not leave it."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self._list, self._options = root, read_options(spec, ListOptions)
        super().__init__(spec, root.parent, self._options)
        self._spacing: dict[str, Spacing] = {}
        self._good: dict[str, Path] = {}

    def cases(self) -> list[Case]:
        """One case a row, in the order of the list; every faulty row is named in `faults`."""
        table = self._read()
        rows = table.to_dict("records")
        wrong = [self._faults(row) for row in rows]
        numbered = zip(table.index, rows, wrong, strict=True)
        self.faults = [
            Fault(f"{self._list.name}, row {i}: {fault}", row["path"])
            for i, row, faults in numbered
            for fault in faults
        ]
        self.faults += [
            Fault(f"{self._list.name}: '{path}' is listed twice.", path)
            for path in table["path"][self._again(table["path"])]
        ]
        for column in ("patient", "split"):
            given = table[column] != "" if column in table else None
            if given is not None and given.any():
                self.faults += [
                    Fault(f"{self._list.name}, row {i}: {column} is empty.", table["path"][i])
                    for i in table.index[~given]
                ]
        return [self._case(row) for row, faults in zip(rows, wrong, strict=True) if not faults]

    def load(self, case: Case) -> Sample:
        """Image by luminance; mask and good image where the list names them."""
        assert case.image is not None
        image = self.read_image(case.image)
        mask = None
        if case.masks or self._options.no_mask == "empty":
            mask = self.read_mask(case, image.shape, self._options.values)
        sample, good = sample_of(case, image, mask, self._spacing.get(case.case_id)), self._good.get(case.case_id)
        return sample if good is None else with_good(sample, self.read_image(good), good)

    def _read(self) -> pd.DataFrame:
        if not self._list.is_file():
            raise DataError(missing_folder(self.spec, self._list))
        table = read_table(self._list, separator=None)
        needed = {"path", "label"} if self.spec.needs("label") else {"path"}
        if missing := needed - set(table.columns):
            raise DataError(
                f"{self._list}: column {' and '.join(sorted(missing))} missing; found {list(table.columns)}."
            )
        further = self._options.columns
        if absent := [name for name in further if name not in table.columns]:
            near = "".join(did_you_mean(name, map(str, table.columns)) for name in absent)
            raise DataError(
                f"{self._list}: has no column {', '.join(absent)}, which `columns` of its entry names.{near}"
            )
        if strange := [str(name) for name in table.columns if name not in (*_COLUMNS, *further)]:
            hints = "".join(did_you_mean(name.lower(), _COLUMNS) for name in strange)
            raise DataError(
                f"{self._list}: unknown column {', '.join(strange)}; known: {', '.join(_COLUMNS)}.{hints} Others are "
                f"named in the entry: `options: {{columns: [{', '.join(strange)}]}}`; then `report --by` takes them."
            )
        return table.map(unguarded)

    def _faults(self, row: dict[Any, str]) -> list[str]:
        faults = []
        for column in ("path", "mask", "good"):
            names = [row["path"]] if column == "path" else row.get(column, "").split("\0")
            faults += [fault for name in names if (fault := self._path_fault(column, name))]
        if bool(row.get("spacing_y")) != bool(row.get("spacing_x")):
            faults.append("spacing_y and spacing_x belong together; one is empty.")
        if row.get("split") and row["split"] not in get_args(Side):
            faults.append(f"split '{row['split']}' is not one of {', '.join(get_args(Side))}.")
        label = row.get("label")
        if not label and self.spec.needs("label"):
            faults.append("label is empty.")
        elif self.spec.classes and label not in self.spec.classes:
            faults.append(f"label '{label}' is not one of {', '.join(self.spec.classes)}.")
        return faults + [
            f"{column} '{row[column]}' is not a positive number of millimetres{point_hint(row[column])}."
            for column in ("spacing_y", "spacing_x")
            if row.get(column) and not _positive(row[column])
        ]

    def _path_fault(self, column: str, name: str) -> str | None:
        if not name and (column == "mask" or (column == "good" and not self.spec.needs("pair"))):
            return None
        if not name or "\0" in name:
            return f"{column} is empty, or holds several names."
        if Path(name).is_absolute() or not (self.root / name).resolve().is_relative_to(self.root.resolve()):
            return f"{column} '{name}' leaves the list's folder."
        if self._file(name) is None:
            near = self._by_name.get(alike(posixpath.basename(name)))
            return f"{column} '{name}' does not exist." + (f" Did you mean '{near}'?" if near else "")
        return None

    def _again(self, names: pd.Series[str]) -> pd.Series[bool]:
        """Which rows name a file that an earlier one names, also on systems that cannot tell two names apart."""
        return names.map(lambda name: name_key(posixpath.normpath(self._file(name) or name))).duplicated()

    def _file(self, name: str) -> Path | None:
        """The file of this name, or else the one whose name differs in Unicode form, case or spaces alone."""
        path = self.root / name
        if "\0" in name or path.is_file():
            return path
        found = self._like.get(alike(posixpath.normpath(name)))
        return self.root / found if found else None

    @cached_property
    def _like(self) -> dict[str, str]:
        """What `alike` makes of a file's path -> the path."""
        return only_one(self._names)

    @cached_property
    def _by_name(self) -> dict[str, str]:
        """What `alike` makes of a file's name without its folder -> the path of one."""
        return {alike(posixpath.basename(name)): name for name in reversed(self._names)}

    @cached_property
    def _names(self) -> list[str]:
        return [path.relative_to(self.root).as_posix() for path in list_files(self.root, endings=None).files]

    def _case(self, row: dict[Any, str]) -> Case:
        name = row["path"]
        if row.get("spacing_y") and row.get("spacing_x"):
            self._spacing[name] = Spacing(float(row["spacing_y"]), float(row["spacing_x"]))
        if row.get("good") and (good := self._file(row["good"])):
            self._good[name] = good
        masks = [self._file(mask) for mask in row.get("mask", "").split("\0") if mask]
        return Case(
            name,
            row.get("label") or None,
            self._file(name),
            tuple(path for path in masks if path is not None),
            patient=row.get("patient") or None,
            organ=self.spec.organ,
            split=cast(Side, row["split"]) if row.get("split") else None,
        )


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
