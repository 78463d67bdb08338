"""The original layout of BUSI: `{benign,malignant,normal}/benign (1).png` with `_mask`, `_mask_1`, ... beside it."""

from __future__ import annotations

import re
from pathlib import Path

from usfm_bench.data.readers.base import READERS, read_grey, read_mask
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError

_MASK = re.compile(r"(?P<case>.+\))_mask(_\d+)?")


@READERS.register("busi")
class BusiReader:
    """Images with one or several masks; numbers may have gaps, and a partial copy is read as far as it goes."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self._spec, self._root = spec, root
        self.faults: list[str] = []

    def cases(self) -> list[Case]:
        """Every image of the data set's classes, by class and number."""
        if not self._root.is_dir():
            raise DataError(missing_folder(self._spec, self._root))
        cases, faults = [], []
        for label in self._spec.classes:
            found = self._cases_of(label)
            if not found:
                faults.append(f"{self._root / label}: no images; the class '{label}' would be empty.")
            faults += [
                f"{case.image}: has no mask file ('{case.case_id}_mask.png')." for case in found if not case.masks
            ]
            cases += [case for case in found if case.masks]
        self.faults = faults
        return cases

    def _cases_of(self, label: str) -> list[Case]:
        files = [p for p in (self._root / label).glob("*") if p.suffix.lower() == ".png" and not p.name.startswith(".")]
        masks: dict[str, list[Path]] = {}
        for path in sorted(files):
            if match := _MASK.fullmatch(path.stem):
                masks.setdefault(match["case"], []).append(path)
        images = sorted((p for p in files if not _MASK.fullmatch(p.stem)), key=lambda p: (_number(p), p.name))
        return [Case(p.stem, label, p, tuple(masks.get(p.stem, ())), organ=self._spec.organ) for p in images]

    def load(self, case: Case) -> Sample:
        """Image by luminance; masks united."""
        assert case.image is not None
        image = read_grey(case.image)
        return Sample(case, image, read_mask(case.masks, image.shape))


def missing_folder(spec: DatasetSpec, root: Path) -> str:
    """What was looked for, where, and how to get it."""
    return (
        f"Dataset '{spec.name}' is not at '{root}'. Source: {spec.source or 'not stated in its registry entry'}. "
        "--data-root DIR (or USFM_BENCH_DATA) says where data sets lie."
    )


def _number(path: Path) -> int:
    digits = re.search(r"\((\d+)\)", path.stem)
    return int(digits[1]) if digits else 0
