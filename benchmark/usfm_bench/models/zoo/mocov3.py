"""MoCo v3's base encoder, a vision transformer or a ResNet (facebookresearch/moco-v3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.models.zoo.resnet import resnet_of
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor


class MocoV3(Renamed):
    """The base encoder without its projector; momentum encoder and predictor are left out."""

    name = "mocov3"
    title = "MoCo v3 encoder"
    usage = "mocov3:PATH (ViT and ResNet)"
    image_size = 224
    mark = r"(^|\.)module\.base_encoder\."
    prefixes = (r"(state_dict\.)?module\.base_encoder\.",)
    dropped = r"head\.|fc\."
    licence = "CC BY-NC 4.0"
    trained_on = "ImageNet-1k"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """The name of the first layer tells a residual network from a transformer."""
        if "conv1.weight" in state:
            architecture, settings = resnet_of(state)
            return Checkpoint(architecture, state, settings, ignored)
        return super().checkpoint(state, ignored)

    def heads(self, width: int) -> int:
        """Its ViT-S has 12 heads of 32 channels, where timm's has 6."""
        return 12 if width == 384 else super().heads(width)

    def is_plain(self, architecture: str) -> bool:
        """A ResNet has stages."""
        return not architecture.startswith("resnet")

    def vit(self, state: Any) -> dict[str, Any]:
        """Its class token is what was trained to tell images apart."""
        return super().vit(state) | {"global_pool": "token"}


FAMILIES.register(MocoV3.name)(MocoV3())
