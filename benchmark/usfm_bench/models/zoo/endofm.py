"""Endo-FM, a transformer of videos, for one still image: exactly what its teacher computes for one frame.

With one frame, attention over time is a softmax over one key, which is 1: temporal attention is a linear map of its
normalised input. Leaving it out, as is often done, loads as well and computes another function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

_TEMPORAL = ("temporal_attn.qkv", "temporal_attn.proj", "temporal_fc")


class EndoFm(Renamed):
    """ViT-B with a linear map of the patch tokens before each block (med-air/Endo-FM)."""

    name = "endofm"
    title = "Endo-FM encoder"
    usage = "endofm:PATH"
    image_size = 224
    mark = r"^(teacher\.)?backbone\.blocks\.0\.temporal_attn\."
    prefixes = (r"(teacher\.)?backbone\.",)
    dropped = r"head\."
    mean, std = (0.45,) * 3, (0.225,) * 3
    licence = "Apache-2.0"
    trained_on = "33,000 clips of endoscopy"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """Value, projection and last layer of temporal attention as one map; the first time is added to positions."""
        import torch

        spatial = {key: value for key, value in state.items() if "temporal_" not in key and key != "time_embed"}
        settings = self.vit(spatial)
        for i in range(settings["depth"]):
            at, width = f"blocks.{i}.", settings["embed_dim"]
            (value, value_bias), (out, out_bias), (last, last_bias) = (
                (state[f"{at}{name}.weight"].double(), state[f"{at}{name}.bias"].double()) for name in _TEMPORAL
            )
            merged = last @ out @ value[-width:]
            bias = last @ (out @ value_bias[-width:] + out_bias) + last_bias
            spatial[f"{at}temporal.weight"], spatial[f"{at}temporal.bias"] = merged.float(), bias.float()
            for kind in ("weight", "bias"):
                spatial[f"{at}temporal_norm.{kind}"] = state[f"{at}temporal_norm1.{kind}"]
        positions = state["pos_embed"]
        first = state["time_embed"][:, :1].expand(-1, positions.shape[1] - 1, -1)
        spatial["pos_embed"] = positions + torch.cat([torch.zeros_like(positions[:, :1]), first], dim=1)
        return Checkpoint("vit_base_patch16_224", spatial, settings, ignored)

    def build(self, architecture: str, settings: dict[str, Any]) -> Any:
        """Timm's vision transformer of blocks with the map before them."""
        from usfm_bench.models.zoo.endofm_block import StillBlock

        return super().build(architecture, settings | {"block_fn": StillBlock})


FAMILIES.register(EndoFm.name)(EndoFm())
