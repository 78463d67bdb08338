"""Masked prediction of discrete tokens, as BEiT does (Bao et al. (2022), arXiv:2106.08254).

BEiT's tokenizer was trained by others on photographs and cannot be shipped. Here it is k-means on patches, trained by
mini-batches (Sculley (2010), doi:10.1145/1772690.1772862) in the first steps of the same call and fixed afterwards: it
needs no second network or training, and its tokens are of the images that are seen. Patches have mean 0 and variance 1,
so that a token stands for a structure and not for a brightness. Masked patches are drawn one by one, not in blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from usfm_bench.pretraining.plain_images import PLAIN, MaskingPlainSpec, PlainMasked
from usfm_bench.specs.method import METHODS

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.pretraining.plain_images import MaskedPatches


class BeitSpec(MaskingPlainSpec):
    """The ratio is the publication's; it has 8192 tokens, for a million images."""

    ratio: float = Field(default=0.4, gt=0, lt=1)
    """Share of patches that are masked."""
    tokens: int = Field(default=128, ge=2)
    """Different ones."""
    tokenizer_steps: int = Field(default=50, ge=1)
    """Steps, the first ones, in which the tokenizer is trained too."""

    @model_validator(mode="after")
    def _enough_patches(self) -> BeitSpec:
        side = self.image_size // PLAIN.get(self.model, {"patch_size": 16})["patch_size"]
        patches = self.batch_size // self.accumulate * side**2
        if patches < self.tokens:
            raise ValueError(
                f"tokens {self.tokens} start from the {patches} patches of a micro-batch; set {patches} or less"
            )
        return self


@METHODS.register("beit")
class Beit(PlainMasked[BeitSpec]):
    """A token stands in the place of masked patches; which of the tokenizer's they are is predicted."""

    settings = BeitSpec

    def build(self, spec: BeitSpec) -> Any:
        """Encoder, linear layer and tokenizer."""
        from usfm_bench.pretraining.tokens import PredictedTokens

        return PredictedTokens(spec, spec.tokens)

    def step(self, views: MaskedPatches) -> dict[str, Tensor]:
        """Cross-entropy of masked patches alone."""
        return {"loss": self.network(views)}

    def after_step(self, done: int) -> None:
        """The tokenizer takes its own step, as long as it is trained."""
        self.network.tokenizer.follow(trained=done <= self.spec.tokenizer_steps)
