"""A file as openmedlab/USFM publishes it, and what that architecture computes from it, written out without timm."""

import torch
from torch import Tensor
from torch.nn import functional as F

TABLE = "rel_pos_bias.relative_position_bias_table"
INDEX = "rel_pos_bias.relative_position_index"


def published_shapes(width: int, depth: int, heads: int, grid: int = 14) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published file, in its own size 188 tensors: `norm`, and no `fc_norm`."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "mask_token": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        TABLE: ((2 * grid - 1) ** 2 + 3, heads),
        INDEX: (grid**2 + 1, grid**2 + 1),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for i in range(depth):
        vectors = ["gamma_1", "gamma_2", "attn.q_bias", "attn.v_bias", "attn.proj.bias", "mlp.fc2.bias"]
        vectors += [f"norm{n}.{part}" for n in (1, 2) for part in ("weight", "bias")]
        shapes |= {f"blocks.{i}.{name}": (width,) for name in vectors}
        shapes |= {f"blocks.{i}.attn.qkv.weight": (3 * width, width), f"blocks.{i}.attn.proj.weight": (width, width)}
        shapes |= {f"blocks.{i}.mlp.fc1.weight": (4 * width, width), f"blocks.{i}.mlp.fc1.bias": (4 * width,)}
        shapes |= {f"blocks.{i}.mlp.fc2.weight": (width, 4 * width)}
    return shapes


def published_state(
    width: int = 96, depth: int = 3, heads: int = 3, grid: int = 14, seed: int = 0
) -> dict[str, Tensor]:
    """Random numbers under those names; norms are away from 1 and 0, so that readings differ."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in published_shapes(width, depth, heads, grid).items():
        value = torch.randn(shape, generator=draw)
        is_scale = name.startswith("norm.w") or (".norm" in name and name.endswith("weight")) or ".gamma" in name
        state[name] = 1 + 0.5 * value if is_scale else 0.3 * value if value.ndim == 1 else 0.05 * value
    state[TABLE] *= 10
    return state | {INDEX: torch.zeros(grid**2 + 1, grid**2 + 1, dtype=torch.long)}


def _bias(table: Tensor, grid: int) -> Tensor:
    """(entries, heads) -> (heads, N, N): entry (dy + g - 1) * (2g - 1) + dx + g - 1 of each pair of patches."""
    places = [(y, x) for y in range(grid) for x in range(grid)]
    side, n = 2 * grid - 1, len(places)
    index = torch.empty(n + 1, n + 1, dtype=torch.long)
    rows, columns = (torch.tensor([place[axis] for place in places]) for axis in (0, 1))
    index[1:, 1:] = (rows[:, None] - rows + grid - 1) * side + columns[:, None] - columns + grid - 1
    index[0, :], index[:, 0], index[0, 0] = side**2, side**2 + 1, side**2 + 2
    return table[index].permute(2, 0, 1)


def tokens_of(state: dict[str, Tensor], images: Tensor, heads: int = 3) -> list[Tensor]:
    """Outputs of all blocks, (B, 1 + N, D), of normalised images (B, 3, S, S)."""
    s, width = state, state["cls_token"].shape[-1]
    patches = F.conv2d(images, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], stride=16)
    x = torch.cat([s["cls_token"].expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    bias = _bias(s[TABLE], images.shape[-1] // 16)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), s[f"{name}.weight"], s[f"{name}.bias"], eps=1e-6)

    outputs = []
    for i in range(max(int(name.split(".")[1]) for name in s if name.startswith("blocks.")) + 1):
        at = f"blocks.{i}"
        qkv_bias = torch.cat([s[f"{at}.attn.q_bias"], torch.zeros(width), s[f"{at}.attn.v_bias"]])
        qkv = F.linear(norm(x, f"{at}.norm1"), s[f"{at}.attn.qkv.weight"], qkv_bias)
        q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, 1 + N, D / heads)
        weights = (q @ k.transpose(-2, -1) / (width // heads) ** 0.5 + bias).softmax(dim=-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        x = x + s[f"{at}.gamma_1"] * F.linear(mixed, s[f"{at}.attn.proj.weight"], s[f"{at}.attn.proj.bias"])
        hidden = F.gelu(F.linear(norm(x, f"{at}.norm2"), s[f"{at}.mlp.fc1.weight"], s[f"{at}.mlp.fc1.bias"]))
        x = x + s[f"{at}.gamma_2"] * F.linear(hidden, s[f"{at}.mlp.fc2.weight"], s[f"{at}.mlp.fc2.bias"])
        outputs.append(x)
    return outputs


def pooled_of(state: dict[str, Tensor], tokens: Tensor, reading: str) -> Tensor:
    """(B, 1 + N, D) outputs of the last block -> (B, D), in each reading of the file's `norm`."""
    shape, weight, bias = tokens.shape[-1:], state["norm.weight"], state["norm.bias"]
    if reading == "own-norm":
        return F.layer_norm(tokens, shape, weight, bias, eps=1e-6)[:, 1:].mean(dim=1)
    mean = tokens[:, 1:].mean(dim=1)
    return F.layer_norm(mean, shape, *((weight, bias) if reading == "renamed" else ()), eps=1e-6)


def hugging_face(state: dict[str, Tensor], version: int, last_norm: str = "norm") -> dict[str, Tensor]:
    """The same tensors under the names of transformers' BeitModel, of version 4 or 5."""
    own = {name: value for name, value in state.items() if not name.startswith(("norm.", "blocks.")) and name != INDEX}
    renamed = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        TABLE: ("encoder.relative_position_bias." if version == 4 else "shared_position_bias.") + TABLE.split(".")[1],
    }
    found = {renamed[name]: value for name, value in own.items()}
    place = {"norm": "layernorm", "fc_norm": "pooler.layernorm"}[last_norm]
    found |= {f"{place}.{part}": state[f"norm.{part}"] for part in ("weight", "bias")}
    inside = {"norm1.": "layernorm_before.", "norm2.": "layernorm_after.", "gamma_": "lambda_"}
    if version == 4:
        attention = "attention.attention.{}"
        parts = ("query", "key", "value")
        inside |= {
            "attn.proj.": "attention.output.dense.",
            "mlp.fc1.": "intermediate.dense.",
            "mlp.fc2.": "output.dense.",
        }
    else:
        attention, parts = "attention.{}", ("q_proj", "k_proj", "v_proj")
        inside |= {"attn.proj.": "attention.o_proj."}
    for name, value in state.items():
        if not name.startswith("blocks."):
            continue
        _, number, rest = name.split(".", 2)
        at = f"encoder.layer.{number}." if version == 4 else f"layers.{number}."
        query, key, val = (at + attention.format(part) for part in parts)
        if rest == "attn.qkv.weight":
            found |= dict(zip([f"{query}.weight", f"{key}.weight", f"{val}.weight"], value.chunk(3), strict=True))
        elif rest in ("attn.q_bias", "attn.v_bias"):
            found[f"{query if rest == 'attn.q_bias' else val}.bias"] = value
        else:
            old = next((start for start in inside if rest.startswith(start)), "")
            found[at + (inside[old] if old else "") + rest.removeprefix(old)] = value
    return found
