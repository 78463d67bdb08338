"""Masked autoencoding (He et al. (2022), arXiv:2111.06377), and with blurred inputs, as DeblurringMIM has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from usfm_bench.pretraining.plain_images import MaskedPatches, MaskingPlainSpec, PlainMasked
from usfm_bench.specs.method import METHODS

if TYPE_CHECKING:
    from torch import Tensor


class MaeSpec(MaskingPlainSpec):
    """The publication's decoder has a width of 512 and 8 blocks, for ViT-B and larger."""

    decoder_width: int = Field(default=128, ge=32, multiple_of=32)
    """Of the decoder's tokens."""
    decoder_depth: int = Field(default=2, ge=1)
    """Blocks of the decoder."""
    normalised: bool = True
    """Patches to reconstruct have mean 0 and variance 1."""


@METHODS.register("mae")
class Mae(PlainMasked[MaeSpec]):
    """The encoder sees visible patches alone."""

    settings = MaeSpec

    def build(self, spec: MaeSpec) -> Any:
        """Encoder and decoder."""
        from usfm_bench.pretraining.plain import MaskedEncoder

        return MaskedEncoder(spec, spec.decoder_width, spec.decoder_depth, normalised=spec.normalised)


@METHODS.register("deblur-mae")
class DeblurMae(Mae):
    """The encoder sees visible patches of a blurred image, and the sharp ones are reconstructed.

    `deblurringmim:PATH` reads the file, and blurs as this does (Kang et al. (2023), arXiv:2307.10603).
    """

    def step(self, views: MaskedPatches) -> dict[str, Tensor]:
        """The error of masked patches alone."""
        from usfm_bench.models.zoo.blurred import blur

        return {"loss": self.network(views, blur(views.images))}
