"""One folder per class, images anywhere below it: torchvision's ImageFolder layout."""

from __future__ import annotations

from usfm_bench.data.readers.base import READERS, FolderReader, missing_folder, read_grey
from usfm_bench.data.readers.files import IMAGES, list_files
from usfm_bench.data.sample import Case, Sample
from usfm_bench.errors import DataError


@READERS.register("imagefolder")
class ImageFolderReader(FolderReader):
    """`ROOT/<class>/**/*.png` and the like; classes are the entry's, or else the folders found."""

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
                faults.append(
                    f"{folder}: no such folder for class '{label}'; found: {', '.join(folders) or 'no folder'}."
                )
            elif not images and not found:
                faults.append(f"{folder}: no images ({', '.join(sorted(IMAGES))}) for class '{label}'.")
            cases += [Case(p.relative_to(self.root).as_posix(), label, p, organ=self.spec.organ) for p in images]
        if not cases:
            raise DataError("\n".join(faults) or f"{self.root}: no class folders.")
        return cases

    def load(self, case: Case) -> Sample:
        """Image by luminance; no mask."""
        assert case.image is not None
        return Sample(case, read_grey(case.image), None)
