"""What USFM's pre-training and its ablations share: a masked image is reconstructed. Torch is imported when needed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import ConfigDict, Field, model_validator

from usfm_bench.core.settings import Settings, later
from usfm_bench.models.zoo.usfm import patch_in
from usfm_bench.specs.method import Method, Sheet
from usfm_bench.specs.pretraining import PretrainSpec

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.pretraining.sampling import Step


class MaskingSpec(Settings):
    """Dual masking, Eqs. (1) to (7). Frequencies are in cycles an image side."""

    model_config = ConfigDict(use_attribute_docstrings=True)

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


class MaskedSpec(PretrainSpec):
    """Both maskings, Eq. (7)."""

    masks_patches: ClassVar[bool] = True
    """Eq. (1)."""
    stops_bands: ClassVar[bool] = True
    """Eq. (6)."""

    lambda_frequency: float = Field(default=1.0, ge=0)
    """Weight of the focal frequency loss, Eq. (10). The paper does not print it; 1 is this project's default."""
    l1_over: Literal["all", "masked"] = "all"
    """Pixels of the L1 loss, Eq. (11): all, as the paper writes it, or those of masked patches."""
    augment: tuple[Literal["crop", "hflip", "vflip", "gain", "speckle"], ...] = later(())
    """Random changes before masking, as `change_images` in pretraining/views.py makes them; `vflip` turns images
    upside down, which no transducer does."""
    crop_scale: float = later(0.67, gt=0, le=1)
    """Smallest area that `crop` keeps, as a share of the image; SimMIM's."""
    masking: MaskingSpec = MaskingSpec()
    """See `MaskingSpec`."""

    @model_validator(mode="after")
    def _fits(self) -> MaskedSpec:
        size, patch = self.image_size, self.masking.patch_size
        if size % (own := patch_in(self.model)):
            raise ValueError(f"image_size {size} is not a multiple of the encoder's patch, {own}")
        if self.masks_patches and size % patch:
            raise ValueError(f"image_size {size} is not a multiple of the masking patch, {patch}")
        corner = size / math.sqrt(2)
        if self.stops_bands and self.masking.protected + self.masking.base_bandwidth > corner:
            raise ValueError(
                f"protected {self.masking.protected:g} and base_bandwidth {self.masking.base_bandwidth:g} do not fit: "
                f"the spectrum of a {size} px image ends at {corner:.0f} cycles"
            )
        if self.l1_over == "masked" and (not self.masks_patches or self.masking.ratio == 0):
            raise ValueError("l1_over 'masked' needs masked patches; there are none")
        return self


class MaskedViews(NamedTuple):
    """What a step sees."""

    images: Tensor
    """(B, 1, S, S) to reconstruct."""
    masked: Tensor
    """(B, 1, S, S)."""
    pixels: Tensor
    """(B, 1, S, S) bool: in a masked patch."""


class MaskedImages(Method[MaskedSpec]):
    """Eqs. (8) to (13): reconstruct images from masked ones."""

    def __init__(self, spec: MaskedSpec) -> None:
        from usfm_bench.pretraining.masking import DualMasking
        from usfm_bench.pretraining.model import MaskedAutoencoder

        self.spec = spec
        self.network: Any = MaskedAutoencoder(spec.model, spec.image_size, spec.drop_path)
        self.masking = DualMasking(spec.masking, spec.image_size, patches=spec.masks_patches, bands=spec.stops_bands)

    def views(self, images: Tensor, step: Step) -> MaskedViews:
        """Change and mask each image by draws of its own."""
        from usfm_bench.pretraining.views import change_images

        images = change_images(images, self.spec.augment, self.spec.crop_scale, step)
        masking = self.masking.to(images.device)
        return MaskedViews(images, *masking(images, step.draw(masking.draw)))

    def step(self, views: MaskedViews) -> dict[str, Tensor]:
        """Eq. (10): `loss` is spatial + lambda * frequency."""
        from usfm_bench.pretraining.losses import reconstruction_loss

        pixels = views.pixels if self.spec.l1_over == "masked" else None
        rec = self.network(views.masked).float()  # once, so that gradients of both losses add up in float32
        losses = reconstruction_loss(rec, views.images, self.spec.lambda_frequency, pixels)
        return {"loss": losses.total, "spatial": losses.spatial, "frequency": losses.frequency}

    @property
    def encoder(self) -> dict[str, Tensor]:
        """In the flat format of the published file."""
        from usfm_bench.pretraining.model import published_state

        return published_state(self.network.encoder)

    def derived(self, losses: Mapping[str, float]) -> dict[str, float]:
        """How large the frequency term is beside the spatial one."""
        spatial, frequency = losses["spatial"], self.spec.lambda_frequency * losses["frequency"]
        return {"ratio": frequency / spatial if spatial else math.nan}

    def sheet(self, images: Tensor, step: Step) -> Sheet:
        """Images, masked and reconstructed, with their spectra."""
        views = self.views(images, step)
        rec = self.network(views.masked).float()
        return Sheet(
            {"image": images, "masked": views.masked, "reconstructed": rec},
            {"its spectrum, log": images, "masked": views.masked, "reconstructed": rec},
        )

    @classmethod
    def draw_masks(cls, spec: MaskedSpec, image: Tensor, path: Path) -> None:
        """The paper's Figure 2."""
        from usfm_bench.pretraining.masks_figure import write_masks

        write_masks(path, spec, image)
