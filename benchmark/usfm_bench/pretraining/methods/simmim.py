"""SimMIM (Xie et al. (2022), arXiv:2111.09886) on a plain vision transformer."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from usfm_bench.pretraining.plain_images import MaskingPlainSpec, PlainMasked
from usfm_bench.specs.method import METHODS


class SimMimSpec(MaskingPlainSpec):
    """Its ratio and smallest crop are the publication's."""

    ratio: float = Field(default=0.6, gt=0, lt=1)
    """Share of patches that are masked."""
    crop_scale: float = Field(default=0.67, gt=0, le=1)
    """Smallest area that `crop` keeps, as a share of the image."""


@METHODS.register("simmim")
class SimMim(PlainMasked[SimMimSpec]):
    """A token stands in the place of masked patches, whose grey levels a linear layer reconstructs."""

    settings = SimMimSpec

    def build(self, spec: SimMimSpec) -> Any:
        """Encoder and linear layer."""
        from usfm_bench.pretraining.plain import MaskedTokens

        return MaskedTokens(spec)
