"""Images and masks by file name patterns: parallel folders, suffixes, several masks an image, colours for classes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, FolderReader, read_options
from usfm_bench.data.readers.files import read_pixels, say_not_read
from usfm_bench.data.readers.mask_values import Colours, Structures, nearest_colour, without_alpha
from usfm_bench.data.readers.masks_options import MasksOptions
from usfm_bench.data.readers.patterns import SIDES, Key, compile_pattern, shared_key, sort_names
from usfm_bench.data.readers.recordings import tell_patients
from usfm_bench.data.readers.tables import Row, look_up
from usfm_bench.data.sample import Case, Sample, Spacing, sample_of
from usfm_bench.specs.dataset import DatasetSpec


@READERS.register("masks")
class MasksReader(FolderReader):
    """One case an image; what the patterns say decides which file is what."""

    def __init__(self, spec: DatasetSpec, root: Path, options: MasksOptions | None = None) -> None:
        self.options = options or read_options(spec, MasksOptions)
        super().__init__(spec, root, self.options)
        self._spacing: dict[str, Spacing] = {}

    def cases(self) -> list[Case]:
        """Every image of the entry's classes, by path; masks without an image, and the like, go to `faults`."""
        files, options = self.find(), self.options
        image, masks = compile_pattern(options.images), [compile_pattern(pattern) for pattern in options.masks]
        ignored = [compile_pattern(pattern) for pattern in options.ignore]
        images, found = sort_names(list(files), image, masks, ignored)
        self._notes += say_not_read(_unmatched(files, [image, *masks, *ignored]), ", since no pattern fits them")
        owners: dict[tuple[int, Key], str] = {}
        cases = []
        for name, values in images:
            keys = [(i, shared_key(values, image, mask)) for i, mask in enumerate(masks)]
            self.faults += [
                Fault(
                    f"{files[name]}: has the same masks as '{owners[key]}'. Rename one, or `ignore` it.",
                    name,
                    owners[key],
                )
                for key in keys
                if owners.setdefault(key, name) != name
            ]
            cases.append(self._case(name, values, files, [m for i, key in keys for m in found[i].get(key, ())]))
        self.faults += [
            Fault(f"{files[name]}: is a mask (`{options.masks[i]}`) without an image.", self.case_of(name))
            for i in found
            for key in found[i].keys() - {key for j, key in owners if j == i}
            for name in found[i][key]
        ]
        if not cases:
            raise DataError("\n".join([*self.faults, f"{self.root}: no file is an image (`{options.images}`)."]))
        return self._of_classes(self._tell(self._label(cases, dict(images))))

    def case_of(self, name: str) -> str:
        """The file's own path; of a mask, the left-out image that it would belong to, if it is of one."""
        image = compile_pattern(self.options.images)
        for pattern in map(compile_pattern, self.options.masks):
            if mask := pattern.fullmatch(name):
                key = shared_key(mask.groupdict(), image, pattern)
                left_out = ((case, image.fullmatch(case)) for case in self.spec.exclude)
                fitting = (case for case, m in left_out if m and shared_key(m.groupdict(), image, pattern) == key)
                return next(fitting, name)
        return name

    def load(self, case: Case) -> Sample:
        """Image by luminance; masks united, None where the entry has no pattern for one; spacing from a table."""
        assert case.image is not None
        image = self.read_image(case.image)
        mask = self.read_mask(case, image.shape, self.options.values) if self.options.masks else None
        return sample_of(case, image, mask, self._spacing.get(case.case_id))

    def _case(self, name: str, values: dict[str, str], files: dict[str, Path], masks: list[str]) -> Case:
        if self.options.masks and not masks and self.options.no_mask == "fault":
            patterns = " or ".join(f"`{mask}`" for mask in self.options.masks)
            self.faults.append(Fault(f"{files[name]}: has no mask file ({patterns}).", name))
        elif masks and self.options.no_mask == "fault" and isinstance(self.options.values, Structures):
            lacking = self.options.values.without_file([files[mask] for mask in masks])
            self.faults += [Fault(f"{files[name]}: has no mask file of {each}.", name) for each in lacking]
        split = values.get("split")
        if split and split.lower() not in SIDES:
            self.faults.append(Fault(f"{files[name]}: '{split}' is no split; known: {', '.join(SIDES)}.", name))
        patient = values.get("patient")
        if self.options.patient:
            match = re.search(self.options.patient, name)
            patient = match[1] if match else None
            if not patient and not self.options.recording:
                fault = f"{files[name]}: no patient in the path, by the expression '{self.options.patient}'."
                self.faults.append(Fault(fault, name))
        paths, side = tuple(files[mask] for mask in masks), SIDES.get((split or "").lower())
        return Case(name, values.get("label"), files[name], paths, patient=patient, organ=self.spec.organ, split=side)

    def _label(self, cases: list[Case], values: dict[str, dict[str, str]]) -> list[Case]:
        source = self.options.label_from
        if source == "colours":
            return [labelled for case in cases if (labelled := self._label_by_colour(case))]
        if source is None:
            return cases
        rows, faults = look_up(source, self.root, ((case.case_id, values[case.case_id]["id"]) for case in cases))
        self.faults += faults
        self._spacing = {name: row.spacing for name, row in rows.items() if row.spacing}
        return [_told(case, rows[case.case_id]) for case in cases if case.case_id in rows]

    def _tell(self, cases: list[Case]) -> list[Case]:
        if self.options.recording is None:
            return cases
        told = tell_patients(cases, self.options.recording, self.options.patients_from, self.root)
        self.faults += told.faults
        self._notes += told.notes
        self.grouped_by = told.kind
        return told.cases

    def _label_by_colour(self, case: Case) -> Case | None:
        """The case with the class whose colour its masks have, or else with the entry's class that has no colour."""
        assert isinstance(self.options.values, Colours)
        names = list(self.options.values.colours)
        try:
            numbers = {
                int(n)
                for path in case.masks
                for n in np.unique(nearest_colour(without_alpha(path, read_pixels(path)), self.options.values))
            }
        except DataError as error:
            self.faults.append(Fault(str(error), case.case_id))
            return None
        found = [names[n - 1] for n in sorted(numbers - {0})] or [c for c in self.spec.classes if c not in names]
        if len(found) != 1:
            fault = f"{case.image}: its mask has the colours of {' and '.join(found) or 'no class'}, not of one."
            self.faults.append(Fault(fault, case.case_id))
            return None
        return replace(case, label=found[0])

    def _of_classes(self, cases: list[Case]) -> list[Case]:
        classes = self.spec.classes
        if not classes or all(case.label is None for case in cases):
            return cases
        kept = [case for case in cases if case.label in classes]
        if len(kept) < len(cases):
            others = ", ".join(sorted({str(case.label) for case in cases} - set(classes)))
            self._notes.append(f"left out {len(cases) - len(kept)} images of other classes ({others})")
        return kept


def _unmatched(names: Iterable[str], patterns: Sequence[re.Pattern[str]]) -> list[str]:
    return [name for name in names if not any(pattern.fullmatch(name) for pattern in patterns)]


def _told(case: Case, row: Row) -> Case:
    return replace(
        case, label=row.label or case.label, patient=row.patient or case.patient, split=row.side or case.split
    )
