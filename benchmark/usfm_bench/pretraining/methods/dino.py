"""DINO (Caron et al. (2021), arXiv:2104.14294) with two views that ultrasound allows, and no smaller ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from usfm_bench.pretraining.plain_images import TwoViews, TwoViewsSpec
from usfm_bench.specs.method import METHODS

if TYPE_CHECKING:
    from torch import Tensor


class DinoSpec(TwoViewsSpec):
    """The head is smaller than the publication's 2048 channels and 65536 outputs, which belong to a million images."""

    head_width: int = Field(default=512, ge=8)
    """Hidden channels of the head, which is thrown away."""
    outputs: int = Field(default=1024, ge=2)
    """Of the head."""
    temperature: float = Field(default=0.1, gt=0)
    """Of the student."""
    teacher_temperature: float = Field(default=0.04, gt=0)
    """Of the teacher, without a warm-up."""
    momentum: float = Field(default=0.996, ge=0, lt=1)
    """Of the teacher at the start; it grows to 1 by a cosine."""


@METHODS.register("dino")
class Dino(TwoViews[DinoSpec]):
    """A student says of one view what its slow teacher says of the other; a centre keeps them from saying one thing."""

    settings = DinoSpec
    distinct: ClassVar[bool] = False  # images are not told apart, so one may be there twice

    def build(self, spec: DinoSpec) -> Any:
        """Student, teacher and centre."""
        from usfm_bench.pretraining.plain import DinoNetwork

        return DinoNetwork(spec, spec.head_width, spec.outputs, spec.temperature, spec.teacher_temperature)

    def step(self, views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Both ways."""
        return {"loss": self.network(views)}

    def after_step(self, done: int) -> None:
        """The teacher follows, ever more slowly."""
        left = (1 + math.cos(math.pi * done / self.spec.steps)) / 2
        self.network.follow(1 - (1 - self.spec.momentum) * left)
