"""The encoder, and SimMIM's light decoder: one linear layer from a token to the pixels of its patch."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torch.nn import functional as F

import usfm_bench.models  # noqa: F401 - registers the encoders
from usfm_bench.core.errors import unknown
from usfm_bench.data.transforms import Normalise
from usfm_bench.specs.family import FAMILIES


def build_encoder(architecture: str, image_size: int, drop_path: float = 0.0) -> Any:
    """A USFM encoder with random weights, whose `forward_features` gives (B, 1 + tokens, D) of (B, 3, S, S).

    Raises:
        BenchError: no such encoder; the nearest is suggested.
    """
    if architecture not in (known := [name for family in FAMILIES.values() for name in family.pretrainable]):
        raise unknown("encoder", architecture, known)
    # With the class token as output, timm's encoder has `norm` of every token, as the published file does.
    settings: dict[str, Any] = {"img_size": image_size, "drop_path_rate": drop_path, "global_pool": "token"}
    return timm.create_model(architecture, **settings)


class MaskedAutoencoder(nn.Module):
    """Masked grey images in, reconstructed grey images out, Eq. (8). No mask token: the image itself is masked."""

    def __init__(self, architecture: str, image_size: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.encoder = build_encoder(architecture, image_size, drop_path)
        self.patch: int = self.encoder.patch_embed.patch_size[0]
        self.decoder = nn.Linear(self.encoder.embed_dim, self.patch**2)
        self.normalise = Normalise(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)

    def forward(self, masked: Tensor) -> Tensor:
        """(B, 1, S, S) grey levels in [0, 1] -> (B, 1, S, S)."""
        tokens = self.encoder.forward_features(self.normalise(masked))[:, self.encoder.num_prefix_tokens :]
        pixels = self.decoder(tokens).transpose(1, 2)  # (B, pixels of a patch, tokens)
        side = masked.shape[-1] // self.patch
        return F.pixel_shuffle(pixels.unflatten(2, (side, side)), self.patch)


def published_state(encoder: Any) -> dict[str, Tensor]:
    """An encoder in the flat format of the published file: float32 on the CPU, every key of that file.

    `mask_token` and the index buffer are in that file although no fine-tuned model has them; loaders that expect
    or drop them find them here.
    """
    state = {key: value.detach().float().cpu().contiguous() for key, value in encoder.named_parameters()}
    index = dict(encoder.named_buffers())["rel_pos_bias.relative_position_index"]
    token = torch.zeros(1, 1, encoder.embed_dim)
    return state | {"rel_pos_bias.relative_position_index": index.cpu(), "mask_token": token}
