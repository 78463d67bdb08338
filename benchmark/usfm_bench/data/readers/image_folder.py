"""One folder per class, images anywhere below it: torchvision's ImageFolder layout."""

from __future__ import annotations

import re
from pathlib import Path

from usfm_bench.data.readers.base import READERS, FolderReader, Options, missing_folder, read_grey, read_options
from usfm_bench.data.readers.files import IMAGES, list_files
from usfm_bench.data.readers.masks_options import PatientRegex
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError, listed


class ImageFolderOptions(Options):
    """Options of the layout `imagefolder`."""

    patient: PatientRegex = None
    """Regular expression that finds the patient in the image's path, which begins with its class."""


@READERS.register("imagefolder")
class ImageFolderReader(FolderReader):
    """`ROOT/<class>/**/*.png` and the like; classes are the entry's, or else the folders found."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._patient = read_options(spec, ImageFolderOptions).patient

    def cases(self) -> list[Case]:
        """Every image, by class and path."""
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        folders = sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        cases: list[Case] = []
        self.faults = faults = []
        for label in self.spec.classes or folders:
            folder = self.root / label
            images, found = list_files(folder, self.root)
            faults += found
            if label not in folders:
                faults.append(f"{folder}: no such folder for class '{label}'; found: {listed(folders) or 'no folder'}.")
            elif not images and not found:
                faults.append(f"{folder}: no images ({', '.join(sorted(IMAGES))}) for class '{label}'.")
            cases += [self._case(label, path) for path in images]
        if not cases:
            raise DataError("\n".join(faults) or f"{self.root}: no class folders.")
        return cases

    def _case(self, label: str, path: Path) -> Case:
        name = path.relative_to(self.root).as_posix()
        match = re.search(self._patient, name) if self._patient else None
        if self._patient and not (match and match[1]):
            self.faults.append(f"{path}: no patient in the path, by the expression '{self._patient}'.")
        return Case(name, label, path, patient=match[1] if match else None, organ=self.spec.organ)

    def load(self, case: Case) -> Sample:
        """Image by luminance; no mask."""
        assert case.image is not None
        return Sample(case, read_grey(case.image), None)
