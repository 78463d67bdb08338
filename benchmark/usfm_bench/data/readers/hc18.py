"""HC18: `training_set/010_HC.png`, its outline `010_HC_Annotation.png`, and a list of pixel sizes and circumferences.

van den Heuvel et al., PLoS ONE 13(8):e0200412, 2018, doi:10.1371/journal.pone.0200412. Further images of one
examination are `010_2HC.png`, `010_3HC.png`, ...; they share the number in front. No outlines of the test set are
published.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from usfm_bench.data.readers.base import READERS, FolderReader, Options, read_grey, read_options
from usfm_bench.data.readers.mask_values import foreground
from usfm_bench.data.readers.tables import read_columns
from usfm_bench.data.sample import Case, Mask, Sample, Spacing
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError

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

    def cases(self) -> list[Case]:
        """Every image with an outline, by name; images and rows of the list that lack each other are faults."""
        files = self.find()
        named = [(path, match) for path in files.values() if (match := _NAME.fullmatch(path.stem))]
        outlines = {match["image"]: path for path, match in named if match["outline"]}
        images = {match["image"]: (path, match["examination"]) for path, match in named if not match["outline"]}
        self._read_list([path for path in files.values() if path.name.lower() == _LIST.lower()], images)
        test = [
            name
            for name in images.keys() - outlines.keys()
            if "test_set" in images[name][0].relative_to(self.root).parts
        ]
        if test:
            self._notes.append(f"left out {len(test)} images of the test set, whose outlines are not published")
        for name, (path, _) in images.items():
            if name not in outlines and name not in test:
                self.faults.append(f"{path}: has no outline ('{name}_Annotation.png').")
            elif name not in test and name not in self._spacing:
                self.faults.append(f"{path}: has no row in the list of pixel sizes.")
        self.faults += [
            f"{outlines[name]}: is an outline without an image." for name in outlines.keys() - images.keys()
        ]
        return [
            Case(name, None, path, (outlines[name],), patient=examination, organ=self.spec.organ)
            for name, (path, examination) in images.items()
            if name in outlines
        ]

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

    def _read_list(self, lists: list[Path], images: dict[str, tuple[Path, str]]) -> None:
        if len(lists) != 1:
            found = f"{len(lists)} lists" if lists else "no list"
            self.faults.append(f"{self.root}: {found} called '{_LIST}'; one is needed.")
            return
        try:
            rows = read_columns(lists[0], self.root, (_FILE, _SIZE, _HC))
        except DataError as error:
            self.faults.append(str(error))
            return
        for file, size, circumference in rows.itertuples(index=False):
            name = Path(file).stem
            if name not in images:
                self.faults.append(f"{lists[0]}: '{file}' names no image.")
            try:
                self._spacing[name] = Spacing(_positive(size), _positive(size))
                self.circumference[name] = _positive(circumference)
            except ValueError:
                self.faults.append(f"{lists[0]}: '{file}': '{size}' or '{circumference}' is not a positive number.")


def _positive(text: str) -> float:
    if not 0 < float(text) < float("inf"):
        raise ValueError(text)
    return float(text)


def fill_outline(outline: Mask) -> Mask:
    """The region that an ellipse's outline encloses, the line included; the ellipse may leave the picture.

    The line cuts the picture into pieces (by 4-neighbourhood). Those that lie mostly in the ellipse fitted to the line
    (Taubin 1991, doi:10.1109/34.103273) are inside: where it leaves the picture, the border closes it.

    Raises:
        ValueError: no ellipse fits, or the line has a gap within the picture.
    """
    from scipy import ndimage  # takes a while to import; other readers need it not

    rows, columns = np.nonzero(outline)
    if len(rows) < 5:
        raise ValueError("holds no outline.")
    ellipse = cv2.fitEllipseAMS(np.stack([columns, rows], axis=1).astype(np.float32))
    fitted = cv2.ellipse(np.zeros(outline.shape, np.uint8), ellipse, 1, cv2.FILLED)
    pieces, n = ndimage.label(~outline)
    share = ndimage.mean(fitted, pieces, range(1, n + 1))
    inside: Mask = np.isin(pieces, 1 + np.flatnonzero(np.asarray(share) > 0.5))
    expected = (fitted > 0) & ~outline
    if np.count_nonzero(inside & expected) < _AGREE * np.count_nonzero(inside | expected) or not inside.any():
        raise ValueError("the outline is not that of one ellipse, or has a gap.")
    return inside | outline
