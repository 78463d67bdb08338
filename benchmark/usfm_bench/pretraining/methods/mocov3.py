"""MoCo v3 (Chen et al. (2021), arXiv:2104.02057) with views that ultrasound allows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from usfm_bench.pretraining.plain_images import TwoViews, TwoViewsSpec
from usfm_bench.specs.method import METHODS

if TYPE_CHECKING:
    from torch import Tensor


class MoCoV3Spec(TwoViewsSpec):
    """The heads' width differs from the publication's 4096, which belongs to batches of thousands."""

    head_width: int = Field(default=512, ge=8)
    """Hidden channels of projection and predictor, which are thrown away."""
    temperature: float = Field(default=0.2, gt=0)
    """Of the contrast."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """Of the momentum encoder at the start; it grows to 1 by a cosine."""


@METHODS.register("mocov3")
class MoCoV3(TwoViews[MoCoV3Spec]):
    """A query of one view is to be like a momentum encoder's key of the other, and unlike those of other images."""

    settings = MoCoV3Spec

    def build(self, spec: MoCoV3Spec) -> Any:
        """Encoder, heads, and the encoder that follows."""
        from usfm_bench.pretraining.plain import MoCoV3Network

        return MoCoV3Network(spec, spec.head_width, spec.temperature)

    def step(self, views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Both ways."""
        return {"loss": self.network(views)}

    def after_step(self, done: int) -> None:
        """The momentum encoder follows, ever more slowly."""
        left = (1 + math.cos(math.pi * done / self.spec.steps)) / 2
        self.network.follow(1 - (1 - self.spec.momentum) * left)
