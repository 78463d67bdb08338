"""USFM's ablation with spatial masking alone, Eq. (1)."""

from __future__ import annotations

from typing import ClassVar

from usfm_bench.pretraining.masked_images import MaskedImages, MaskedSpec
from usfm_bench.specs.method import METHODS


class SpatialSpec(MaskedSpec):
    """The settings of frequencies are there and have no effect."""

    stops_bands: ClassVar[bool] = False


@METHODS.register("spatial")
class Spatial(MaskedImages):
    """Patches are masked."""

    settings = SpatialSpec
