"""EchoNet-Dynamic: `Videos/NAME.avi`, `FileList.csv` and `VolumeTracings.csv`; the traced frames are the cases.

Ouyang et al., Nature 580:252, 2020, doi:10.1038/s41586-020-2145-8. A tracing is a list of lines: the first is the long
axis of the left ventricle, the others are chords across it; their ends, down one side and up the other, are its
outline, as in the authors' code. A side (`Split`) is prescribed for each video.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from usfm_bench.data.readers.base import READERS, FolderReader, Options, read_options
from usfm_bench.data.readers.files import to_grey
from usfm_bench.data.readers.patterns import SIDES
from usfm_bench.data.readers.polygons import Points, fill_polygons
from usfm_bench.data.readers.tables import read_columns
from usfm_bench.data.sample import Case, Image, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError

_FILES, _TRACINGS = "FileList.csv", "VolumeTracings.csv"
_ENDS = ["X1", "Y1", "X2", "Y2"]


@READERS.register("echonet")
class EchonetReader(FolderReader):
    """One case a traced frame, end of diastole or of systole; a video's are never split."""

    endings = frozenset({".avi", ".csv"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        read_options(spec, Options)
        self._outlines: dict[str, Points] = {}

    def cases(self) -> list[Case]:
        """Every traced frame, by video and number; videos without a tracing are left out and counted."""
        files = self.find()
        listed = read_columns(self.root / _FILES, self.root, ("FileName", "Split"))
        outlines = self._read_outlines()
        cases, bare = [], 0
        for name, side in zip(listed["FileName"].map(_stem), listed["Split"], strict=True):
            path = files.get(f"Videos/{name}.avi")
            if path is None:
                self.faults.append(f"{self.root / 'Videos' / name}.avi: is listed in '{_FILES}' and not here.")
                continue
            if side.lower() not in SIDES:
                self.faults.append(f"{self.root / _FILES}: '{name}': '{side}' is no split.")
            bare += name not in outlines
            for frame, points in outlines.get(name, {}).items():
                case_id = f"{name}#{frame:04d}"
                self._outlines[case_id] = points
                side_of = SIDES.get(side.lower())
                cases.append(Case(case_id, None, path, index=frame, patient=name, organ=self.spec.organ, split=side_of))
        if bare:
            self._notes.append(f"left out {bare} videos without a tracing")
        return cases

    def load(self, case: Case) -> Sample:
        """The frame's luminance and the filled outline."""
        assert case.image is not None
        frame = read_frame(case.image, case.index)
        return Sample(case, frame, fill_polygons([self._outlines[case.case_id]], frame.shape))

    def _read_outlines(self) -> dict[str, dict[int, Points]]:
        """Video -> frame -> outline."""
        import pandas as pd  # every start imports all readers; most need no table

        path = self.root / _TRACINGS
        lines = read_columns(path, self.root, ("FileName", "Frame", *_ENDS))
        numbers = lines[["Frame", *_ENDS]].apply(pd.to_numeric, errors="coerce")
        wrong = lines["FileName"][~np.isfinite(numbers).all(axis=1) | (numbers["Frame"] < 0)]
        self.faults += [f"{path}: '{name}': a line without five numbers." for name in dict.fromkeys(wrong)]
        found: dict[str, dict[int, Points]] = {}
        kept = numbers.drop(wrong.index)
        for (name, frame), ends in kept.groupby([lines["FileName"].map(_stem), kept["Frame"].astype(int)], sort=True):
            chords = ends[_ENDS].to_numpy(float)[1:]
            if len(chords) > 1:
                found.setdefault(str(name), {})[int(frame)] = np.concatenate([chords[:, :2], chords[::-1, 2:]])
        return found


def _stem(name: str) -> str:
    return name.removesuffix(".avi")


def read_frame(path: Path, number: int) -> Image:
    """(H, W) grey levels of a frame of a video, counted from 0.

    Raises:
        DataError: unreadable, or with fewer frames.
    """
    video = cv2.VideoCapture(str(path))
    try:
        # One after the other: a jump lands on the nearest key frame in some files.
        reached = all(video.grab() for _ in range(number + 1))
        frame = video.retrieve()[1] if reached else None
    finally:
        video.release()
    if frame is None:
        raise DataError(f"{path}: has no frame {number}, or is truncated. Copy it again from the source.")
    return to_grey(np.asarray(frame, np.uint8))
