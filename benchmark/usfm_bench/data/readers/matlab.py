"""Data sets in one MATLAB file with a struct array `data`: OASBUD and the fatty livers of Byra et al.

OASBUD: Piotrzkowska-Wroblewska et al., Med Phys 44:6105, 2017, doi:10.1002/mp.12538. A lesion has two scans of raw
echoes (`rf1`, `rf2`: samples in depth x lines) and outlines of the same size (`roi1`, `roi2`). Fatty livers: Byra et
al., Int J CARS 13:1895, 2018, doi:10.1007/s11548-018-1843-2. A patient has some B-mode `images` (frames, H, W).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from usfm_bench.core.errors import DataError
from usfm_bench.data.readers.base import READERS, FolderReader, Options, read_options, shorten
from usfm_bench.data.sample import Case, Image, Sample
from usfm_bench.specs.dataset import DatasetSpec


class MatReader(FolderReader):
    """Records of the one `.mat` file in the folder; the whole file is held in memory while it is read."""

    endings = frozenset({".mat"})
    fields: tuple[str, ...]
    labels: tuple[str, str]
    """Names of the values 0 and 1 of the field `class`."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._records: list[dict[str, Any]] = []

    def records(self) -> tuple[Path, list[tuple[dict[str, Any], str]]]:
        """The file, and its records of the entry's classes with the name of their class.

        Raises:
            DataError: no file, several, or one that does not hold such records.
        """
        files = list(self.find().values())
        if len(files) > 1:
            names = shorten([f"'{path.relative_to(self.root)}'" for path in files])
            raise DataError(f"{self.root}: {len(files)} files end in .mat ({names}); one is needed.")
        from scipy import io  # takes a while to import; other readers need it not

        try:
            data = io.loadmat(files[0], simplify_cells=True, variable_names=["data"])["data"]
            records = [dict(record) for record in ([data] if isinstance(data, dict) else data)]
        except Exception as error:  # scipy raises whatever a damaged file provokes
            raise DataError(f"{files[0]}: holds no struct array `data` that can be read ({error!r}).") from None
        found = []
        for i, record in enumerate(records):
            if missing := [name for name in self.fields if name not in record]:
                self.faults.append(f"{files[0]}: record {i + 1} has no field {', '.join(missing)}.")
            elif record["class"] not in (0, 1):
                self.faults.append(f"{files[0]}: record {i + 1}: class {record['class']!r}; expected 0 or 1.")
            else:
                found.append((record, self.labels[int(record["class"])]))
        return files[0], [pair for pair in found if not self.spec.classes or pair[1] in self.spec.classes]


class OasbudOptions(Options):
    """Options of the layout `oasbud`."""

    dynamic_range: Annotated[float, Field(gt=0, le=120)] = 60.0
    """Decibels between white, the strongest echo of a scan, and black."""


@READERS.register("oasbud")
class OasbudReader(MatReader):
    """Two cases a lesion, its scans; a patient's are never split."""

    fields = ("id", "rf1", "rf2", "roi1", "roi2", "class")
    labels = ("benign", "malignant")

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._options = read_options(spec, OasbudOptions)

    def cases(self) -> list[Case]:
        """Every scan, in the file's order."""
        path, found = self.records()
        self._records = [record for record, _ in found]
        return [
            Case(f"{i + 1:03d}-{k + 1}", label, path, index=2 * i + k, patient=str(record["id"]), organ=self.spec.organ)
            for i, (record, label) in enumerate(found)
            for k in (0, 1)
        ]

    def load(self, case: Case) -> Sample:
        """The scan as grey levels and its outline's inside."""
        record, k = self._records[case.index // 2], case.index % 2 + 1
        echoes, inside = np.asarray(record[f"rf{k}"], float), np.asarray(record[f"roi{k}"]) > 0
        if echoes.ndim != 2 or echoes.shape != inside.shape:
            raise DataError(f"{case.image}: '{case.case_id}': rf{k} is {echoes.shape}, roi{k} {inside.shape}.")
        if not inside.any():
            raise DataError(f"{case.image}: '{case.case_id}': roi{k} is empty; each scan has an outline.")
        return Sample(case, b_mode(echoes, self._options.dynamic_range), inside)


@READERS.register("fatty-liver")
class FattyLiverReader(MatReader):
    """One case a frame; a patient's are never split."""

    fields = ("id", "class", "images")
    labels = ("normal", "fatty")

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        read_options(spec, Options)

    def cases(self) -> list[Case]:
        """Every frame, in the file's order."""
        path, found = self.records()
        frames = [(record, label, frame) for record, label in found for frame in _frames(record["images"])]
        self._records = [{"image": frame} for _, _, frame in frames]
        return [
            Case(f"{i:04d}", label, path, index=i, patient=str(record["id"]), organ=self.spec.organ)
            for i, (record, label, _) in enumerate(frames)
        ]

    def load(self, case: Case) -> Sample:
        """The frame; there are no masks."""
        frame = self._records[case.index]["image"]
        if frame.ndim != 2 or frame.dtype != np.uint8:
            raise DataError(f"{case.image}: frame {case.index} is {frame.dtype} {frame.shape}; expected 8-bit grey.")
        return Sample(case, np.ascontiguousarray(frame), None)


def _frames(images: NDArray[Any]) -> NDArray[Any]:
    """(frames, H, W), where MATLAB drops the first of one frame."""
    return images[None] if np.ndim(images) == 2 else np.asarray(images)


def b_mode(echoes: NDArray[np.float64], dynamic_range: float) -> Image:
    """Grey levels of raw echoes (depth, lines): the envelope (Hilbert transform in depth) in decibels below its peak.

    Levels are 255 at the peak and 0 at `dynamic_range` decibels below it and beyond; a scan of zeros is black.
    """
    from scipy import signal  # takes a while to import; other readers need it not

    envelope = np.abs(signal.hilbert(echoes, axis=0))
    if not (peak := envelope.max()) > 0:
        return np.zeros(echoes.shape, np.uint8)
    decibels = 20 * np.log10(np.maximum(envelope / peak, 10 ** (-dynamic_range / 20)))
    return np.asarray(np.rint(255 * (1 + decibels / dynamic_range)), np.uint8)
