"""One folder per class, images anywhere below it: torchvision's ImageFolder layout."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from usfm_bench.core.errors import DataError, listed
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, FolderReader, ImageOptions, missing_folder, read_options
from usfm_bench.data.readers.files import IMAGES, list_files, not_read, say_not_read
from usfm_bench.data.readers.masks_options import PatientRegex
from usfm_bench.data.sample import Case, Sample
from usfm_bench.specs.dataset import DatasetSpec


class ImageFolderOptions(ImageOptions):
    """Options of the layout `imagefolder`."""

    patient: PatientRegex = None
    """Regular expression that finds the patient in the image's path, which begins with its class."""


@READERS.register("imagefolder")
class ImageFolderReader(FolderReader):
    """`ROOT/<class>/**/*.png` and the like; classes are the entry's, or else the folders found."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        options = read_options(spec, ImageFolderOptions)
        super().__init__(spec, root, options)
        self._patient = options.patient

    def cases(self) -> list[Case]:
        """Every image, by class and path."""
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        folders = sorted(p.name for p in self.root.iterdir() if p.is_dir() and not p.name.startswith("."))
        cases: list[Case] = []
        self.faults = faults = []
        classes = self.spec.classes or folders
        self._notes = say_not_read(not_read(self.root, IMAGES)) + self._other_folders(classes)
        for label in classes:
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

    def _other_folders(self, classes: Sequence[str]) -> list[str]:
        """A note on images that lie in no class's folder."""
        names = [path.relative_to(self.root).parts for path in list_files(self.root).files]
        others = Counter(parts[0] if len(parts) > 1 else "." for parts in names if parts[0] not in classes)
        listed = ", ".join(f"{n} in '{folder}'" for folder, n in sorted(others.items())[:5])
        more = ", ..." if len(others) > 5 else ""
        return [f"{sum(others.values())} images of no class's folder were not read: {listed}{more}"] if others else []

    def _case(self, label: str, path: Path) -> Case:
        name = path.relative_to(self.root).as_posix()
        match = re.search(self._patient, name) if self._patient else None
        if self._patient and not (match and match[1]):
            self.faults.append(Fault(f"{path}: no patient in the path, by the expression '{self._patient}'.", name))
        return Case(name, label, path, patient=match[1] if match else None, organ=self.spec.organ)

    def load(self, case: Case) -> Sample:
        """Image by luminance; no mask."""
        assert case.image is not None
        return Sample(case, self.read_image(case.image), None)
