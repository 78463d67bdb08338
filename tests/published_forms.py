"""Weight files in the exact form of publications, at small width, and forward passes written out from their formulas.

Nothing here uses timm: attention, norms and blocks are sums and products of torch's own functions.
"""

import argparse
import math
import pathlib

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def draw(seed: int = 0):
    """Tensors by shape, of one generator."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: 0.1 * torch.randn(shape, generator=generator)


def vit_state(width=128, depth=2, patch=16, grid=4, channels=3, ratio=4, make=None) -> State:
    """MAE's encoder, under its plain names."""
    make, state = make or draw(), {}
    state["cls_token"] = make(1, 1, width)
    state["pos_embed"] = make(1, 1 + grid**2, width)
    state["patch_embed.proj.weight"], state["patch_embed.proj.bias"] = make(width, channels, patch, patch), make(width)
    for i in range(depth):
        at = f"blocks.{i}."
        for norm in ("norm1", "norm2"):
            state[f"{at}{norm}.weight"], state[f"{at}{norm}.bias"] = 1 + make(width), make(width)
        state[f"{at}attn.qkv.weight"], state[f"{at}attn.qkv.bias"] = make(3 * width, width), make(3 * width)
        state[f"{at}attn.proj.weight"], state[f"{at}attn.proj.bias"] = make(width, width), make(width)
        state[f"{at}mlp.fc1.weight"], state[f"{at}mlp.fc1.bias"] = make(ratio * width, width), make(ratio * width)
        state[f"{at}mlp.fc2.weight"], state[f"{at}mlp.fc2.bias"] = make(width, ratio * width), make(width)
    state["norm.weight"], state["norm.bias"] = 1 + make(width), make(width)
    return state


def attention(x: Tensor, state: State, at: str, heads: int) -> Tensor:
    """(B, N, D): softmax(q k' / sqrt(d)) v of each head, one after the other."""
    q, k, v = F.linear(x, state[f"{at}qkv.weight"], state[f"{at}qkv.bias"]).chunk(3, dim=-1)
    d = x.shape[-1] // heads
    found = []
    for h in range(heads):
        own = slice(h * d, (h + 1) * d)
        found.append((q[..., own] @ k[..., own].mT / math.sqrt(d)).softmax(-1) @ v[..., own])
    return F.linear(torch.cat(found, dim=-1), state[f"{at}proj.weight"], state[f"{at}proj.bias"])


def layer_norm(x: Tensor, state: State, at: str, eps: float = 1e-6) -> Tensor:
    """Over the last axis."""
    return F.layer_norm(x, x.shape[-1:], state[f"{at}weight"], state[f"{at}bias"], eps)


def mlp(x: Tensor, state: State, at: str) -> Tensor:
    """GELU between two linear maps."""
    x = F.gelu(F.linear(x, state[f"{at}fc1.weight"], state[f"{at}fc1.bias"]))
    return F.linear(x, state[f"{at}fc2.weight"], state[f"{at}fc2.bias"])


def vit_tokens(images: Tensor, state: State, heads: int, eps: float = 1e-6, before=lambda x, i: x) -> Tensor:
    """(B, 1 + N, D) after the last block, before the last norm; `before` each block something may happen."""
    patch = state["patch_embed.proj.weight"].shape[-1]
    x = F.conv2d(images, state["patch_embed.proj.weight"], state.get("patch_embed.proj.bias"), stride=patch)
    x = x.flatten(2).mT
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], dim=1) + state["pos_embed"]
    if "norm_pre.weight" in state:
        x = layer_norm(x, state, "norm_pre.", eps)
    i = 0
    while f"blocks.{i}.norm1.weight" in state:
        at, x = f"blocks.{i}.", before(x, i)
        scales = [state.get(f"{at}ls{k}.gamma", torch.tensor(1.0)) for k in (1, 2)]
        x = x + scales[0] * attention(layer_norm(x, state, f"{at}norm1.", eps), state, f"{at}attn.", heads)
        x = x + scales[1] * mlp(layer_norm(x, state, f"{at}norm2.", eps), state, f"{at}mlp.")
        i += 1
    return x


def normalised(images: Tensor, mean, std) -> Tensor:
    """As models take images in [0, 1]."""
    return (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def mae_decoder(width: int, make) -> State:
    """The names that MAE's files have beside the encoder."""
    return {
        "mask_token": make(1, 1, 64),
        "decoder_pos_embed": make(1, 17, 64),
        "decoder_embed.weight": make(64, width),
        "decoder_embed.bias": make(64),
        "decoder_blocks.0.attn.qkv.weight": make(192, 64),
        "decoder_norm.weight": make(64),
        "decoder_pred.weight": make(768, 64),
    }


def namespace() -> argparse.Namespace:
    """What trainings leave beside weights."""
    return argparse.Namespace(output_dir=pathlib.PurePosixPath("/x"), lr=1e-3)


# ---- SAM ---------------------------------------------------------------------------------------------------------


def sam_state(width=64, heads=2, depth=3, grid=8, window=2, whole=(2,), neck=16, make=None) -> State:
    """SAM's image encoder under its own names, without `image_encoder.`."""
    make = make or draw()
    state = {k: v for k, v in vit_state(width, depth, 16, grid, make=make).items() if not k.startswith(("cls", "norm"))}
    state["pos_embed"] = make(1, grid, grid, width)
    for i in range(depth):
        for axis in "hw":
            side = grid if i in whole else window
            state[f"blocks.{i}.attn.rel_pos_{axis}"] = make(2 * side - 1, width // heads)
    state["neck.0.weight"], state["neck.2.weight"] = make(neck, width, 1, 1), make(neck, neck, 3, 3)
    for i in (1, 3):
        state[f"neck.{i}.weight"], state[f"neck.{i}.bias"] = 1 + make(neck), make(neck)
    return state


def sam_maps(images: Tensor, state: State, heads: int, window: int, whole) -> Tensor:
    """(B, neck, h, w): windows, relative positions by row and column in the logits, neck (Kirillov et al.)."""
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=16)
    x = x.permute(0, 2, 3, 1) + state["pos_embed"]
    i = 0
    while f"blocks.{i}.norm1.weight" in state:
        at = f"blocks.{i}."
        y = layer_norm(x, state, f"{at}norm1.")
        side = x.shape[1] if i in whole else window
        out = torch.zeros_like(y)
        for top in range(0, x.shape[1], side):
            for left in range(0, x.shape[2], side):
                part = y[:, top : top + side, left : left + side]
                h, w = part.shape[1:3]
                part = F.pad(part, (0, 0, 0, side - w, 0, side - h))
                out[:, top : top + h, left : left + w] = _sam_attention(part, state, f"{at}attn.", heads)[:, :h, :w]
        x = x + out
        x = x + mlp(layer_norm(x, state, f"{at}norm2."), state, f"{at}mlp.")
        i += 1
    x = F.conv2d(x.permute(0, 3, 1, 2), state["neck.0.weight"])
    x = _channel_norm(x, state, "neck.1.")
    return _channel_norm(F.conv2d(x, state["neck.2.weight"], padding=1), state, "neck.3.")


def _sam_attention(x: Tensor, state: State, at: str, heads: int) -> Tensor:
    b, h, w, width = x.shape
    d = width // heads
    q, k, v = F.linear(x, state[f"{at}qkv.weight"], state[f"{at}qkv.bias"]).chunk(3, dim=-1)
    rows, columns = (state[f"{at}rel_pos_{axis}"] for axis in "hw")
    found = torch.zeros_like(x)
    for head in range(heads):
        own = slice(head * d, (head + 1) * d)
        one, other, value = (t[..., own] for t in (q, k, v))
        logits = torch.einsum("bijc,bklc->bijkl", one, other) / math.sqrt(d)
        by_row = torch.stack([rows[torch.arange(h - 1, -1, -1) + i] for i in range(h)])  # offset i - k
        by_column = torch.stack([columns[torch.arange(w - 1, -1, -1) + j] for j in range(w)])
        logits = logits + torch.einsum("bijc,ikc->bijk", one, by_row)[..., None]
        logits = logits + torch.einsum("bijc,jlc->bijl", one, by_column)[:, :, :, None]
        weights = logits.reshape(b, h, w, -1).softmax(-1)
        found[..., own] = torch.einsum("bijn,bnc->bijc", weights, value.reshape(b, h * w, d))
    return F.linear(found, state[f"{at}proj.weight"], state[f"{at}proj.bias"])


def _channel_norm(x: Tensor, state: State, at: str) -> Tensor:
    mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    x = (x - mean) / torch.sqrt(variance + 1e-6)
    return x * state[f"{at}weight"].view(1, -1, 1, 1) + state[f"{at}bias"].view(1, -1, 1, 1)


# ---- ResNet ------------------------------------------------------------------------------------------------------


def resnet_state(layers=(1, 1, 1, 1), bottleneck=True, make=None) -> State:
    """Under torchvision's names, without a classifier."""
    make, state = make or draw(), {}

    def norm(name: str, n: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + make(n), make(n)
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = make(n), 1 + make(n).abs()
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    state["conv1.weight"] = make(64, 3, 7, 7)
    norm("bn1", 64)
    before, grown = 64, 4 if bottleneck else 1
    for k, (n, width) in enumerate(zip(layers, (64, 128, 256, 512), strict=True), start=1):
        for i in range(n):
            at = f"layer{k}.{i}."
            shapes = [(width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if not bottleneck:
                shapes = [(width, before, 3, 3), (width, width, 3, 3)]
            for j, shape in enumerate(shapes, start=1):
                state[f"{at}conv{j}.weight"] = make(*shape)
                norm(f"{at}bn{j}", shape[0])
            if before != grown * width or (i == 0 and k > 1):
                state[f"{at}downsample.0.weight"] = make(grown * width, before, 1, 1)
                norm(f"{at}downsample.1", grown * width)
            before = grown * width
    return state


def resnet_pooled(images: Tensor, state: State) -> Tensor:
    """(B, D): He et al. 2016, the stride in the 3 x 3 convolution of a bottleneck as torchvision has it."""

    def norm(x: Tensor, at: str) -> Tensor:
        parts = (state[f"{at}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-5)

    x = F.relu(norm(F.conv2d(images, state["conv1.weight"], stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for k in (1, 2, 3, 4):
        i = 0
        while f"layer{k}.{i}.conv1.weight" in state:
            at, y = f"layer{k}.{i}.", x
            stride = 2 if k > 1 and i == 0 else 1
            n = 3 if f"{at}conv3.weight" in state else 2
            for j in range(1, n + 1):
                weight = state[f"{at}conv{j}.weight"]
                own = stride if j == (2 if n == 3 else 1) else 1
                y = norm(F.conv2d(y, weight, stride=own, padding=weight.shape[-1] // 2), f"{at}bn{j}")
                y = F.relu(y) if j < n else y
            if f"{at}downsample.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{at}downsample.0.weight"], stride=stride), f"{at}downsample.1")
            x = F.relu(x + y)
            i += 1
    return x.mean((2, 3))


# ---- Endo-FM -----------------------------------------------------------------------------------------------------


def endofm_state(width=128, depth=2, frames=8, make=None) -> State:
    """TimeSformer's tensors, without `backbone.`."""
    make = make or draw()
    state = vit_state(width, depth, make=make) | {"time_embed": make(1, frames, width)}
    for i in range(depth):
        at = f"blocks.{i}."
        state[f"{at}temporal_norm1.weight"], state[f"{at}temporal_norm1.bias"] = 1 + make(width), make(width)
        for name, rows in (("temporal_attn.qkv", 3), ("temporal_attn.proj", 1), ("temporal_fc", 1)):
            state[f"{at}{name}.weight"], state[f"{at}{name}.bias"] = make(rows * width, width), make(rows * width)
    return state


def endofm_tokens(images: Tensor, state: State, heads: int) -> Tensor:
    """One frame through divided attention in time and space (Bertasius et al. 2021), time with its softmax."""

    def in_time(x: Tensor, i: int) -> Tensor:
        at, (b, n, width) = f"blocks.{i}.", x[:, 1:].shape
        patches = x[:, 1:]
        over_time = layer_norm(patches, state, f"{at}temporal_norm1.").reshape(b * n, 1, width)  # frames: 1
        found = attention(over_time, state, f"{at}temporal_attn.", heads).reshape(b, n, width)
        found = F.linear(found, state[f"{at}temporal_fc.weight"], state[f"{at}temporal_fc.bias"])
        return torch.cat([x[:, :1], patches + found], dim=1)

    positions = state["pos_embed"].clone()
    positions[:, 1:] += state["time_embed"][:, :1]
    return vit_tokens(images, state | {"pos_embed": positions}, heads, before=in_time)


# ---- MIS-FM ------------------------------------------------------------------------------------------------------


def misfm_state(channels=(4, 6, 8, 10, 12), make=None) -> State:
    """FMUNet's encoder and projection, in three dimensions."""
    make, state = make or draw(), {}
    state["project.weight"], state["project.bias"] = make(channels[0], 1, 3, 3, 3), make(channels[0])
    for k, width in enumerate(channels):
        for j in (0, 1):
            at = f"encoder.en_conv{k}.conv_list.{j}."
            state[f"{at}0.weight"], state[f"{at}0.bias"] = 1 + make(width), make(width)
            state[f"{at}3.weight"], state[f"{at}3.bias"] = make(width, width, 3, 3, 3), make(width)
        if k + 1 < len(channels):
            at = f"encoder.down{k}.down."
            state[f"{at}0.weight"], state[f"{at}0.bias"] = 1 + make(width), make(width)
            state[f"{at}2.weight"], state[f"{at}2.bias"] = make(channels[k + 1], width, 3, 3, 3), make(channels[k + 1])
    return state


def misfm_pooled(images: Tensor, state: State) -> Tensor:
    """(B, C) of a volume of depth one, by 3-D convolutions, of images of mean 0 and deviation 1."""

    def step(x: Tensor, at: str, conv: int, stride: int = 1) -> Tensor:
        x = F.instance_norm(x, weight=state[f"{at}0.weight"], bias=state[f"{at}0.bias"], eps=1e-5)
        weight, bias = state[f"{at}{conv}.weight"], state[f"{at}{conv}.bias"]
        return F.conv3d(F.leaky_relu(x, 0.01), weight, bias, stride=(1, stride, stride), padding=1)

    grey = images[:, :1]
    grey = torch.stack([(one - one.mean()) / one.std(unbiased=False) for one in grey])
    x = F.conv3d(grey[:, :, None], state["project.weight"], state["project.bias"], padding=1)
    for k in range(5):
        for j in (0, 1):
            x = x + step(x, f"encoder.en_conv{k}.conv_list.{j}.", 3)
        if k < 4:
            x = step(x, f"encoder.down{k}.down.", 2, stride=2)
    return x.mean((2, 3, 4))


# ---- EfficientNet-Lite0 ------------------------------------------------------------------------------------------

LITE0 = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
LITE0 += ((1, 3, 1, 6, 320),)
"""Blocks, kernel, stride of the first, expansion, channels (tensorflow/tpu, efficientnet-lite0)."""


def _lite0_blocks():
    before = 32
    for n, kernel, stride, expansion, channels in LITE0:
        for i in range(n):
            yield before, kernel, stride if i == 0 else 1, expansion, channels
            before = channels


def lite0_state(make=None) -> State:
    """Under the names of lukemelas' port, which number blocks through."""
    make, state = make or draw(), {}

    def norm(name: str, n: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + make(n), make(n)
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = make(n), 1 + make(n).abs()
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    state["_conv_stem.weight"] = make(32, 3, 3, 3)
    norm("_bn0", 32)
    for i, (before, kernel, _, expansion, channels) in enumerate(_lite0_blocks()):
        at, wide = f"_blocks.{i}.", before * expansion
        if expansion > 1:
            state[f"{at}_expand_conv.weight"] = make(wide, before, 1, 1)
            norm(f"{at}_bn0", wide)
        state[f"{at}_depthwise_conv.weight"] = make(wide, 1, kernel, kernel)
        norm(f"{at}_bn1", wide)
        state[f"{at}_project_conv.weight"] = make(channels, wide, 1, 1)
        norm(f"{at}_bn2", channels)
    state["_conv_head.weight"] = make(1280, 320, 1, 1)
    norm("_bn1", 1280)
    state["_fc.weight"], state["_fc.bias"] = make(10, 1280), make(10)
    return state


def lite0_pooled(images: Tensor, state: State) -> Tensor:
    """(B, 1280): TensorFlow's padding, which is more on the right and below; ReLU cut off at 6; norms of eps 1e-3."""

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        sides = []
        for length in (x.shape[-1], x.shape[-2]):
            total = max(0, (math.ceil(length / stride) - 1) * stride + kernel - length)
            sides += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, sides), weight, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        parts = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts, eps=1e-3)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    for i, (_, _, stride, expansion, channels) in enumerate(_lite0_blocks()):
        at, y = f"_blocks.{i}.", x
        if expansion > 1:
            y = F.relu6(norm(conv(y, f"{at}_expand_conv"), f"{at}_bn0"))
        y = F.relu6(norm(conv(y, f"{at}_depthwise_conv", stride, y.shape[1]), f"{at}_bn1"))
        y = norm(conv(y, f"{at}_project_conv"), f"{at}_bn2")
        x = x + y if stride == 1 and x.shape[1] == channels else y
    return F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))


# ---- DeblurringMIM's ConvMAE -------------------------------------------------------------------------------------


def convmae_state(widths=(8, 12, 128), depths=(2, 2, 2), grid=4, make=None) -> State:
    """ConvMAE's encoder: two stages of convolutions, one of attention; no class token."""
    make, state = make or draw(), {}

    def both(name: str, *shape: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = make(*shape), make(shape[0])

    def norm(name: str, n: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + make(n), make(n)

    before = (3, *widths)
    for k, patch in enumerate((4, 2, 2), 1):
        both(f"patch_embed{k}.proj", widths[k - 1], before[k - 1], patch, patch)
        norm(f"patch_embed{k}.norm", widths[k - 1])
    width = widths[2]
    both("patch_embed4", width, width)
    state["pos_embed"] = make(1, grid**2, width)
    for k in (1, 2):
        n = widths[k - 1]
        for i in range(depths[k - 1]):
            at = f"blocks{k}.{i}."
            norm(f"{at}norm1", n)
            norm(f"{at}norm2", n)
            both(f"{at}conv1", n, n, 1, 1)
            both(f"{at}conv2", n, n, 1, 1)
            both(f"{at}attn", n, 1, 5, 5)
            both(f"{at}mlp.fc1", 4 * n, n, 1, 1)
            both(f"{at}mlp.fc2", n, 4 * n, 1, 1)
    for i in range(depths[2]):
        at = f"blocks3.{i}."
        norm(f"{at}norm1", width)
        norm(f"{at}norm2", width)
        both(f"{at}attn.qkv", 3 * width, width)
        both(f"{at}attn.proj", width, width)
        both(f"{at}mlp.fc1", 4 * width, width)
        both(f"{at}mlp.fc2", width, 4 * width)
    norm("norm", width)
    return state


def convmae_pooled(images: Tensor, state: State, heads: int) -> Tensor:
    """(B, D): mean of the normalised tokens, without the outputs of the stages before."""

    def conv(x: Tensor, name: str, **how: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    def norm(x: Tensor, at: str, eps: float = 1e-5) -> Tensor:
        return layer_norm(x.movedim(1, -1), state, at, eps).movedim(-1, 1)

    x = images
    for k, patch in enumerate((4, 2, 2), 1):
        x = F.gelu(norm(conv(x, f"patch_embed{k}.proj", stride=patch), f"patch_embed{k}.norm."))
        for i in range(2 if k < 3 else 0):
            at = f"blocks{k}.{i}."
            inside = conv(norm(x, f"{at}norm1."), f"{at}conv1")
            x = x + conv(conv(inside, f"{at}attn", padding=2, groups=x.shape[1]), f"{at}conv2")
            x = x + conv(F.gelu(conv(norm(x, f"{at}norm2."), f"{at}mlp.fc1")), f"{at}mlp.fc2")
    tokens = F.linear(x.flatten(2).mT, state["patch_embed4.weight"], state["patch_embed4.bias"]) + state["pos_embed"]
    for i in range(2):
        at = f"blocks3.{i}."
        tokens = tokens + attention(layer_norm(tokens, state, f"{at}norm1."), state, f"{at}attn.", heads)
        tokens = tokens + mlp(layer_norm(tokens, state, f"{at}norm2."), state, f"{at}mlp.")
    return layer_norm(tokens, state, "norm.").mean(1)


# ---- EchoCare ----------------------------------------------------------------------------------------------------


def echocare_state(width=8, window=4, depths=(2, 2, 2, 2), heads=(2, 2, 4, 4), make=None) -> State:
    """MONAI's Swin transformer of two dimensions, second version, patch 2; with the indices that its file holds."""
    make, state = make or draw(), {}
    state["patch_embed.proj.weight"], state["patch_embed.proj.bias"] = make(width, 3, 2, 2), make(width)
    for k in range(4):
        n = width * 2**k
        for i in range(depths[k]):
            at = f"layers{k + 1}.0.blocks.{i}."
            for norm in ("norm1", "norm2"):
                state[f"{at}{norm}.weight"], state[f"{at}{norm}.bias"] = 1 + make(n), make(n)
            state[f"{at}attn.relative_position_bias_table"] = make((2 * window - 1) ** 2, heads[k])
            state[f"{at}attn.relative_position_index"] = torch.zeros(window**2, window**2, dtype=torch.int64)
            state[f"{at}attn.qkv.weight"], state[f"{at}attn.qkv.bias"] = make(3 * n, n), make(3 * n)
            state[f"{at}attn.proj.weight"], state[f"{at}attn.proj.bias"] = make(n, n), make(n)
            state[f"{at}mlp.linear1.weight"], state[f"{at}mlp.linear1.bias"] = make(4 * n, n), make(4 * n)
            state[f"{at}mlp.linear2.weight"], state[f"{at}mlp.linear2.bias"] = make(n, 4 * n), make(n)
        at = f"layers{k + 1}.0.downsample."
        state[f"{at}reduction.weight"] = make(2 * n, 4 * n)
        state[f"{at}norm.weight"], state[f"{at}norm.bias"] = 1 + make(4 * n), make(4 * n)
        for j in (1, 2):
            state[f"layers{k + 1}c.0.layer.conv{j}.conv.weight"] = make(n, n, 3, 3)
    return state


def echocare_pooled(images: Tensor, state: State, window: int, depths, heads) -> Tensor:
    """(B, 16 width): mean of the deepest map, each place of which has mean 0 and variance 1."""
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=2)
    for k in range(4):
        inside = F.instance_norm(F.conv2d(x, state[f"layers{k + 1}c.0.layer.conv1.conv.weight"], padding=1))
        inside = F.conv2d(F.leaky_relu(inside, 0.01), state[f"layers{k + 1}c.0.layer.conv2.conv.weight"], padding=1)
        x = F.leaky_relu(F.instance_norm(inside) + x, 0.01).movedim(1, -1)
        for i in range(depths[k]):
            at, side = f"layers{k + 1}.0.blocks.{i}.", min(window, x.shape[1])
            shift = window // 2 if i % 2 and x.shape[1] > window else 0
            x = x + _swin_attention(
                layer_norm(x, state, f"{at}norm1.", 1e-5), state, f"{at}attn.", heads[k], side, shift
            )
            own = {f"fc{j}.{end}": state[f"{at}mlp.linear{j}.{end}"] for j in (1, 2) for end in ("weight", "bias")}
            x = x + mlp(layer_norm(x, state, f"{at}norm2.", 1e-5), own, "")
        quarters = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged = layer_norm(torch.cat(quarters, -1), state, f"layers{k + 1}.0.downsample.norm.", 1e-5)
        x = F.linear(merged, state[f"layers{k + 1}.0.downsample.reduction.weight"]).movedim(-1, 1)
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).mean((1, 2))


def _swin_attention(x: Tensor, state: State, at: str, heads: int, window: int, shift: int) -> Tensor:
    """(B, H, W, D): each place attends to those of its window that were near it before the shift."""
    size, d = x.shape[1], x.shape[-1] // heads
    table = state[f"{at}relative_position_bias_table"]
    reach = (round(table.shape[0] ** 0.5) + 1) // 2
    x = torch.roll(x, (-shift, -shift), (1, 2))
    q, k, v = F.linear(x, state[f"{at}qkv.weight"], state[f"{at}qkv.bias"]).chunk(3, dim=-1)
    out = torch.zeros_like(x)
    places = [(r, c) for r in range(window) for c in range(window)]
    for top in range(0, size, window):
        for left in range(0, size, window):
            # Those that were rolled around from the other edge are no neighbours.
            rolled = [
                (top + r >= size - shift if shift else False, left + c >= size - shift if shift else False)
                for r, c in places
            ]
            apart = torch.tensor([[-100.0 * (one != other) for other in rolled] for one in rolled])
            rows = torch.tensor(
                [[(r - s + reach - 1) * (2 * reach - 1) + c - t + reach - 1 for s, t in places] for r, c in places]
            )
            inside = (slice(None), slice(top, top + window), slice(left, left + window))
            for h in range(heads):
                own = slice(h * d, (h + 1) * d)
                a, b, e = (part[inside][..., own].flatten(1, 2) for part in (q, k, v))
                weights = (a @ b.mT / math.sqrt(d) + table[rows, h] + apart).softmax(-1)
                out[(*inside, own)] = (weights @ e).unflatten(1, (window, window))
    out = F.linear(out, state[f"{at}proj.weight"], state[f"{at}proj.bias"])
    return torch.roll(out, (shift, shift), (1, 2))


# ---- PanEcho -----------------------------------------------------------------------------------------------------


def panecho_state(dims=(8, 12, 16, 24), depths=(1, 2, 1, 1), make=None) -> State:
    """torchvision's ConvNeXt, whose classifier is a norm alone."""
    make, state = make or draw(), {}

    def both(name: str, *shape: int, offset: float = 0) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = offset + make(*shape), make(shape[0])

    both("features.0.0", dims[0], 3, 4, 4)
    both("features.0.1", dims[0], offset=1)
    for k in range(4):
        n = dims[k]
        if k:
            both(f"features.{2 * k}.0", dims[k - 1], offset=1)
            both(f"features.{2 * k}.1", n, dims[k - 1], 2, 2)
        for i in range(depths[k]):
            at = f"features.{2 * k + 1}.{i}."
            state[f"{at}layer_scale"] = make(n, 1, 1)
            both(f"{at}block.0", n, 1, 7, 7)
            both(f"{at}block.2", n, offset=1)
            both(f"{at}block.3", 4 * n, n)
            both(f"{at}block.5", n, 4 * n)
    both("classifier.0", dims[3], offset=1)
    return state


def panecho_pooled(images: Tensor, state: State, depths=(1, 2, 1, 1)) -> Tensor:
    """(B, D): the norm of the mean over the deepest map."""

    def conv(x: Tensor, name: str, **how: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **how)

    def norm(x: Tensor, at: str) -> Tensor:
        return layer_norm(x.movedim(1, -1), state, at).movedim(-1, 1)

    x = norm(conv(images, "features.0.0", stride=4), "features.0.1.")
    for k in range(4):
        if k:
            x = conv(norm(x, f"features.{2 * k}.0."), f"features.{2 * k}.1", stride=2)
        for i in range(depths[k]):
            at = f"features.{2 * k + 1}.{i}."
            own = {f"fc{j}.{e}": state[f"{at}block.{b}.{e}"] for j, b in ((1, 3), (2, 5)) for e in ("weight", "bias")}
            inside = norm(conv(x, f"{at}block.0", padding=3, groups=x.shape[1]), f"{at}block.2.").movedim(1, -1)
            x = x + state[f"{at}layer_scale"] * mlp(inside, own, "").movedim(-1, 1)
    return layer_norm(x.mean((2, 3)), state, "classifier.0.")
