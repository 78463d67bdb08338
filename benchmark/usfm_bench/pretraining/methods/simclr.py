"""SimCLR (Chen et al. (2020), arXiv:2002.05709) with views that ultrasound allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from usfm_bench.pretraining.plain_images import TwoViews, TwoViewsSpec
from usfm_bench.specs.method import METHODS

if TYPE_CHECKING:
    from torch import Tensor


class SimClrSpec(TwoViewsSpec):
    """The head's width differs from the publication's 2048, which belongs to a ResNet-50."""

    head_width: int = Field(default=512, ge=8)
    """Hidden channels of the head, which is thrown away."""
    temperature: float = Field(default=0.2, gt=0)
    """Of the contrast."""


@METHODS.register("simclr")
class SimClr(TwoViews[SimClrSpec]):
    """Two views of an image are to be alike, those of others of the micro-batch unlike."""

    settings = SimClrSpec

    def build(self, spec: SimClrSpec) -> Any:
        """Encoder and head."""
        from usfm_bench.pretraining.plain import SimClrNetwork

        return SimClrNetwork(spec, spec.head_width, spec.temperature)

    def step(self, views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """NT-Xent."""
        return {"loss": self.network(views)}
