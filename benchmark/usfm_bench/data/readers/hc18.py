"""HC18: `training_set/010_HC.png`, its outline `010_HC_Annotation.png`, and a list of pixel sizes and circumferences.

van den Heuvel et al., PLoS ONE 13(8):e0200412, 2018, doi:10.1371/journal.pone.0200412. Further images of one
examination are `010_2HC.png`, `010_3HC.png`, ...; they share the number in front. No outlines of the test set are
published.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, FolderReader, Options, read_grey, read_options
from usfm_bench.data.readers.mask_values import foreground
from usfm_bench.data.readers.outlines import take_turns
from usfm_bench.data.readers.polygons import fill_ellipse
from usfm_bench.data.readers.tables import read_columns
from usfm_bench.data.sample import Case, Mask, Sample, Spacing
from usfm_bench.specs.dataset import DatasetSpec

_NAME = re.compile(r"(?P<image>(?P<examination>\d+)_\d*HC)(?P<outline>_Annotation)?", re.IGNORECASE)
_FILE, _SIZE, _HC = "filename", "pixel size(mm)", "head circumference (mm)"
_LIST = "training_set_pixel_size_and_HC.csv"
_AGREE = 0.9


@READERS.register("hc18")
class Hc18Reader(FolderReader):
    """The training set, at any depth below the folder."""

    endings = frozenset({".png", ".csv"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        read_options(spec, Options)
        self._spacing: dict[str, Spacing] = {}
        self.circumference: dict[str, float] = {}
        """Case id -> published head circumference in millimetres."""

    def case_of(self, name: str) -> str:
        """The image's name without its ending."""
        match = _NAME.fullmatch(PurePosixPath(name).stem)
        return match["image"] if match else name

    def cases(self) -> list[Case]:
        """Every image with an outline, by name; images and rows of the list that lack each other are faults."""
        files = self.find()
        named = [(name, path, match) for name, path in files.items() if (match := _NAME.fullmatch(path.stem))]
        test = [path for _, path, match in named if not match["outline"] and _is_test(path, self.root)]
        if test:
            self._notes.append(f"left out {len(test)} images of the test set, whose outlines are not published")
        outlined = take_turns((match["image"], name) for name, _, match in named if match["outline"])
        pictured = take_turns(
            (match["image"], name) for name, path, match in named if not match["outline"] and path not in test
        )
        outlines, images = self._chosen(files, outlined), self._chosen(files, pictured)
        lists = [name for name, path in files.items() if path.name.lower() == _LIST.lower()]
        self._read_list(lists, pictured)
        for name, path in images.items():
            if name not in outlined:
                self.faults.append(Fault(f"{path}: has no outline ('{name}_Annotation.png').", name))
            elif name not in self._spacing:
                self.faults.append(Fault(f"{path}: has no row in the list of pixel sizes.", name))
        self.faults += [
            Fault(f"{path}: is an outline without an image.", name)
            for name, path in outlines.items()
            if name not in pictured
        ]
        return [
            Case(name, None, path, (outlines[name],), patient=name.partition("_")[0], organ=self.spec.organ)
            for name, path in images.items()
            if name in outlines
        ]

    def _chosen(self, files: dict[str, Path], found: Mapping[str, list[str]]) -> dict[str, Path]:
        """Image name -> its file, or its outline's: that of the published folder, or else the only one."""
        chosen = {}
        for image, names in found.items():
            published = f"training_set/{PurePosixPath(names[0]).name}"
            if (name := self.only(names, published, image)) is not None:
                chosen[image] = files[name]
        return chosen

    def load(self, case: Case) -> Sample:
        """Image by luminance, the filled outline, and the published pixel size."""
        assert case.image is not None
        image = read_grey(case.image)
        try:
            mask = fill_outline(foreground(case.masks[0], 128))
        except ValueError as error:
            raise DataError(f"{case.masks[0]}: {error}") from None
        if mask.shape != image.shape:
            raise DataError(f"{case.masks[0]}: outline is {mask.shape[::-1]} px, its image {image.shape[::-1]}.")
        return Sample(case, image, mask, self._spacing.get(case.case_id))

    def _read_list(self, lists: list[str], images: Collection[str]) -> None:
        self._spacing, self.circumference = {}, {}
        if not lists:
            self.faults.append(f"{self.root}: no list called '{_LIST}'; one is needed.")
        if not lists or (name := self.only(lists, _LIST)) is None:
            return
        path = self.root / name
        try:
            rows = read_columns(path, self.root, (_FILE, _SIZE, _HC))
        except DataError as error:
            self.faults.append(str(error))
            return
        seen = set()
        for file, size, circumference in rows.itertuples(index=False):
            image = Path(file).stem
            if image in seen:
                self.faults.append(Fault(f"{path}: '{file}' has two rows.", image))
            elif image not in images:
                self.faults.append(Fault(f"{path}: '{file}' names no image.", image))
            seen.add(image)
            try:
                self._spacing[image] = Spacing(_positive(size), _positive(size))
                self.circumference[image] = _positive(circumference)
            except ValueError:
                fault = f"{path}: '{file}': '{size}' or '{circumference}' is not a positive number."
                self.faults.append(Fault(fault, image))


def _is_test(path: Path, root: Path) -> bool:
    return "test_set" in path.relative_to(root).parts


def _positive(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError(text)
    return float(text)


def fill_outline(outline: Mask) -> Mask:
    """The region within the middle of an ellipse's drawn line; the ellipse may leave the picture.

    The line cuts the picture into pieces (by 4-neighbourhood). Those that lie mostly in the ellipse fitted to the line
    (Taubin 1991, doi:10.1109/34.103273) are inside: where it leaves the picture, the border closes it. Of the line, the
    pixels are inside whose centres the fitted ellipse encloses, so that a thick line makes no larger head.

    Raises:
        ValueError: no ellipse fits, or the line has a gap within the picture.
    """
    from scipy import ndimage  # takes a while to import; other readers need it not

    rows, columns = np.nonzero(outline)
    if len(rows) < 5:
        raise ValueError("holds no outline.")
    centre, axes, angle = cv2.fitEllipseAMS(np.stack([columns, rows], axis=1).astype(np.float32))
    if not (np.isfinite([*centre, *axes, angle]).all() and min(axes) > 0):
        raise ValueError("the outline is not that of an ellipse.")
    fitted = fill_ellipse((centre[0], centre[1]), (axes[0], axes[1]), angle, outline.shape)
    pieces, n = ndimage.label(~outline)
    share = ndimage.mean(fitted, pieces, range(1, n + 1))
    inside: Mask = np.isin(pieces, 1 + np.flatnonzero(np.asarray(share) > 0.5))
    expected = fitted & ~outline
    if np.count_nonzero(inside & expected) < _AGREE * np.count_nonzero(inside | expected) or not inside.any():
        raise ValueError("the outline is not that of one ellipse, or has a gap.")
    return inside | (outline & fitted)
