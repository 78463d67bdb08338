"""MetaImage and NIfTI pictures with masks of the same form, by file name patterns: `image_mha/{id}.mha`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from usfm_bench.data.readers.base import READERS, read_options
from usfm_bench.data.readers.mask_values import select
from usfm_bench.data.readers.masks import MasksReader
from usfm_bench.data.readers.masks_options import MasksOptions
from usfm_bench.data.readers.volumes import read_picture
from usfm_bench.data.sample import Case, Mask, Sample, sample_of
from usfm_bench.specs.dataset import DatasetSpec


class VolumesOptions(MasksOptions):
    """Options of the layout `volumes`: those of `masks`, and these."""

    spacing: Literal["header", "unknown"] = "header"
    """`unknown`: the headers were filled in by a program and say nothing."""


@READERS.register("volumes")
class VolumesReader(MasksReader):
    """One case an image file of one picture; three planes are colours and become grey."""

    endings = frozenset({".mha", ".mhd", ".nii", ".gz"})

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self._volumes = read_options(spec, VolumesOptions)
        super().__init__(spec, root, self._volumes)

    def load(self, case: Case) -> Sample:
        """The grey picture, its masks united, and the header's pixel spacing."""
        assert case.image is not None
        image, spacing = read_picture(case.image, self.root, planes=(1, 3))
        masks = [self.fit(path, self._mask(path), image.shape) for path in case.masks]
        mask = sum(masks[1:], masks[0]) if masks else None
        return sample_of(case, image, mask, spacing if self._volumes.spacing == "header" else None)

    def _mask(self, path: Path) -> Mask:
        levels, _ = read_picture(path, self.root)
        return select(path, levels, self._volumes.values)
