"""The only place that loads checkpoints: all that the backbone needs is there, or the error names the keys."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from timm.layers import resize_rel_pos_bias_table
from timm.models.beit import Beit
from torch import Tensor

from usfm_bench.catalog import resolve, weight_file
from usfm_bench.errors import WeightsError
from usfm_bench.models.backbones import build_usfm

_WRAPPINGS = ("model", "state_dict", "module")
_PREFIXES = ("module.", "model.", "backbone.")
_TABLE = "relative_position_bias_table"
# In the published file but not parameters of the encoder: the pre-training token, an index buffer, a classifier.
_NOT_BACKBONE = ("mask_token", "relative_position_index", "head.weight", "head.bias")
_SHOWN = 8
_PATCH = 16


def load_backbone(
    path_or_name: str | Path, *, image_size: int | None = None, legacy_transpose: bool = False, drop_path: float = 0.0
) -> Beit:
    """A USFM encoder with the weights of a file; width, depth, heads and grid are read from the file's own shapes.

    Args:
        path_or_name: a `.pth` or `.safetensors` file in the published format, or a model name such as `usfm`.
        image_size: side of the input in pixels; the file's own grid when None. Position tables are resized with timm.
        legacy_transpose: resize the tables transposed, as the published code does.
        drop_path: stochastic depth of the last block.

    Raises:
        WeightsMissingError: no such file.
        WeightsError: not a checkpoint, or keys are missing, unexpected or of another shape; names them.
    """
    if image_size is not None and (image_size < _PATCH or image_size % _PATCH):
        raise WeightsError(f"image_size is {image_size}; the encoder takes multiples of its patch, {_PATCH}.")
    path = Path(path_or_name)
    if not path.is_file():
        name = str(path_or_name)
        is_path = path.suffix in {".pth", ".pt", ".safetensors"} or len(path.parts) > 1
        path = weight_file(resolve(f"usfm:{name}" if is_path else name))
    state = _backbone_state(read_checkpoint(path))
    shape = read_architecture(state, path)
    grid = shape.pop("grid")
    model = build_usfm(**shape, img_size=image_size or _PATCH * grid, drop_path_rate=drop_path)
    window = model.patch_embed.grid_size
    for key in [key for key in state if key.endswith(_TABLE)]:
        state[key] = _resize(state[key], grid, window, transposed=legacy_transpose)
    _check_coverage(state, model, path)
    model.load_state_dict(state)
    return model


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The flat state dict of a file, unwrapped from `model` and the like; only tensors are ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file.") from None
    except Exception as error:  # on damaged files torch and pickle raise many kinds
        # torch's own advice, to load it unsafely, is not passed on.
        kind = (
            "a folder" if path.is_dir() else f"damaged, of another format, or more than tensors: {type(error).__name__}"
        )
        raise WeightsError(f"{path}: not a readable checkpoint of plain tensors ({kind}).") from None
    for key in _WRAPPINGS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    ):
        raise WeightsError(f"{path}: holds no state dict of tensors.")
    return content


def read_architecture(state: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """Constructor arguments that the shapes imply, and `grid`, the side of the token grid."""
    blocks = {int(match[1]) for key in state if (match := re.match(r"blocks\.(\d+)\.", key))}
    tables = [key for key in state if key.endswith(_TABLE)]
    needed = ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")
    missing = [key for key in needed if key not in state] + ([] if tables else [f"rel_pos_bias.{_TABLE}"])
    if missing:
        raise WeightsError(f"{path}: not in USFM's format: no {', '.join(missing)}.")
    for key, rank in ((needed[0], 4), (needed[1], 2), (tables[0], 2)):
        if state[key].ndim != rank or not state[key].numel():
            raise WeightsError(f"{path}: not in USFM's format: {key} is of shape {tuple(state[key].shape)}.")
    entries, heads = state[tables[0]].shape
    side = math.isqrt(max(0, entries - 3))
    if side % 2 == 0 or side**2 != entries - 3:
        raise WeightsError(f"{path}: not in USFM's format: {tables[0]} {(entries, heads)} is of no square grid.")
    width = state["patch_embed.proj.weight"].shape[0]
    return {
        "embed_dim": width,
        "depth": max(blocks) + 1,
        "num_heads": heads,
        "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        "use_rel_pos_bias": tables[0].startswith("blocks."),
        "grid": (side + 1) // 2,
    }


def inspect_checkpoint(path: Path) -> dict[str, Any]:
    """What a file holds: architecture, parameters, ignored keys."""
    raw = read_checkpoint(path)
    state = _backbone_state(raw)
    shape = read_architecture(state, path)
    return {
        **shape,
        "parameters": sum(value.numel() for value in state.values()),
        "not part of the encoder": sorted(set(map(_bare, raw)) - set(state)),
    }


def _backbone_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {_bare(key): value for key, value in state.items() if not _bare(key).endswith(_NOT_BACKBONE)}


def _bare(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.split(".", 1)[1]
    return key


def _resize(table: Tensor, grid: int, window: tuple[int, int], *, transposed: bool) -> Tensor:
    if window == (grid, grid):
        return table
    size = (2 * window[0] - 1) * (2 * window[1] - 1) + 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # timm's own calls are what torch warns of
        resized: Tensor = resize_rel_pos_bias_table(table, window, (size, table.shape[1]))
    if transposed:
        side = 2 * window[0] - 1
        square = resized[:-3].reshape(side, side, -1).transpose(0, 1).reshape(side * side, -1)
        resized = torch.cat([square, resized[-3:]])
    return resized


def _check_coverage(state: dict[str, Tensor], model: Beit, path: Path) -> None:
    wanted = dict(model.named_parameters())
    faults = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
    }
    lines = [f"{len(keys)} {what}: {_first(keys)}" for what, keys in faults.items() if keys]
    if lines:
        raise WeightsError(f"{path}: does not cover the USFM encoder. " + "; ".join(lines) + ".")


def _first(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
