"""DDTI as published: `1.xml` beside `1_1.jpg`, `1_2.jpg`; outlines are JSON in the XML's `<svg>`.

Pedraza et al., Proc SPIE 9287:92870W, 2015, doi:10.1117/12.2073532. A file of a case has a `<mark>` for each image,
with the image's number and `[{"points": [{"x": 250, "y": 72}, ...], "regionType": "freehand"}, ...]`. The points are
whole numbers, those of the pixels under the pointer, and so stand for the centres of pixels.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from usfm_bench.data.faults import Fault, cases_of
from usfm_bench.data.readers.base import READERS, Options, read_options
from usfm_bench.data.readers.outlines import Outline, OutlineReader, points_of, take_turns
from usfm_bench.data.readers.polygons import fill_polygons
from usfm_bench.data.sample import Case
from usfm_bench.specs.dataset import DatasetSpec

_IMAGE = re.compile(r"(?P<case>\d+)_\d+")


@READERS.register("ddti")
class DdtiReader(OutlineReader):
    """One case an image with an outline; images of one file are one group. Images without an outline are left out.

    Published, all files lie in one folder. They may lie elsewhere below the data set's folder, each name once.
    """

    endings = frozenset({".jpg", ".jpeg", ".xml"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        read_options(spec, Options)

    def case_of(self, name: str) -> str:
        """The file name without its ending."""
        return PurePosixPath(name).stem

    def cases(self) -> list[Case]:
        """Every outlined image, by path."""
        files = self.find()
        xml = take_turns((path.stem, name) for name, path in files.items() if path.suffix.lower() == ".xml")
        named = take_turns(
            (path.stem, name)
            for name, path in files.items()
            if path.suffix.lower() != ".xml" and _IMAGE.fullmatch(path.stem)
        )
        outlines: dict[str, list[Outline]] = {}
        for stem, found in xml.items():
            cases = [name for name in named if name.partition("_")[0] == stem]
            if (chosen := self.only(found, f"{stem}.xml", *cases)) is not None:
                self._read_outlines(files[chosen], outlines)
        images = {}
        for stem, found in named.items():
            if (chosen := self.only(found, f"{stem}.jpg", stem)) is not None:
                images[stem] = files[chosen]
        if lost := len(outlines.keys() - named.keys()):
            self._notes.append(f"{lost} outlined images are not here")
        faulty = {name for fault in self.faults for name in cases_of(fault)} - outlines.keys()
        images = {name: path for name, path in images.items() if name not in faulty}
        return self.outlined(images, outlines, {name: name.partition("_")[0] for name in images})

    def _read_outlines(self, path: Path, outlines: dict[str, list[Outline]]) -> None:
        try:
            marks = list(ElementTree.fromstring(path.read_bytes()).iter("mark"))
        except (OSError, ElementTree.ParseError) as error:
            self.faults.append(Fault(f"{path}: cannot be read as XML: {error}."))
            return
        for mark in marks:
            number, text = (mark.findtext("image") or "").strip(), (mark.findtext("svg") or "").strip()
            if not text:
                continue
            name = f"{path.stem}_{number}"
            try:
                shapes = json.loads(text)
                if not isinstance(shapes, list):
                    raise ValueError("no list")
            except (ValueError, RecursionError):
                self.faults.append(Fault(f"{path}: the outline of image {number} is not a list of points.", name))
                continue
            for i, shape in enumerate(shapes):
                where = f"outline {i + 1}" + f" of {len(shapes)}" * (len(shapes) > 1)
                try:
                    fill = partial(fill_polygons, [_points(shape)], origin="centre")
                except ValueError as error:
                    self.faults.append(Fault(f"{path}: {where} of image {number} {error}.", name))
                else:
                    outlines.setdefault(name, []).append(Outline(where, None, fill))


def _points(shape: Any) -> Any:
    """Raises ValueError, in words that follow the outline's name."""
    try:
        pairs = [(point["x"], point["y"]) for point in shape["points"]]
    except (TypeError, KeyError):
        raise ValueError("is not a list of points") from None
    return points_of(pairs)
