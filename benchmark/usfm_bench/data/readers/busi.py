"""The original layout of BUSI: `{benign,malignant,normal}/benign (1).png` with `_mask`, `_mask_1`, ... beside it."""

from __future__ import annotations

import re
from pathlib import Path

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault, cases_of
from usfm_bench.data.readers.base import READERS, FolderReader, missing_folder
from usfm_bench.data.readers.files import list_files, not_read, say_not_read
from usfm_bench.data.sample import Case, Sample

_MASK = re.compile(r"(?P<case>.+\))_mask(_\d+)?")


@READERS.register("busi")
class BusiReader(FolderReader):
    """Images with one or several masks; numbers may have gaps, and a partial copy is read as far as it goes."""

    def cases(self) -> list[Case]:
        """Every image of the data set's classes, by class and number."""
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        cases: list[Case] = []
        self.faults = faults = []
        self._notes = say_not_read(not_read(self.root, {".png"}))
        for label in self.spec.classes:
            found = self._cases_of(label)
            if not found:
                faults.append(f"{self.root / label}: no images; the class '{label}' would be empty.")
            faults += [
                Fault(f"{case.image}: has no mask file ('{case.case_id}_mask.png').", case.case_id)
                for case in found
                if not case.masks
            ]
            cases += [case for case in found if case.masks]
        return cases

    def _cases_of(self, label: str) -> list[Case]:
        found, faults = list_files(self.root / label, self.root, {".png"})
        self.faults += [Fault(fault, *(Path(name).stem for name in cases_of(fault))) for fault in faults]
        files = [path for path in found if path.parent == self.root / label]
        masks: dict[str, list[Path]] = {}
        for path in sorted(files):
            if match := _MASK.fullmatch(path.stem):
                masks.setdefault(match["case"], []).append(path)
        images = sorted((p for p in files if not _MASK.fullmatch(p.stem)), key=lambda p: (_number(p), p.name))
        return [Case(p.stem, label, p, tuple(masks.get(p.stem, ())), organ=self.spec.organ) for p in images]

    def load(self, case: Case) -> Sample:
        """Image by luminance; masks united."""
        assert case.image is not None
        image = self.read_image(case.image)
        return Sample(case, image, self.read_mask(case, image.shape))


def _number(path: Path) -> int:
    digits = re.search(r"\((\d+)\)", path.stem)
    return int(digits[1]) if digits else 0
