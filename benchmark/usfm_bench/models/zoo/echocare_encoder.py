"""MONAI's Swin transformer as an encoder with timm's methods."""

from __future__ import annotations

from typing import Any

import einops  # noqa: F401 - MONAI's encoder needs it, and says so only when it runs
import torch
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor

from usfm_bench.models.pooled import Pooled


class EchoCareEncoder(Pooled):
    """Maps at strides 2 to 32, each normalised over its channels; pooled: the mean of the deepest one."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        where = torch.get_default_device()
        with torch.device("cpu"):  # it reads numbers while it is built, which the meta device has not
            self.swin = SwinTransformer(spatial_dims=2, **settings)
        self.swin.to(where)
        self.num_features = self.swin.num_features
        for module in self.swin.modules():
            if (index := getattr(module, "relative_position_index", None)) is not None:
                module.register_buffer("relative_position_index", index, persistent=False)

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> five maps."""
        maps: list[Tensor] = self.swin(images)
        return maps

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, D, H / 32, W / 32)."""
        return self.maps(images)[-1]
