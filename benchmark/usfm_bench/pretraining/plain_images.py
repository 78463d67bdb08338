"""What methods on plain vision transformers share: their sizes, views, weight file. Imports torch when needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import Field, model_validator

from usfm_bench.core.errors import BenchError
from usfm_bench.specs.method import Method
from usfm_bench.specs.pretraining import PretrainSpec

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.pretraining.sampling import Step

PLAIN: dict[str, dict[str, int]] = {
    "vit_micro_patch8_64": {"embed_dim": 128, "depth": 4, "num_heads": 2, "patch_size": 8},
    "vit_tiny_patch16_224": {"embed_dim": 192, "depth": 12, "num_heads": 3, "patch_size": 16},
    "vit_small_patch16_224": {"embed_dim": 384, "depth": 12, "num_heads": 6, "patch_size": 16},
    "vit_base_patch16_224": {"embed_dim": 768, "depth": 12, "num_heads": 12, "patch_size": 16},
}
"""Encoders; but for the first, which is for simulated images and tests, those of the publications."""
Change = Literal["crop", "hflip", "vflip", "gain", "speckle"]


class PlainSpec(PretrainSpec):
    """What all of them may say."""

    model: str = "vit_tiny_patch16_224"
    """A plain vision transformer of this package's names."""
    augment: tuple[Change, ...] = ("crop", "hflip")
    """Random changes to an image, as `change_images` in pretraining/views.py makes them."""
    crop_scale: float = Field(default=0.2, gt=0, le=1)
    """Smallest area that `crop` keeps, as a share of the image."""

    @model_validator(mode="after")
    def _fits(self) -> PlainSpec:
        patch = PLAIN.get(self.model, {}).get("patch_size", 1)  # an unknown name is refused with the nearest one, later
        if self.image_size % patch:
            raise ValueError(f"image_size {self.image_size} is not a multiple of the encoder's patch, {patch}")
        return self


class MaskingPlainSpec(PlainSpec):
    """Of methods that mask patches."""

    ratio: float = Field(default=0.75, gt=0, lt=1)
    """Share of patches that are masked."""

    @model_validator(mode="after")
    def _leaves_some(self) -> MaskingPlainSpec:
        patches = (self.image_size // PLAIN.get(self.model, {"patch_size": 16})["patch_size"]) ** 2
        if not 0 < self.n_masked(patches) < patches:
            raise ValueError(f"ratio {self.ratio:g} of {patches} patches masks none or all of them")
        return self

    def n_masked(self, patches: int) -> int:
        """Of so many patches."""
        return round(self.ratio * patches)


class TwoViewsSpec(PlainSpec):
    """Of methods that compare two views of an image."""

    augment: tuple[Change, ...] = ("crop", "hflip", "gain", "speckle")
    """Random changes to an image, by draws of its own for each view; gain and speckle stand where photographs have
    changes of colour."""
    batch_size: int = Field(default=64, ge=2)
    """Images a step, over all devices and accumulated micro-batches."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches a step. Images are compared, and batch norms taken, within one over all devices, so that another
    number of micro-batches is another task; another number of devices is not."""

    @model_validator(mode="after")
    def _views_differ(self) -> TwoViewsSpec:
        if not self.augment:
            raise ValueError("augment is empty, so both views would be the same image; name at least one change")
        if self.batch_size // self.accumulate < 2:
            raise ValueError("a micro-batch has one image, which cannot be told from others")
        return self


S = TypeVar("S", bound=PlainSpec)


class Plain(Method[S]):
    """A plain vision transformer learns; its file has MAE's names, which `mae:PATH` reads."""

    network: Any

    def __init__(self, spec: S) -> None:
        try:
            self.spec, self.network = spec, self.build(spec)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] != "lightly":
                raise
            raise BenchError(f"method '{spec.method}' needs lightly: pip install 'usfm-bench[ssl]'.") from None

    def build(self, spec: S) -> Any:
        """The network, whose `vit` is the encoder."""
        raise AssertionError("every method says what it trains")

    def changed(self, images: Tensor, step: Step) -> Tensor:
        """(B, 1, S, S) -> the same after random changes, other ones at each call."""
        from usfm_bench.pretraining.views import change_images

        return change_images(images, self.spec.augment, self.spec.crop_scale, step)

    @property
    def encoder(self) -> dict[str, Tensor]:
        """Under MAE's names."""
        return {key: value.detach().float().cpu().contiguous() for key, value in self.network.vit.state_dict().items()}


class MaskedPatches(NamedTuple):
    """What a step sees."""

    images: Tensor
    """(B, 1, S, S) to reconstruct."""
    kept: Tensor
    """(B, K) numbers of the patches that are seen, from 0."""
    masked: Tensor
    """(B, M) of the others."""


M = TypeVar("M", bound=MaskingPlainSpec)


class PlainMasked(Plain[M]):
    """Patches are masked at random, as many in each image."""

    def views(self, images: Tensor, step: Step) -> MaskedPatches:
        """Change each image and choose its patches, by draws of its own."""
        import torch

        images = self.changed(images, step)
        patches = (images.shape[-1] // PLAIN[self.spec.model]["patch_size"]) ** 2
        order = step.draw(lambda n, generator: torch.rand(n, patches, generator=generator)).argsort(dim=1)
        order, masked = order.to(images.device), self.spec.n_masked(patches)
        return MaskedPatches(images, order[:, masked:], order[:, :masked])

    def step(self, views: MaskedPatches) -> dict[str, Tensor]:
        """The error of masked patches alone."""
        return {"loss": self.network(views)}


T = TypeVar("T", bound=TwoViewsSpec)


class TwoViews(Plain[T]):
    """Two views of an image are to be alike, and unlike those of all other images of the micro-batch."""

    distinct: ClassVar[bool] = True

    def views(self, images: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Each with random changes of its own."""
        return self.changed(images, step), self.changed(images, step)
