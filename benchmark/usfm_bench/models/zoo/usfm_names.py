"""The names under which USFM's tensors are published -> those of the encoder here."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from usfm_bench.core.errors import WeightsError
from usfm_bench.models.checkpoint import WRAPPINGS, first_of

_PREFIXES = (*(f"{key}." for key in WRAPPINGS), "backbone.", "beit.")
# In published files but not parameters of the encoder: the pre-training token, an index buffer, a classifier.
_NOT_ENCODER = ("mask_token", "relative_position_index", "head.weight", "head.bias", "lm_head.weight", "lm_head.bias")
# transformers' BeitModel, of versions 4 and 5. Its pooler normalises the mean of patches, which is `fc_norm` here.
_HUGGING_FACE = (
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.", ""),
    (r"^(shared_position_bias|encoder\.relative_position_bias)\.", "rel_pos_bias."),
    (r"^(encoder\.layer|layers)\.(\d+)\.", r"blocks.\2."),
    (r"\.(attention\.)?attention\.relative_position_bias\.", ".attn."),
    (r"\.attention\.(attention\.)?([qkv])(_proj|[a-z]+)\.", r".attn.\2."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.lambda_", ".gamma_"),
    (r"\.attn\.([qv])\.bias$", r".attn.\1_bias"),
    (r"^pooler\.layernorm\.", "fc_norm."),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head."),
)


def encoder_state(state: dict[str, Tensor], path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """A file's tensors under the encoder's names, and the names of those that are no part of it.

    Raises:
        WeightsError: two keys of the file are one tensor with different numbers.
    """
    keys = {key: _bare(key) for key in state}
    if "embeddings.cls_token" in keys.values():
        keys = {key: _of_hugging_face(name) for key, name in keys.items()}
    named: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    twice = []
    for key, name in keys.items():
        if name in named and not _equal(named[name], state[key]):
            twice.append(f"{origin[name]} and {key}")
        named.setdefault(name, state[key])
        origin.setdefault(name, key)
    if twice:
        raise WeightsError(
            f"{path}: holds {len(twice)} tensors twice, with different numbers: {first_of(twice)}. It does not say "
            "which are meant; save those of one model alone."
        )
    ignored = sorted(name for name in named if name.endswith(_NOT_ENCODER))
    kept = {name: value for name, value in named.items() if name not in ignored}
    return _joined(kept), ignored


def _bare(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.split(".", 1)[1]
    return key


def _of_hugging_face(name: str) -> str:
    for pattern, ours in _HUGGING_FACE:
        name = re.sub(pattern, ours, name)
    return name


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value weights of a block as one tensor, where a file has three."""
    joined = dict(state)
    for name in state:
        parts = [name.replace(".attn.q.weight", f".attn.{part}.weight") for part in "qkv"]
        if name.endswith(".attn.q.weight") and all(part in state and state[part].ndim == 2 for part in parts):
            joined[name.replace(".q.", ".qkv.")] = torch.cat([joined.pop(part) for part in parts])
    return joined


def _equal(one: Tensor, other: Tensor) -> bool:
    plain = all(t.layout == torch.strided and not t.is_quantized and not t.is_meta for t in (one, other))
    return plain and one.shape == other.shape and torch.equal(one.double(), other.double())
