"""What readers of outlines share: the cases that outlines make, and masks that are filled when they are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import FolderReader, Options, read_grey, shorten
from usfm_bench.data.readers.masks_options import PatientRegex
from usfm_bench.data.readers.polygons import Points
from usfm_bench.data.sample import Case, Image, Mask, Sample, Side
from usfm_bench.specs.dataset import DatasetSpec

_FAR = 1e6  # pixels; a larger number is no coordinate of a picture


class OutlineOptions(Options):
    """Options of all layouts with outlines."""

    no_outline: Literal["leave out", "empty"] = "leave out"
    """What an image without an outline is: left out, or an image without a lesion. Its class is then the one class of
    the entry that no outline has, if there is one."""
    patient: PatientRegex = None
    """Regular expression that finds the patient in the case id, which is the image's path or name."""


class Outline(NamedTuple):
    """One annotated region of an image."""

    where: str
    """Names it in messages: `annotation 7`."""
    label: str | None
    fill: Callable[[tuple[int, ...]], Mask]
    """(H, W) of the image -> (H, W) bool; raises ValueError, in words, where that cannot be."""


class OutlineReader(FolderReader):
    """A reader whose masks are filled outlines; an image whose outlines cover no pixel is a fault."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self.shared = OutlineOptions()
        self._outlines: dict[str, list[Outline]] = {}
        self._stated: dict[str, tuple[int, ...]] = {}
        """Case id -> (H, W) that its annotations are for."""

    def outlined(
        self,
        images: Mapping[str, Path],
        outlines: Mapping[str, list[Outline]],
        patients: Mapping[str, str] | None = None,
        sides: Mapping[str, Side] | None = None,
    ) -> list[Case]:
        """The cases of images with outlines of the entry's classes, in the order of the images.

        Args:
            images: case id -> file.
            outlines: case id -> what is outlined in it; a list that is empty because it could not be read is none.
            patients: case id -> patient, where known.
            sides: case id -> prescribed side of the split, where known.
        """
        wanted, cases, bare, mixed = set(self.spec.classes), [], 0, 0
        labels = {o.label for found in outlines.values() for o in found if o.label is not None}
        rest = [name for name in self.spec.classes if name not in labels]
        self._outlines = {}
        for name, path in images.items():
            every = outlines.get(name, [])
            kept = [o for o in every if not wanted or o.label is None or o.label in wanted]
            if kept:
                names = {o.label for o in kept if o.label is not None}
                mixed += len(names) > 1
                label = self._label(name, path, sorted(names))
            elif every or self.shared.no_outline == "leave out":
                bare += not every
                continue
            else:
                label = rest[0] if len(rest) == 1 else None
            self._outlines[name] = kept
            patient = self._patient(name, path) if self.shared.patient else (patients or {}).get(name)
            side = (sides or {}).get(name)
            cases.append(Case(name, label, path, patient=patient, organ=self.spec.organ, split=side))
        if bare:
            self._notes.append(f"left out {bare} images without an outline")
        if mixed and not self.spec.needs("label"):
            self._notes.append(
                f"{mixed} images have outlines of several classes, which are united: no image has a class"
            )
            cases = [replace(case, label=None) for case in cases]
        if others := len(images) - bare - len(cases):
            self._notes.append(f"left out {others} images with outlines of other classes alone")
        if not cases and not self.faults:
            of_classes = f" of the classes {', '.join(self.spec.classes)}" if self.spec.classes else ""
            raise DataError(f"{self.root}: none of {len(images)} images has an outline{of_classes}.")
        return cases

    def load(self, case: Case) -> Sample:
        """Image by luminance, and its filled outlines united."""
        image = self.picture(case)
        stated = self._stated.get(case.case_id, image.shape)
        if stated != image.shape:
            raise DataError(
                f"{case.image}: is {image.shape[1]} x {image.shape[0]} px; its outlines are for {stated[1]} x "
                f"{stated[0]}. Take the files that were annotated."
            )
        return Sample(case, image, self._draw(case, image.shape))

    def picture(self, case: Case) -> Image:
        """(H, W) grey levels of the case."""
        assert case.image is not None
        return read_grey(case.image)

    def _draw(self, case: Case, shape: tuple[int, ...]) -> Mask:
        mask, faults = np.zeros(shape, bool), []
        for outline in self._outlines[case.case_id]:
            try:
                mask |= outline.fill(shape)
            except ValueError as error:
                faults.append(f"{outline.where} {error}")
        names = [outline.where for outline in self._outlines[case.case_id]]
        if names and not faults and not mask.any():
            faults = [f"{shorten(names)} {'cover' if len(names) > 1 else 'covers'} no pixel's centre"]
        if faults:
            raise DataError(f"{case.image}: {'; '.join(faults)}.")
        return mask

    def _patient(self, name: str, path: Path) -> str | None:
        match = re.search(self.shared.patient or "", name)
        if not (match and match[1]):
            self.faults.append(
                Fault(f"{path}: no patient in '{name}', by the expression '{self.shared.patient}'.", name)
            )
            return None
        return match[1]

    def _label(self, name: str, path: Path, labels: list[str]) -> str | None:
        if len(labels) > 1 and self.spec.needs("label"):
            said = f"{path}: has outlines of the classes {', '.join(labels)}, not of one."
            self.faults.append(Fault(f"{said} `classes` in the entry chooses some.", name))
        return labels[0] if len(labels) == 1 else None


def points_of(numbers: Any) -> Points:
    """(N, 2) coordinates from pairs or from x and y in turn, three points at least.

    Raises:
        ValueError: what is wrong with them, in words that follow a name.
    """
    try:
        flat = np.array(numbers, np.float64).ravel()
    except (ValueError, TypeError, OverflowError):
        raise ValueError("is no list of coordinates") from None
    if not np.isfinite(flat).all() or (np.abs(flat) > _FAR).any():
        raise ValueError("has a coordinate that is no number of a pixel (NaN, infinite or huge)")
    if len(flat) % 2:
        raise ValueError(f"has {len(flat)} numbers, not x and y in turn")
    if len(flat) < 6:
        raise ValueError(f"has {len(flat) // 2} points; three are needed")
    return flat.reshape(-1, 2)


def take_turns(found: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Key -> all values of it, in order: what `FolderReader.only` chooses from."""
    by_key: dict[str, list[str]] = {}
    for key, value in found:
        by_key.setdefault(key, []).append(value)
    return by_key
