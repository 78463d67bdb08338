"""YOLO segmentation: `labels/x.txt` for `images/x.jpg`, a line an outline: class, then x and y in turn, from 0 to 1.

The format: https://docs.ultralytics.com/datasets/segment/. Coordinates are shares of width and height between the
picture's borders, so that 0 and 1 are corners. Folders `train`, `val` and `test`, before or after `images`, are the
split that the data set prescribes, where there are both `train` and `test`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated

import numpy as np
from pydantic import Field

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.core.resources import load_yaml
from usfm_bench.data.faults import Fault, cases_of
from usfm_bench.data.readers.base import READERS, read_options, shorten
from usfm_bench.data.readers.files import IMAGES
from usfm_bench.data.readers.outlines import Outline, OutlineOptions, OutlineReader, points_of, take_turns
from usfm_bench.data.readers.patterns import SIDES
from usfm_bench.data.readers.polygons import Points, fill_polygons
from usfm_bench.data.sample import Case, Mask, Side
from usfm_bench.specs.dataset import DatasetSpec

NAMES = ("data.yaml", "dataset.yaml", "classes.txt", "labels/classes.txt")
Folder = Annotated[str, Field(pattern=r"^[^/]+$")]
_BEYOND = 0.01  # of a side, that annotation tools overshoot


class YoloOptions(OutlineOptions):
    """Options of the layout `yolo`."""

    images: Folder = "images"
    """The folder of images; anything may stand before and after it: `images/train`, `train/images`."""
    labels: Folder = "labels"
    """The folder that stands in its place in the paths of outlines."""
    names: str | None = None
    """File with the names of the classes, relative to the data set's folder: a YAML file with `names`, or text with a
    name a line. None: `data.yaml`, `dataset.yaml` or `classes.txt`; without any, classes are called by number."""


@READERS.register("yolo")
class YoloReader(OutlineReader):
    """One case an image with an outline. A line of four numbers is a box and refused."""

    endings = IMAGES | {".txt", ".yaml", ".yml"}

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._options = read_options(spec, YoloOptions)
        self.shared = self._options

    def cases(self) -> list[Case]:
        """Every outlined image of the entry's classes, by path."""
        files = self.find()
        classes = self._class_names(files)
        found = [name for name in files if self._options.images in PurePosixPath(name).parts[:-1]]
        images = {name: files[name] for name in found if PurePosixPath(name).suffix.lower() in IMAGES}
        if not images:
            nothing = f"{self.root}: no image lies in a folder '{self._options.images}'."
            raise DataError("\n".join([*self.faults, nothing]))
        owners = take_turns((self._label_file(name), name) for name in images)
        for label, names in owners.items():
            if len(names) > 1:
                both = shorten([f"'{name}'" for name in names])
                self.faults.append(Fault(f"{self.root}: '{label}' could be of {both}. Keep one.", *names))
        outlines = {}
        for name, path in files.items():
            if path.suffix.lower() == ".txt" and name in owners:
                outlines[owners[name][0]] = self._read(path, owners[name][0], classes)
            elif path.suffix.lower() == ".txt" and self._is_label(name):
                self.faults.append(Fault(f"{path}: holds outlines of no image in '{self._options.images}'."))
        faulty = {case for fault in self.faults for case in cases_of(fault)}
        images = {name: path for name, path in images.items() if outlines.get(name) or name not in faulty}
        return self.outlined(images, outlines, sides=self._sides(images))

    def _label_file(self, image: str) -> str:
        """Path of an image's outlines: the last folder called `images` becomes `labels`."""
        parts = list(PurePosixPath(image).with_suffix(".txt").parts)
        last = len(parts) - 2 - parts[-2::-1].index(self._options.images)
        return "/".join([*parts[:last], self._options.labels, *parts[last + 1 :]])

    def _is_label(self, name: str) -> bool:
        return self._options.labels in PurePosixPath(name).parts[:-1] and PurePosixPath(name).name != "classes.txt"

    def _sides(self, images: dict[str, Path]) -> dict[str, Side]:
        sides = {}
        for name in images:
            known = [SIDES[part.lower()] for part in PurePosixPath(name).parts[:-1] if part.lower() in SIDES]
            if known:
                sides[name] = known[0]
        if sides and not {"train", "test"} <= set(sides.values()):
            named = " and ".join(sorted(set(sides.values())))
            self._notes.append(f"folders name a split of {named} alone; a suite draws its own")
            return {}
        return sides

    def _class_names(self, files: dict[str, Path]) -> list[str] | None:
        name = self._options.names or next((name for name in NAMES if name in files), None)
        if name is None:
            return None
        if name not in files:
            raise DataError(f"{self.root / name}: does not exist; the option `names` says that it names the classes.")
        if files[name].suffix.lower() == ".txt":
            lines = files[name].read_text(encoding="utf-8-sig", errors="replace").splitlines()
            return [line.strip() for line in lines if line.strip()]
        try:
            content = load_yaml(files[name])
        except BenchError as error:
            raise DataError(str(error)) from None
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, dict) and set(names) == set(range(len(names))):
            names = [names[i] for i in range(len(names))]
        if not isinstance(names, list) or not names:
            raise DataError(f"{files[name]}: has no list `names` of the classes.")
        return [str(name) for name in names]

    def _read(self, path: Path, case: str, classes: list[str] | None) -> list[Outline]:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            self.faults.append(Fault(f"{path}: cannot be read as text: {error}.", case))
            return []
        outlines, wrong = [], []
        for i, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                outlines.append(_outline(f"line {i + 1} of '{path.name}'", line.split(), classes))
            except ValueError as error:
                wrong.append(f"line {i + 1} {error}")
        if wrong:
            self.faults.append(Fault(f"{path}: {shorten(wrong)}.", case))
        return outlines


def _outline(where: str, words: list[str], classes: list[str] | None) -> Outline:
    """Raises ValueError, in words that follow the line's number."""
    if len(words) == 5:
        raise ValueError("is a box, not an outline: outlines have three points or more")
    if not words[0].isdecimal():
        raise ValueError(f"begins with '{words[0]}', which is no number of a class")
    number = int(words[0])
    if classes is not None and number >= len(classes):
        raise ValueError(f"is of class {number}; the file of names has {len(classes)} classes, from 0")
    shares = points_of(words[1:])
    if shares.min() < -_BEYOND or shares.max() > 1 + _BEYOND:
        raise ValueError("has coordinates that are no shares from 0 to 1 of the picture's sides")
    return Outline(where, classes[number] if classes is not None else str(number), partial(_fill, shares))


def _fill(shares: Points, shape: tuple[int, ...]) -> Mask:
    return fill_polygons([shares * np.array(shape[1::-1])], shape, origin="corner")
