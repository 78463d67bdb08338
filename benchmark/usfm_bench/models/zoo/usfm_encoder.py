"""The published USFM architecture in five sizes, registered with timm: `timm.create_model("usfm_tiny_patch16_224")`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers import LayerNorm
from timm.models import register_model as _register_model
from timm.models.beit import Beit
from torch import Tensor
from torch.nn import functional

from usfm_bench.models.zoo.usfm import SIZES, patch_in

_ALIGNED = 8  # numbers; PyTorch's memory-efficient attention asks for it
# timm's decorator has no types.
register_model: Callable[[Callable[..., Beit]], Callable[..., Beit]] = _register_model


def build_usfm(**settings: Any) -> Beit:
    """BEiT with one relative-position table shared by all blocks, LayerScale 0.1 and mean pooling (openmedlab/USFM)."""
    fixed = {
        "patch_size": 16,
        "qkv_bias": True,
        "init_values": 0.1,
        "use_abs_pos_emb": False,
        "global_pool": "avg",
        "norm_layer": partial(LayerNorm, eps=1e-6),
        "num_classes": 0,
    }
    if not settings.get("use_rel_pos_bias"):
        fixed["use_shared_rel_pos_bias"] = True
    model = Beit(**(fixed | settings))
    if model.rel_pos_bias is not None:
        model.rel_pos_bias.register_forward_hook(_ready_for_attention)
    return model


def _ready_for_attention(_module: Any, _inputs: Any, bias: Tensor) -> Tensor:
    """(heads, N, N) on a GPU in autocast's precision and aligned.

    Attention would otherwise cast and pad it anew in each block.
    """
    if bias.device.type != "cuda":
        return bias
    return aligned(bias.to(torch.get_autocast_dtype("cuda")) if torch.is_autocast_enabled("cuda") else bias)


def aligned(bias: Tensor) -> Tensor:
    """(heads, N, N) the same numbers, with rows that start at multiples of 8 numbers."""
    n = bias.shape[-1]
    return functional.pad(bias, (0, -n % _ALIGNED))[..., :n]


def _create(settings: dict[str, Any], name: str) -> Beit:
    # timm passes these to every constructor; `load_backbone` is the only way to weights.
    ignored = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    kept = {key: value for key, value in settings.items() if key not in ignored}
    embed_dim, depth, num_heads = SIZES[name]
    shape = {"embed_dim": embed_dim, "depth": depth, "num_heads": num_heads, "patch_size": patch_in(name)}
    return build_usfm(**(shape | kept))


@register_model
def usfm_base_patch16_224(**settings: Any) -> Beit:
    """The published size: width 768, 12 blocks, 12 heads."""
    return _create(settings, "usfm_base_patch16_224")


@register_model
def usfm_small_patch16_224(**settings: Any) -> Beit:
    """Width 384, 12 blocks, 6 heads."""
    return _create(settings, "usfm_small_patch16_224")


@register_model
def usfm_tiny_patch16_224(**settings: Any) -> Beit:
    """Width 192, 12 blocks, 3 heads."""
    return _create(settings, "usfm_tiny_patch16_224")


@register_model
def usfm_micro_patch16_224(**settings: Any) -> Beit:
    """Width 96, 3 blocks, 3 heads: for tests and demonstrations."""
    return _create(settings, "usfm_micro_patch16_224")


@register_model
def usfm_micro_patch8_64(**settings: Any) -> Beit:
    """Width 128, 4 blocks, 2 heads, for small images: 64 tokens of 64 pixels where patches of 16 would be 16."""
    return _create({"img_size": 64} | settings, "usfm_micro_patch8_64")
