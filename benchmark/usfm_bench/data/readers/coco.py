"""COCO annotations: one JSON file that lists images, categories and outlines, as polygons or run lengths.

Lin et al., ECCV 2014, doi:10.1007/978-3-319-10602-1_48; the format: https://cocodataset.org/#format-data. Coordinates
are those of corners: the first pixel reaches from 0 to 1.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, missing_folder, read_options, shorten
from usfm_bench.data.readers.outlines import Outline, OutlineOptions, OutlineReader, points_of, take_turns
from usfm_bench.data.readers.polygons import fill_polygons
from usfm_bench.data.readers.run_lengths import decode_runs
from usfm_bench.data.sample import Case, Mask
from usfm_bench.specs.dataset import DatasetSpec


class CocoOptions(OutlineOptions):
    """Options of the layout `coco`."""

    annotations: str
    """The JSON file, relative to the data set's folder."""
    images: str = "images"
    """Folder that its file names are relative to; `.` is the data set's own."""


@READERS.register("coco")
class CocoReader(OutlineReader):
    """One case an image with an outline; its class is the category of its outlines.

    The parts of one annotation are united, as COCO's tools do; crowd regions count like others.
    """

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._options = read_options(spec, CocoOptions)
        self.shared = self._options

    def case_of(self, name: str) -> str:
        """The file name in the annotations."""
        return posixpath.relpath(name, self._options.images)

    def cases(self) -> list[Case]:
        """Every outlined image of the entry's classes, in the file's order; images without an outline are counted."""
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        content = self._read()
        files = self.find()
        names = self._names(content["images"])
        categories = self._categories(content.get("categories") or [])
        outlines: dict[str, list[Outline]] = {}
        faulty: set[str] = set()
        for annotation in content["annotations"]:
            name = names.get(_key(annotation, "image_id"))
            try:
                outline = self._outline(annotation, name, categories)
            except ValueError as error:
                of = f" of image '{name}'" if name else ""
                self.faults.append(Fault(f"{self._path}: {_where(annotation)}{of} {error}.", *filter(None, [name])))
                faulty.update(filter(None, [name]))
            else:
                outlines.setdefault(name or "", []).append(outline)
        crowds = sum(bool(a.get("iscrowd")) for a in content["annotations"] if isinstance(a, dict))
        self._notes += [f"{crowds} crowd regions (iscrowd) count as outlines"] * bool(crowds)
        images = self._images(names.values(), files, outlines.keys() | faulty)
        return self.outlined({n: p for n, p in images.items() if n not in faulty - outlines.keys()}, outlines)

    def _outline(self, annotation: Any, name: str | None, categories: dict[str, str]) -> Outline:
        """Raises ValueError, in words that follow the annotation's name."""
        if not isinstance(annotation, dict):
            raise ValueError("is no mapping")
        if name is None:
            raise ValueError(f"names the image id {annotation.get('image_id')!r}, which is not in the list of images")
        label = categories.get(_key(annotation, "category_id"))
        if categories and label is None:
            raise ValueError(f"names the category id {annotation.get('category_id')!r}, which is not in the list")
        unwanted = self.spec.classes and label is not None and label not in self.spec.classes
        # What is outlined for other purposes is never filled, and may be a box.
        fill = np.zeros if unwanted else _filler(annotation.get("segmentation"))
        return Outline(_where(annotation), label, fill)

    @property
    def _path(self) -> Path:
        return self.root / self._options.annotations

    def _images(self, names: Iterable[str], files: dict[str, Path], annotated: set[str]) -> dict[str, Path]:
        """Name in the annotations -> file; an annotated one that is not here is a fault."""
        images = {}
        places = take_turns((posixpath.basename(name), name) for name in files)
        for name in names:
            path = files.get(posixpath.normpath(posixpath.join(self._options.images, name)))
            if path is not None:
                images[name] = path
            elif name in annotated:
                others = places.get(posixpath.basename(name), [])
                hint = f" '{shorten(others)}' has its name; see the option `images`." if others else ""
                where = self.root / self._options.images / name
                self.faults.append(Fault(f"{where}: is annotated and not here.{hint}", name))
        return images

    def _names(self, images: list[Any]) -> dict[str, str]:
        """Image id -> normal form of its file name; starts the stated sizes anew."""
        names: dict[str, str] = {}
        ids: dict[str, str] = {}
        self._stated = {}
        for i, image in enumerate(images):
            if not isinstance(image, dict) or "id" not in image or not isinstance(image.get("file_name"), str):
                self.faults.append(Fault(f"{self._path}: image {i + 1} of the list has no id, or no file_name."))
                continue
            key, name = _key(image, "id"), posixpath.normpath(image["file_name"].replace("\\", "/"))
            if key in names:
                self.faults.append(
                    Fault(f"{self._path}: '{names[key]}' and '{name}' have the image id {key}.", names[key], name)
                )
            elif name in ids:
                self.faults.append(Fault(f"{self._path}: '{name}' has the image ids {ids[name]} and {key}.", name))
            elif name.startswith(("/", "../")):
                self.faults.append(Fault(f"{self._path}: '{name}' leaves the data set's folder.", name))
            else:
                self._state(name, image)
            names.setdefault(key, name)
            ids.setdefault(name, key)
        return names

    def _state(self, name: str, image: dict[str, Any]) -> None:
        size = (image.get("height"), image.get("width"))
        if size == (None, None):
            return
        if all(isinstance(side, int | float) and side > 0 and side == int(side) for side in size):
            self._stated[name] = (int(size[0]), int(size[1]))  # type: ignore[arg-type]
        else:
            self.faults.append(
                Fault(f"{self._path}: '{name}': width {size[1]!r}, height {size[0]!r} are no size.", name)
            )

    def _categories(self, listed: list[Any]) -> dict[str, str]:
        """Category id -> name."""
        found: dict[str, str] = {}
        for i, category in enumerate(listed):
            if not isinstance(category, dict) or not {"id", "name"} <= category.keys():
                self.faults.append(f"{self._path}: category {i + 1} of the list has no id, or no name.")
            elif found.setdefault(_key(category, "id"), str(category["name"])) != str(category["name"]):
                self.faults.append(f"{self._path}: two categories have the id {category['id']!r}.")
        if not found and self.spec.needs("label"):
            self.faults.append(f"{self._path}: has no categories, so that no image has a class.")
        return found

    def _read(self) -> dict[str, Any]:
        path = self._path
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise DataError(f"{path}: leaves the data set's folder.")
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read as JSON: {error}.") from None
        lists = content if isinstance(content, dict) else {}
        if lacking := [key for key in ("images", "annotations") if not isinstance(lists.get(key), list)]:
            raise DataError(f"{path}: holds no COCO annotations: it has no list {' and no list '.join(lacking)}.")
        if not isinstance(lists.get("categories") or [], list):
            raise DataError(f"{path}: holds no COCO annotations: its categories are no list.")
        return lists


def _key(entry: Any, name: str) -> str:
    """An id as text: some tools write numbers in one list and text in another."""
    return str(entry.get(name)) if isinstance(entry, dict) else "None"


def _where(annotation: Any) -> str:
    return f"annotation {annotation['id']}" if isinstance(annotation, dict) and "id" in annotation else "an annotation"


def _filler(segmentation: Any) -> Callable[[tuple[int, ...]], Mask]:
    if not segmentation:
        raise ValueError("has a box at most, and no outline (`segmentation` is empty)")
    if isinstance(segmentation, dict):
        return partial(decode_runs, segmentation)
    if not isinstance(segmentation, list):
        raise ValueError("has a `segmentation` that is neither polygons nor run lengths")
    flat = not isinstance(segmentation[0], list)  # some tools leave out the list of parts
    parts = []
    for i, part in enumerate([segmentation] if flat else segmentation):
        try:
            parts.append(points_of(part))
        except ValueError as error:
            raise ValueError(f"{error} (outline {i + 1})") from None
    return partial(fill_polygons, parts, origin="corner")
