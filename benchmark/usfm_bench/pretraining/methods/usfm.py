"""USFM's own pre-training: both maskings, Eq. (7)."""

from __future__ import annotations

from usfm_bench.pretraining.masked_images import MaskedImages, MaskedSpec
from usfm_bench.specs.method import METHODS


@METHODS.register("usfm")
class Usfm(MaskedImages):
    """Patches and frequencies are masked."""

    settings = MaskedSpec
