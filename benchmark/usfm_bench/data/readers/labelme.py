"""labelme: a JSON file beside each image, with `imagePath` and `shapes`; https://github.com/wkentaro/labelme.

Its canvas counts in corners: a point (0, 0) is the upper left corner of the first pixel. Polygons and rectangles (two
corners, or four of an oriented one) and circles (the middle and a point on the edge) are outlines; lines, points and
shapes that hold pixels are refused by name.
"""

from __future__ import annotations

import json
import posixpath
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, read_options, shorten
from usfm_bench.data.readers.files import IMAGES
from usfm_bench.data.readers.outlines import Outline, OutlineOptions, OutlineReader, points_of, take_turns
from usfm_bench.data.readers.polygons import Points, fill_ellipse, fill_polygons
from usfm_bench.data.sample import Case, Mask
from usfm_bench.specs.dataset import DatasetSpec


class LabelmeOptions(OutlineOptions):
    """Options of the layout `labelme`."""


@READERS.register("labelme")
class LabelmeReader(OutlineReader):
    """One case an outlined image; its class is the label of its shapes. Images without a file, or with a file without
    shapes, have no outline.
    """

    endings = IMAGES | {".json"}

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self.shared = read_options(spec, LabelmeOptions)

    def cases(self) -> list[Case]:
        """Every outlined image of the entry's classes, by path; other JSON files are counted."""
        files = self.find()
        self._stated = {}
        images = {name: path for name, path in files.items() if path.suffix.lower() in IMAGES}
        beside = take_turns((name.rpartition(".")[0], name) for name in images)
        read = {}
        for name in files:
            near = beside.get(name.rpartition(".")[0], [])
            if name not in images and (content := self._read(name, near)) is not None:
                read[name] = content, near
        if not read:
            raise DataError("\n".join([*self.faults, f"{self.root}: no JSON file holds labelme's `shapes`."]))
        owners = take_turns(
            (image, n) for n, (content, near) in read.items() if (image := self._image(n, content, images, near))
        )
        outlines, faulty = {}, set()
        for image, names in owners.items():
            if len(names) > 1:
                both = shorten([f"'{name}'" for name in names])
                self.faults.append(Fault(f"{self.root}: {both} are all of '{image}'. Keep one.", image))
            content = read[names[0]][0]
            wrong: list[str] = []
            outlines[image] = _outlines(content["shapes"], wrong)
            if wrong:
                self.faults.append(Fault(f"{self.root / names[0]}: {shorten(wrong)}.", image))
                faulty.add(image)
            height, width = (content.get(key) for key in ("imageHeight", "imageWidth"))
            if isinstance(height, int) and isinstance(width, int):
                self._stated[image] = (height, width)
        images = {name: path for name, path in images.items() if outlines.get(name) or name not in faulty}
        return self.outlined(images, outlines)

    def _read(self, name: str, beside: list[str]) -> dict[str, Any] | None:
        """The file's content; None where it is not labelme's, or cannot be read."""
        path = self.root / name
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            self.faults.append(Fault(f"{path}: cannot be read as JSON: {error}.", *beside))
            return None
        if isinstance(content, dict) and isinstance(content.get("shapes"), list):
            return content
        self._notes.append(f"'{name}' holds no `shapes` and is passed over")
        return None

    def _image(self, name: str, content: dict[str, Any], images: dict[str, Path], beside: list[str]) -> str | None:
        """The image that `imagePath` names, relative to the file, or else the one beside the file with its name."""
        stated = str(content.get("imagePath") or "").replace("\\", "/")
        named = posixpath.normpath(posixpath.join(posixpath.dirname(name), stated))
        found = sorted({named, *beside}) if named in images and named not in beside else beside
        found = [named] if named in beside else found
        if len(found) == 1:
            return found[0]
        what = f"could be of {' and '.join(found)}; `imagePath` is '{stated}'" if found else f"'{stated}' is not here"
        self.faults.append(Fault(f"{self.root / name}: {what}.", *(found or [name])))
        return None


def _outlines(shapes: list[Any], wrong: list[str]) -> list[Outline]:
    """What can be filled; what is wrong with the other shapes is added to `wrong`."""
    found = []
    for i, shape in enumerate(shapes):
        where = f"shape {i + 1}"
        try:
            found.append(_outline(where, shape))
        except ValueError as error:
            wrong.append(f"{where} {error}")
    return found


def _outline(where: str, shape: Any) -> Outline:
    """Raises ValueError, in words that follow the shape's number."""
    if not isinstance(shape, dict):
        raise ValueError("is no mapping")
    kind, label = shape.get("shape_type") or "polygon", shape.get("label")
    name = str(label) if label not in (None, "") else None
    if kind in ("polygon", "oriented_rectangle"):
        return Outline(where, name, partial(fill_polygons, [points_of(shape.get("points"))], origin="corner"))
    if kind not in ("rectangle", "circle"):
        raise ValueError(f"is a '{kind}'; polygon, rectangle and circle are outlines")
    points = shape.get("points")
    if kind == "rectangle" and isinstance(points, list) and len(points) == 4:
        return Outline(where, name, partial(fill_polygons, [points_of(points)], origin="corner"))
    if not isinstance(points, list) or len(points) != 2:
        raise ValueError(f"is a {kind} without two points")
    (x, y), (u, v) = points_of([*points, points[0]])[:2].tolist()
    if kind == "rectangle":
        corners = np.array([(x, y), (u, y), (u, v), (x, v)])
        return Outline(where, name, partial(fill_polygons, [corners], origin="corner"))
    return Outline(where, name, partial(_fill_circle, np.array([x, y]), float(np.hypot(u - x, v - y))))


def _fill_circle(centre: Points, radius: float, shape: tuple[int, ...]) -> Mask:
    if radius == 0:
        raise ValueError("is a circle without a radius")
    x, y = (centre - 0.5).tolist()
    return fill_ellipse((x, y), (2 * radius, 2 * radius), 0, shape)
