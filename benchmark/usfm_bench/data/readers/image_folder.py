"""One folder per class, images anywhere below it: torchvision's ImageFolder layout."""

from __future__ import annotations

from pathlib import Path

from usfm_bench.data.readers.base import READERS, read_grey
from usfm_bench.data.readers.busi import missing_folder
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image; macOS leaves `._x.png` beside `x.png`."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


@READERS.register("imagefolder")
class ImageFolderReader:
    """`ROOT/<class>/**/*.png` and the like; classes are the entry's, or else the folders found."""

    faults: tuple[str, ...] = ()

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self._spec, self._root = spec, root

    def cases(self) -> list[Case]:
        """Every image, by class and path."""
        if not self._root.is_dir():
            raise DataError(missing_folder(self._spec, self._root))
        classes = self._spec.classes or sorted(p.name for p in self._root.iterdir() if p.is_dir())
        cases, faults = [], []
        for label in classes:
            images = sorted(p for p in (self._root / label).rglob("*") if is_image(p))
            if not (self._root / label).is_dir():
                found = ", ".join(sorted(p.name for p in self._root.iterdir() if p.is_dir())) or "no folder"
                faults.append(f"{self._root / label}: no such folder for class '{label}'; found: {found}.")
            elif not images:
                faults.append(f"{self._root / label}: no images ({', '.join(sorted(SUFFIXES))}) for class '{label}'.")
            cases += [Case(p.relative_to(self._root).as_posix(), label, p, organ=self._spec.organ) for p in images]
        if faults or not cases:
            raise DataError("\n".join(faults) or f"{self._root}: no class folders.")
        return cases

    def load(self, case: Case) -> Sample:
        """Image by luminance; no mask."""
        assert case.image is not None
        return Sample(case, read_grey(case.image), None)
