"""CAMUS: `patient0001/patient0001_{2CH,4CH}_{ED,ES}[_gt]`, as `.mhd` with a raw file or as `.nii.gz`.

Leclerc et al., IEEE Trans Med Imaging 38:2198, 2019, doi:10.1109/TMI.2019.2900516. Labels: 1 inside of the left
ventricle, 2 its muscle, 3 left atrium. Sequences are not read. The NIfTI release lists patients, a name a line, in
`subgroup_training.txt`, `subgroup_validation.txt` and `subgroup_testing.txt`; where such are found, they are the split
that the data set prescribes. The older release has no labels for its `testing` folder.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from usfm_bench.core.errors import DataError
from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.base import READERS, FolderReader, Options, named, read_options
from usfm_bench.data.readers.outlines import take_turns
from usfm_bench.data.readers.patterns import SIDES
from usfm_bench.data.readers.volumes import read_picture
from usfm_bench.data.sample import Case, Sample, Side, sample_of
from usfm_bench.specs.dataset import DatasetSpec

_NAME = re.compile(
    r"(?P<image>(?P<patient>patient\d+)_(?P<view>[24]CH)_(?P<phase>ED|ES))(?P<mask>_gt)?(?i:\.mhd|\.nii|\.nii\.gz)"
)
_SUBGROUP = re.compile(r"subgroup_(\w+)\.txt", re.IGNORECASE)


Labels = Annotated[tuple[Annotated[int, Field(ge=1, le=3)], ...], Field(min_length=1)]


class CamusOptions(Options):
    """Options of the layout `camus`."""

    structures: Labels | dict[str, Labels] = (1,)
    """Labels that make up the mask; or those of each of the entry's `structures`, by name: they may share labels."""
    views: tuple[Literal["2CH", "4CH"], ...] = ("2CH", "4CH")
    phases: tuple[Literal["ED", "ES"], ...] = ("ED", "ES")


@READERS.register("camus")
class CamusReader(FolderReader):
    """One case a patient, view and phase, at any depth below the folder; a patient's are never split."""

    endings = frozenset({".mhd", ".nii", ".gz", ".txt"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        super().__init__(spec, root)
        self._options = read_options(spec, CamusOptions)
        chosen = self._options.structures
        self._labels = [chosen[name] for name in named(spec, chosen)] if isinstance(chosen, dict) else [chosen]
        if spec.structures and not isinstance(chosen, dict):
            named(spec, {})

    def cases(self) -> list[Case]:
        """Every image of the chosen views and phases, by path."""
        files = self.find()
        sides = self._sides([path for path in files.values() if _SUBGROUP.fullmatch(path.name)])
        found = [(name, m) for name, path in files.items() if (m := _NAME.fullmatch(path.name))]
        chosen = [
            (name, m) for name, m in found if m["view"] in self._options.views and m["phase"] in self._options.phases
        ]
        masks = self._each(files, [(m["image"], name) for name, m in chosen if m["mask"]])
        paths = self._each(files, [(m["image"], name) for name, m in chosen if not m["mask"]])
        images = {}
        for name, path in paths.items():
            patient = name.partition("_")[0]
            images[name] = Case(name, None, path, patient=patient, organ=self.spec.organ, split=sides.get(patient))
        return self._paired(images, masks)

    def case_of(self, name: str) -> str:
        """Patient, view and phase."""
        match = _NAME.fullmatch(PurePosixPath(name).name)
        return match["image"] if match else name

    def _each(self, files: dict[str, Path], found: list[tuple[str, str]]) -> dict[str, Path]:
        """Case id -> the one file that has its name; releases differ in where it lies."""
        chosen = {
            case: (self.only(names, names[0].rpartition("/")[2], case)) for case, names in take_turns(found).items()
        }
        return {case: files[name] for case, name in chosen.items() if name is not None}

    def load(self, case: Case) -> Sample:
        """Image, the chosen structures, and the header's pixel spacing."""
        assert case.image is not None
        image, spacing = read_picture(case.image, self.root)
        labels, _ = read_picture(case.masks[0], self.root)
        if labels.shape != image.shape:
            raise DataError(f"{case.masks[0]}: labels are {labels.shape[::-1]} px, their image {image.shape[::-1]}.")
        if strange := sorted(set(np.unique(labels).tolist()) - {0, 1, 2, 3}):
            raise DataError(f"{case.masks[0]}: labels {strange}; expected 0 to 3.")
        masks = np.stack([np.isin(labels, of) for of in self._labels])
        if not masks.any():
            wanted = sorted({label for of in self._labels for label in of})
            raise DataError(f"{case.masks[0]}: holds none of the labels {wanted}.")
        return sample_of(case, image, masks if self.spec.structures else masks[0], spacing)

    def _paired(self, images: dict[str, Case], masks: dict[str, Path]) -> list[Case]:
        bare = [case for name, case in images.items() if name not in masks]
        test = [case for case in bare if case.image and "testing" in case.image.relative_to(self.root).parts]
        if test:
            self._notes.append(f"left out {len(test)} images of the testing folder, which have no labels")
        self.faults += [
            Fault(f"{case.image}: has no labels ('{case.case_id}_gt').", case.case_id)
            for case in bare
            if case not in test
        ]
        self.faults += [Fault(f"{masks[name]}: has no image.", name) for name in masks.keys() - images.keys()]
        return [
            Case(name, None, case.image, (masks[name],), patient=case.patient, organ=case.organ, split=case.split)
            for name, case in images.items()
            if name in masks
        ]

    def _sides(self, lists: list[Path]) -> dict[str, Side]:
        sides: dict[str, Side] = {}
        for path in lists:
            match = _SUBGROUP.fullmatch(path.name)
            side = SIDES.get(match[1].lower()) if match else None
            for patient in path.read_text(encoding="utf-8", errors="replace").split():
                if side and sides.setdefault(patient, side) != side:
                    self.faults.append(f"{path}: '{patient}' is also in the list of '{sides[patient]}'.")
        return sides
