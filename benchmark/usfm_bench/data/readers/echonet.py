"""EchoNet-Dynamic: `Videos/NAME.avi`, `FileList.csv` and `VolumeTracings.csv`; the traced frames are the cases.

Ouyang et al., Nature 580:252, 2020, doi:10.1038/s41586-020-2145-8. A tracing is a list of lines: the first is the long
axis of the left ventricle, the others are chords across it; their ends, down one side and up the other, are its
outline, as in the authors' code, which takes coordinates for numbers of pixels: whole ones are centres of pixels. A
side (`Split`) is prescribed for each video.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, Options, read_options
from usfm_bench.data.readers.files import to_grey
from usfm_bench.data.readers.outlines import Outline, OutlineReader
from usfm_bench.data.readers.patterns import SIDES
from usfm_bench.data.readers.polygons import Points, fill_polygons
from usfm_bench.data.readers.tables import read_columns
from usfm_bench.data.sample import Case, Image
from usfm_bench.specs.dataset import DatasetSpec

_FILES, _TRACINGS = "FileList.csv", "VolumeTracings.csv"
_ENDS = ["X1", "Y1", "X2", "Y2"]
_FAR = 1e6


@READERS.register("echonet")
class EchonetReader(OutlineReader):
    """One case a traced frame, end of diastole or of systole; a video's are never split."""

    endings = frozenset({".avi", ".csv"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        read_options(spec, Options)

    def cases(self) -> list[Case]:
        """Every traced frame, by video and number; videos without a tracing are left out and counted."""
        files = self.find()
        listed = read_columns(self.root / _FILES, self.root, ("FileName", "Split"))
        traced = self._read_outlines()
        cases, bare, seen = [], 0, set()
        self._outlines = {}
        for name, side in zip(listed["FileName"].map(_stem), listed["Split"], strict=True):
            ids = {frame: f"{name}#{frame:04d}" for frame in traced.get(name, {})}
            path = files.get(f"Videos/{name}.avi")
            if name in seen:
                self.faults.append(Fault(f"{self.root / _FILES}: '{name}' is listed twice.", *ids.values()))
                continue
            seen.add(name)
            if path is None:
                where = self.root / "Videos" / f"{name}.avi"
                self.faults.append(Fault(f"{where}: is listed in '{_FILES}' and not here.", *ids.values()))
                continue
            if side.lower() not in SIDES:
                self.faults.append(Fault(f"{self.root / _FILES}: '{name}': '{side}' is no split.", *ids.values()))
            bare += not ids
            for frame, case_id in ids.items():
                fill = partial(fill_polygons, [traced[name][frame]], origin="centre")
                self._outlines[case_id] = [Outline("its tracing", None, fill)]
                side_of = SIDES.get(side.lower())
                cases.append(Case(case_id, None, path, index=frame, patient=name, organ=self.spec.organ, split=side_of))
        if bare:
            self._notes.append(f"left out {bare} videos without a tracing")
        return cases

    def picture(self, case: Case) -> Image:
        """The frame's luminance."""
        assert case.image is not None
        return read_frame(case.image, case.index)

    def _read_outlines(self) -> dict[str, dict[int, Points]]:
        """Video -> frame -> outline."""
        import pandas as pd  # every start imports all readers; most need no table

        path = self.root / _TRACINGS
        lines = read_columns(path, self.root, ("FileName", "Frame", *_ENDS))
        numbers = lines[["Frame", *_ENDS]].apply(pd.to_numeric, errors="coerce")
        sound = np.isfinite(numbers).all(axis=1) & (numbers["Frame"] >= 0) & (numbers.abs().max(axis=1) < _FAR)
        for name, frame in sorted({*zip(lines["FileName"][~sound], lines["Frame"][~sound], strict=True)}):
            case_id = f"{_stem(name)}#{int(frame):04d}" if frame.isdecimal() else _stem(name)
            self.faults.append(Fault(f"{path}: '{name}', frame '{frame}': a line without five numbers.", case_id))
        found: dict[str, dict[int, Points]] = {}
        kept = numbers[sound]
        for (name, frame), ends in kept.groupby([lines["FileName"].map(_stem), kept["Frame"].astype(int)], sort=True):
            chords = ends[_ENDS].to_numpy(float)[1:]
            if len(chords) > 1:
                found.setdefault(str(name), {})[int(frame)] = np.concatenate([chords[:, :2], chords[::-1, 2:]])
            else:
                said = f"{path}: '{name}', frame {frame}: has {len(chords)} chords; two are needed for an outline."
                self.faults.append(Fault(said, f"{name}#{frame:04d}"))
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
