"""DDTI as published: `1.xml` beside `1_1.jpg`, `1_2.jpg`; outlines are JSON in the XML's `<svg>`.

Pedraza et al., Proc SPIE 9287:92870W, 2015, doi:10.1117/12.2073532. A file of a case has a `<mark>` for each image,
with the image's number and `[{"points": [{"x": 250, "y": 72}, ...], "regionType": "freehand"}, ...]`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from usfm_bench.data.readers.base import READERS, FolderReader, Options, read_grey, read_options
from usfm_bench.data.readers.polygons import Points, fill_polygons
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.spec import DatasetSpec

_IMAGE = re.compile(r"(?P<case>\d+)_\d+")


@READERS.register("ddti")
class DdtiReader(FolderReader):
    """One case an image with an outline; images of one file are one group. Images without an outline are left out."""

    endings = frozenset({".jpg", ".jpeg", ".xml"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        read_options(spec, Options)
        self._outlines: dict[str, list[Points]] = {}

    def cases(self) -> list[Case]:
        """Every outlined image, by path."""
        files = self.find().values()
        self._outlines = {}
        for path in files:
            if path.suffix.lower() == ".xml":
                self._read_outlines(path)
        images = {path.stem: path for path in files if _IMAGE.fullmatch(path.stem) and path.suffix.lower() != ".xml"}
        bare, lost = images.keys() - self._outlines.keys(), self._outlines.keys() - images.keys()
        self._notes += [f"left out {len(bare)} images without an outline"] * bool(bare)
        self._notes += [f"{len(lost)} outlines are of images that are not here"] * bool(lost)
        return [
            Case(name, None, path, patient=name.partition("_")[0], organ=self.spec.organ)
            for name, path in images.items()
            if name in self._outlines
        ]

    def load(self, case: Case) -> Sample:
        """Image by luminance, and its filled outlines united."""
        assert case.image is not None
        image = read_grey(case.image)
        return Sample(case, image, fill_polygons(self._outlines[case.case_id], image.shape))

    def _read_outlines(self, path: Path) -> None:
        try:
            marks = list(ElementTree.fromstring(path.read_bytes()).iter("mark"))
        except (OSError, ElementTree.ParseError) as error:
            self.faults.append(f"{path}: cannot be read as XML: {error}.")
            return
        for mark in marks:
            number, text = (mark.findtext("image") or "").strip(), (mark.findtext("svg") or "").strip()
            if not text:
                continue
            try:
                polygons = [_points(shape) for shape in json.loads(text)]
            except (ValueError, TypeError, KeyError):
                self.faults.append(f"{path}: the outline of image {number} is not a list of points.")
                continue
            if polygons:
                self._outlines.setdefault(f"{path.stem}_{number}", []).extend(polygons)


def _points(shape: dict[str, list[dict[str, float]]]) -> Points:
    points = np.array([(float(point["x"]), float(point["y"])) for point in shape["points"]])
    if len(points) < 3 or not np.isfinite(points).all():
        raise ValueError
    return points
