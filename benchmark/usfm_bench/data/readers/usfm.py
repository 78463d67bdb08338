"""The published USFM code's layout: `{training,val,test}_set/{image,mask}/NAME.png`, or sets of class folders."""

from __future__ import annotations

from pathlib import Path

from usfm_bench.data.readers.base import READERS, MaskFileOptions, read_options
from usfm_bench.data.readers.masks import MasksReader
from usfm_bench.data.readers.masks_options import MasksOptions, PatientRegex
from usfm_bench.data.sample import Case
from usfm_bench.specs.dataset import DatasetSpec

SETS = ("training_set", "val_set", "test_set")


class UsfmOptions(MaskFileOptions):
    """Options of the layout `usfm`."""

    patient: PatientRegex = None
    """Regular expression that finds the patient in the image's path."""


@READERS.register("usfm")
class UsfmReader(MasksReader):
    """`image` and `mask` folders for an entry that can segment, class folders for one that can only classify.

    The three sets are a split that the data set prescribes (`Case.split`).
    """

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        options = read_options(spec, UsfmOptions)
        if spec.needs("mask"):
            names = {"images": "{split}/image/{id}.*", "masks": "{split}/mask/{id}.*"}
        else:
            names = {"images": "{split}/{label}/{id}.*"}
        patterns = MasksOptions.model_validate(names | options.model_dump())
        super().__init__(spec, root, patterns)

    def cases(self) -> list[Case]:
        """Every image, by set and path; a missing set is a fault."""
        cases = super().cases()
        self.faults += [f"{self.root / name}: no such folder." for name in SETS if not (self.root / name).is_dir()]
        return cases
