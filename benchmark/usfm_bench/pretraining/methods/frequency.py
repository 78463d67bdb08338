"""USFM's ablation with frequency masking alone, Eq. (6)."""

from __future__ import annotations

from typing import ClassVar

from usfm_bench.pretraining.masked_images import MaskedImages, MaskedSpec
from usfm_bench.specs.method import METHODS


class FrequencySpec(MaskedSpec):
    """The settings of patches are there and have no effect."""

    masks_patches: ClassVar[bool] = False


@METHODS.register("frequency")
class Frequency(MaskedImages):
    """Frequencies are masked."""

    settings = FrequencySpec
