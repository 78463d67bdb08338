"""ConvMAE's encoder (Gao et al. (2022), arXiv:2205.03892), as DeblurringMIM has it: convolutions, then attention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.models.pooled import Pooled
from usfm_bench.models.zoo.blurred import blur


class _ChannelNorm(nn.LayerNorm):
    """Over the channels of maps."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class _Embed(nn.Module):
    """Convolution without overlap, norm, GELU."""

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)
        self.norm = _ChannelNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.proj(x)))


class _Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class _ConvBlock(nn.Module):
    """A depthwise 5 x 5 convolution in the place of attention."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _ChannelNorm(width), _ChannelNorm(width)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.attn = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.mlp = _Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.conv2(self.attn(self.conv1(self.norm1(x))))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ConvMae(Pooled):
    """Maps at strides 4, 8 and 16 of blurred images; pooled: the mean of the normalised tokens.

    In pre-training the outputs of both convolutional stages are added before the norm; fine-tuning and this leave them
    out, as the publication's fine-tuning does.
    """

    def __init__(
        self, widths: Sequence[int], depths: Sequence[int], hidden: Sequence[int], num_heads: int, grid: int
    ) -> None:
        super().__init__()
        channels = (3, *widths)
        for k, patch in enumerate((4, 2, 2)):
            self.add_module(f"patch_embed{k + 1}", _Embed(channels[k], channels[k + 1], patch))
        width = self.num_features = widths[-1]
        self.patch_embed4 = nn.Linear(width, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, grid**2, width))
        self.blocks1, self.blocks2 = (
            nn.Sequential(*(_ConvBlock(widths[k], hidden[k]) for _ in range(depths[k]))) for k in (0, 1)
        )
        norm, ratio = partial(nn.LayerNorm, eps=1e-6), hidden[2] / width
        self.blocks3 = nn.Sequential(
            *(Block(width, num_heads, ratio, qkv_bias=True, norm_layer=norm) for _ in range(depths[2]))
        )
        self.norm = norm(width)

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) -> maps at strides 4, 8, 16, and the last one halved by its maxima."""
        first = self.blocks1(self.get_submodule("patch_embed1")(blur(images)))
        second = self.blocks2(self.get_submodule("patch_embed2")(first))
        third = self.get_submodule("patch_embed3")(second)
        grid = list(third.shape[2:])
        tokens = self.patch_embed4(third.flatten(2).mT)
        tokens = self.blocks3(tokens + resample_abs_pos_embed(self.pos_embed, grid, num_prefix_tokens=0))
        last = tokens.mT.unflatten(2, grid)
        return [first, second, last, F.max_pool2d(last, 2)]

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D, S / 16, S / 16), normalised."""
        last = self.maps(images)[2]
        features: Tensor = self.norm(last.movedim(1, -1)).movedim(-1, 1)
        return features
