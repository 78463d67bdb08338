"""DICOM files, one frame or many, cropped to the ultrasound picture; masks, if any, are image files beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, Options, medical, read_options
from usfm_bench.data.readers.dicom_files import Header, crop, grey_frame, is_dicom, read_frame, read_header
from usfm_bench.data.readers.files import not_read, say_not_read
from usfm_bench.data.readers.masks import MasksReader
from usfm_bench.data.readers.masks_options import MasksOptions, Pattern
from usfm_bench.data.readers.patterns import compile_pattern
from usfm_bench.data.sample import Case, Image, Sample, sample_of
from usfm_bench.specs.dataset import DatasetSpec


class Every(Options):
    """`{every: 5}`: the first frame and each fifth after it."""

    every: Annotated[int, Field(ge=1)]


class DicomOptions(MasksOptions):
    """Options of the layout `dicom`: those of `masks`, and these."""

    images: Pattern = "{id}"
    frames: Every | Literal["first"] = Every(every=1)
    """Which frames of a file become cases; all of them are in one group."""
    group_by: Literal["PatientID", "file"] = "PatientID"
    """What frames of one patient share, where neither a path nor a table says it."""


@READERS.register("dicom")
class DicomReader(MasksReader):
    """One case a frame. Case ids come from paths; of names, dates and identifiers in tags, a digest alone is kept."""

    endings = None

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        medical("pydicom")
        self._dicom = read_options(spec, DicomOptions)
        super().__init__(spec, root, self._dicom)
        self._headers: dict[Path, Header] = {}

    def find(self) -> dict[str, Path]:
        """DICOM files, by their mark or ending, and files that a pattern for masks matches."""
        masks = [compile_pattern(pattern) for pattern in self.options.masks]
        files = super().find()
        found = {n: path for n, path in files.items() if any(m.fullmatch(n) for m in masks) or is_dicom(path)}
        ignored = [compile_pattern(pattern) for pattern in self.options.ignore]
        others = [n for n in not_read(self.root, ()) if n not in found and not any(p.fullmatch(n) for p in ignored)]
        self._notes += say_not_read(others)
        return found

    def cases(self) -> list[Case]:
        """Every chosen frame, by path; files that hold no two-dimensional picture are left out."""
        self.grouped_by = None
        cases = [frame for case in super().cases() for frame in self._frames(case)]
        self._note(list(self._headers.values()))
        return cases

    def _note(self, headers: list[Header]) -> None:
        counts = {
            "show no two-dimensional picture (M-mode, Doppler) and are left out": sum(h.other_regions for h in headers),
            "state no ultrasound region: whole frames, with any text burned into them": sum(
                not h.boxes and not h.other_regions for h in headers
            ),
            "state no pixel spacing, or several": sum(bool(h.boxes) and h.spacing is None for h in headers),
            "have no PatientID": sum(h.patient is None for h in headers),
        }
        self._notes += [f"{n} of {len(headers)} files {what}" for what, n in counts.items() if n]

    def load(self, case: Case) -> Sample:
        """The frame's grey levels and mask within the ultrasound regions, and their pixel spacing."""
        assert case.image is not None
        header = self._headers[case.image]
        frame = self._grey(case.image, header, case.index)
        mask = self.read_mask(case, frame.shape, self.options.values) if self.options.masks else None
        cropped = None if mask is None else crop(mask, header.boxes)
        return sample_of(case, crop(frame, header.boxes), cropped, header.spacing)

    def _grey(self, path: Path, header: Header, index: int) -> Image:
        pixels = read_frame(path, header, index)
        if pixels.dtype == np.uint16 and header.bits == 16:
            self.measure(pixels)
        return grey_frame(path, header, pixels, self._bits)

    def _frames(self, case: Case) -> list[Case]:
        assert case.image is not None
        try:
            header = self._headers[case.image] = read_header(case.image)
        except DataError as error:
            self.faults.append(Fault(str(error), case.case_id))
            return []
        if header.other_regions:
            return []
        if header.frames > 1 and case.masks:
            fault = f"{case.image}: has {header.frames} frames, and a mask that could be of any of them."
            self.faults.append(Fault(fault, case.case_id))
            return []
        digest = header.patient if self._dicom.group_by == "PatientID" else None
        if not (case.patient or digest):
            self.grouped_by = "recordings"
        case = replace(case, patient=case.patient or digest or case.case_id)
        if header.frames == 1:
            return [case]
        step = header.frames if self._dicom.frames == "first" else self._dicom.frames.every
        return [replace(case, case_id=f"{case.case_id}#{i:04d}", index=i) for i in range(0, header.frames, step)]
