"""What a pre-training is: frozen, complete, hashable settings. Nothing here imports torch."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import Settings, content_hash
from usfm_bench.core.validation import in_words

Method = Literal["usfm", "spatial", "frequency"]
METHODS: tuple[Method, ...] = ("usfm", "spatial", "frequency")
_PATCH = 16


class MaskingSpec(Settings):
    """Dual masking, Eqs. (1) to (7). Frequencies are in cycles an image side."""

    patch_size: int = Field(default=32, ge=1)
    """Side of a spatial patch in pixels; divides the image."""
    ratio: float = Field(default=0.6, ge=0, le=1)
    """Share of patches that are masked: ceil(ratio * patches) of them."""
    base_bandwidth: float = Field(default=4.0, ge=1)
    """Width of the innermost annulus."""
    growth: float = Field(default=0.25, ge=0)
    """Each annulus is wider than the one inside it by this share of its width ..."""
    max_increase: float = Field(default=16.0, ge=0)
    """... and by no more than this."""
    protected: float = Field(default=4.0, ge=0)
    """Radius of the centre that is never masked: mean and coarsest structure."""
    band_ratio: float = Field(default=0.3, ge=0, le=1)
    """Share of annuli that are stopped: ceil(band_ratio * annuli) of them."""
    magnitude: bool = False
    """Take the magnitude after the inverse transform, as the published transform does, instead of the real part."""
    normalised: bool = False
    """Mask normalised images, as the published transform does, instead of grey levels in [0, 1]."""


class PretrainSpec(Settings):
    """Everything that decides the weights that come out. Two equal specs on one CPU give the same bits."""

    version: Literal[2] = 2
    """Raised when equal settings give other weights. 2: the last norm is `norm`, as in the published file; 1, which did
    not say so, wrote `fc_norm`."""
    method: Method = "usfm"
    """`usfm`: both maskings, Eq. (7). `spatial`: Eq. (1) alone. `frequency`: Eq. (6) alone."""
    model: str = "usfm_tiny_patch16_224"
    """timm's name of the encoder."""
    datasets: tuple[str, ...] = Field(min_length=1)
    """Data sets whose images are seen; their labels are not."""
    all_images: bool = False
    """See test images too. Else only the training side of the holdout of `split_seed` is seen."""
    split_seed: int = Field(default=0, ge=0)
    """The split seed of the suites that the weights are meant for."""
    image_size: int = Field(default=224, ge=_PATCH)
    """Side of the square input, in pixels."""
    steps: int = Field(ge=1)
    """Optimiser steps."""
    batch_size: int = Field(default=64, ge=1)
    """Images a step, over all devices and accumulated micro-batches."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches a step."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate of AdamW."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps of linear warm-up from 0; the rest is a cosine to 0."""
    weight_decay: float = Field(default=0.05, ge=0)
    """AdamW's weight decay; biases, norms and position tables have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates."""
    clip_norm: float | None = Field(default=5.0, gt=0)
    """Largest gradient norm; None: no clipping."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device has it in hardware, else fp32."""
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    """Stochastic depth of the encoder."""
    lambda_frequency: float = Field(default=1.0, ge=0)
    """Weight of the focal frequency loss, Eq. (10). The paper does not print it; 1 is this project's default."""
    l1_over: Literal["all", "masked"] = "all"
    """Pixels of the L1 loss, Eq. (11): all, as the paper writes it, or those of masked patches."""
    masking: MaskingSpec = MaskingSpec()
    seed: int = Field(default=0, ge=0)
    """Governs initialisation, sampling and masks."""
    threads: int | None = Field(default=None, ge=1)
    """torch threads on a CPU; part of the recipe, since other counts give other bits. None on a GPU."""

    @model_validator(mode="after")
    def _fits(self) -> PretrainSpec:
        size, patch = self.image_size, self.masking.patch_size
        if size % _PATCH:
            raise ValueError(f"image_size {size} is not a multiple of the encoder's patch, {_PATCH}")
        if self.method != "frequency" and size % patch:
            raise ValueError(f"image_size {size} is not a multiple of the masking patch, {patch}")
        corner = size / math.sqrt(2)
        if self.method != "spatial" and self.masking.protected + self.masking.base_bandwidth > corner:
            raise ValueError(
                f"protected {self.masking.protected:g} and base_bandwidth {self.masking.base_bandwidth:g} do not fit: "
                f"the spectrum of a {size} px image ends at {corner:.0f} cycles"
            )
        if self.l1_over == "masked" and (self.method == "frequency" or self.masking.ratio == 0):
            raise ValueError("l1_over 'masked' needs masked patches; frequency masking has none")
        return self

    @property
    def hash(self) -> str:
        """Content hash, as 64 hex digits."""
        return content_hash(self.model_dump(mode="json"))


def build_spec(values: dict[str, Any], where: str) -> PretrainSpec:
    """A validated spec.

    Raises:
        BenchError: every fault of the values, with `where` in front.
    """
    try:
        return PretrainSpec.model_validate(values)
    except ValidationError as error:
        raise BenchError("\n".join(in_words(error, PretrainSpec, values, where))) from None
