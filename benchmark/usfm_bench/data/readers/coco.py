"""COCO annotations: one JSON file that lists images, categories and outlines as polygons.

Lin et al., ECCV 2014, doi:10.1007/978-3-319-10602-1_48; the format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from usfm_bench.data.readers.base import READERS, FolderReader, Options, missing_folder, read_grey, read_options
from usfm_bench.data.readers.polygons import Points, fill_polygons
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError


class CocoOptions(Options):
    """Options of the layout `coco`."""

    annotations: str
    """The JSON file, relative to the data set's folder."""
    images: str = "images"
    """Folder that its file names are relative to."""


@READERS.register("coco")
class CocoReader(FolderReader):
    """One case an image with an outline; its class is the category of its outlines."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._options = read_options(spec, CocoOptions)
        self._outlines: dict[str, list[Points]] = {}

    def cases(self) -> list[Case]:
        """Every outlined image of the entry's classes, in the file's order; images without an outline are counted."""
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        content = self._read()
        files = self.find()
        try:
            names = {image["id"]: str(image["file_name"]) for image in content["images"]}
            categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
            found = [(names[a["image_id"]], categories[a["category_id"]], _polygons(a)) for a in content["annotations"]]
        except (KeyError, TypeError, ValueError) as error:
            where = self.root / self._options.annotations
            raise DataError(f"{where}: no COCO annotations with polygons: {error!r}.") from None
        self._outlines = {}
        labels: dict[str, set[str]] = {}
        for name, label, polygons in found:
            self._outlines.setdefault(name, []).extend(polygons)
            labels.setdefault(name, set()).add(label)
        cases = [self._case(name, labels[name], files) for name in dict.fromkeys(names.values()) if name in labels]
        if bare := len(set(names.values()) - labels.keys()):
            self._notes.append(f"left out {bare} images without an outline")
        return [case for case in cases if case and (not self.spec.classes or case.label in self.spec.classes)]

    def load(self, case: Case) -> Sample:
        """Image by luminance, and its filled outlines united."""
        assert case.image is not None
        image = read_grey(case.image)
        return Sample(case, image, fill_polygons(self._outlines[case.case_id], image.shape))

    def _case(self, name: str, labels: set[str], files: dict[str, Path]) -> Case | None:
        path = files.get(f"{self._options.images}/{name}")
        if path is None:
            self.faults.append(f"{self.root / self._options.images / name}: is annotated and not here.")
            return None
        if len(labels) > 1:
            self.faults.append(f"{path}: has outlines of the classes {', '.join(sorted(labels))}, not of one.")
        return Case(name, min(labels), path, organ=self.spec.organ)

    def _read(self) -> dict[str, Any]:
        path = self.root / self._options.annotations
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(f"{path}: leaves the data set's folder.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read as JSON: {error}.") from None
        if not isinstance(content, dict):
            raise DataError(f"{path}: is no COCO file: expected a mapping.")
        return content


def _polygons(annotation: dict[str, Any]) -> list[Points]:
    """Raises ValueError or TypeError for run lengths, which are not read, and for anything else."""
    polygons = [np.array(numbers, float).reshape(-1, 2) for numbers in annotation["segmentation"]]
    if not all(len(points) > 2 and np.isfinite(points).all() for points in polygons):
        raise ValueError("an outline of fewer than three points")
    return polygons
