"""USFM's weight files -> the encoder: all that it needs is there, or the error names the keys."""

from __future__ import annotations

import copy
import re
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.models.beit import Beit
from torch import Tensor, nn

from usfm_bench.core.errors import WeightsError, unknown
from usfm_bench.models.checkpoint import first_of, read_checkpoint
from usfm_bench.models.loading import check_coverage, check_tensors
from usfm_bench.models.zoo.usfm import SIZES, TABLE
from usfm_bench.models.zoo.usfm_encoder import build_usfm
from usfm_bench.models.zoo.usfm_names import encoder_state
from usfm_bench.models.zoo.usfm_tables import published_table, resized_table, table_grid
from usfm_bench.specs.family import Asked, Backbone, Checkpoint, Family
from usfm_bench.specs.model import ModelEntry, weight_file
from usfm_bench.specs.training import READINGS, Reading

_PATCH = 16


class _File(NamedTuple):
    """What a file in USFM's format holds."""

    state: dict[str, Tensor]
    """Under the encoder's names."""
    shape: dict[str, Any]
    """Arguments of the encoder's constructor."""
    grid: int
    """Side of the token grid."""
    patch: int
    """Its side in pixels."""
    has_norm: bool
    """`norm` of every token, not `fc_norm` of their mean."""
    ignored: list[str]

    @property
    def image_size(self) -> int:
        """Side of the input in pixels."""
        return self.patch * self.grid


def _read(path: Path, architecture: str = "") -> _File:
    state, ignored = encoder_state(read_checkpoint(path), path)
    shape = read_architecture(state, path, architecture)
    return _File(state, shape, shape.pop("grid"), shape.get("patch_size", _PATCH), _has_norm(state, path), ignored)


def read_usfm(path: Path, architecture: str = "") -> Checkpoint:
    """All tensors of the encoder in a file, and what its shapes say of it.

    Raises:
        WeightsError: it does not cover the encoder; names the keys.
    """
    file = _read(path, architecture)
    check_tensors(file.state, path)
    with torch.device("meta"):
        _check_coverage(file.state, _build(file.shape, has_norm=file.has_norm, img_size=file.image_size), path)
    return Checkpoint(architecture, file.state, {**file.shape, "grid": file.grid}, file.ignored)


def inspect_usfm(path: Path) -> dict[str, Any]:
    """What a file holds: architecture, parameters, how its last norm is used, ignored keys.

    Raises:
        WeightsError: it does not cover the encoder; names the keys.
    """
    found = read_usfm(path)
    return {
        **found.settings,
        "parameters": sum(value.numel() for value in found.state.values()),
        **({"readings of its norm": list(READINGS)} if _has_norm(found.state, path) else {}),
        "not part of the encoder": list(found.ignored),
    }


def load_usfm(family: Family, entry: ModelEntry, asked: Asked) -> Backbone:
    """The encoder of an entry's weight file; see `models.load_backbone`."""
    size, reading = asked.image_size, asked.reading
    if reading is not None and reading not in READINGS:
        raise unknown("reading", reading, READINGS)
    path = weight_file(entry)
    file = _read(path, entry.architecture)
    state, shape, has_norm = file.state, file.shape, file.has_norm
    if size is not None and (size < file.patch or size % file.patch):
        raise WeightsError(f"image_size is {size}; the encoder takes multiples of its patch, {file.patch}.")
    if reading is not None and not has_norm:
        raise WeightsError(
            f"{path}: reading '{reading}' says how to use `norm`, and this file has `fc_norm`, as fine-tuned files do, "
            "which is loaded as it is. Leave the reading out."
        )
    model = _build(shape, has_norm=has_norm, img_size=size or file.image_size, drop_path_rate=asked.drop_path)
    check_tensors(state, path)
    window = model.patch_embed.grid_size[0]
    resize = partial(published_table, patch=file.patch) if asked.legacy_transpose else resized_table
    for key in [key for key in state if key.endswith(TABLE)]:
        state[key] = resize(state[key], window)
    _check_coverage(state, model, path)
    model.load_state_dict(state)
    used = (reading or asked.otherwise) if has_norm else None
    if used is not None:
        _use_norm(model, used)
    return Backbone(model, entry.mean or family.mean, entry.std or family.std, used, shape | {"reading": used})


def empty_usfm(family: Family, entry: ModelEntry, asked: Asked) -> Backbone:
    """An encoder of the `Backbone.shape` of another, for weights that are loaded afterwards."""
    shape = dict(asked.shape or {})
    used: Reading | None = shape.pop("reading")
    model = _build(shape, has_norm=used is not None, img_size=asked.image_size, drop_path_rate=asked.drop_path)
    if used is not None:
        _use_norm(model, used)
    return Backbone(model, entry.mean or family.mean, entry.std or family.std, used, asked.shape)


def shape_in_file(path: Path) -> dict[str, Any]:
    """The `Backbone.shape` of a file whose numbers are not looked at, in the published reading."""
    file = _read(path)
    return file.shape | {"reading": "published" if file.has_norm else None}


def read_architecture(state: dict[str, Tensor], path: Path, architecture: str = "") -> dict[str, Any]:
    """Constructor arguments that the shapes imply, and `grid`, the side of the token grid.

    Args:
        state: tensors under the encoder's names.
        path: for messages.
        architecture: timm's name of what the file is known to be; empty: unknown.

    Raises:
        WeightsError: of no sense, or of another architecture.
    """
    blocks = {int(match[1]) for key in state if (match := re.match(r"blocks\.(\d{1,4})\.", key))}
    tables = [key for key in state if key.endswith(TABLE)]
    needed = ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight")
    missing = [key for key in needed if key not in state] + ([] if tables else [f"rel_pos_bias.{TABLE}"])
    if missing:
        raise WeightsError(f"{path}: not in USFM's format: no {', '.join(missing)}.")
    for key, rank in ((needed[0], 4), (needed[1], 2), *((table, 2) for table in tables)):
        if state[key].ndim != rank or not state[key].numel():
            raise WeightsError(f"{path}: not in USFM's format: {key} is of shape {tuple(state[key].shape)}.")
    if odd := [f"{key} {tuple(state[key].shape)}" for key in tables if state[key].shape != state[tables[0]].shape]:
        first = f"{tables[0]} {tuple(state[tables[0]].shape)}"
        raise WeightsError(f"{path}: not in USFM's format: position tables differ in shape: {first}, {first_of(odd)}.")
    entries, heads = state[tables[0]].shape
    grid = table_grid(entries)
    if grid is None:
        raise WeightsError(f"{path}: not in USFM's format: {tables[0]} {(entries, heads)} is of no square grid.")
    width = state[needed[0]].shape[0]
    patch = state[needed[0]].shape[-1]
    return {
        **({"patch_size": patch} if patch != _PATCH else {}),  # else as published, and as records say it
        "embed_dim": width,
        "depth": _depth((width, max(blocks) + 1, heads), path, architecture),
        "num_heads": heads,
        "mlp_ratio": state[needed[1]].shape[0] / width,
        "use_rel_pos_bias": tables[0].startswith("blocks."),
        "grid": grid,
    }


def _depth(shape: tuple[int, int, int], path: Path, architecture: str) -> int:
    """The number of blocks that the file should hold; of shapes (width, blocks, heads)."""
    width, blocks, heads = shape
    known = SIZES.get(architecture)
    if known is not None and (width, heads) != (known[0], known[2]):
        raise WeightsError(
            f"{path}: has width {width} and {heads} heads, and {architecture} has {known[0]} and {known[2]}. "
            f"`usfm:{path}` uses it as what it is."
        )
    if known is not None and blocks > known[1]:
        raise WeightsError(f"{path}: has {blocks} blocks, and {architecture} has {known[1]}.")
    # Of a size that is published, or made here, a file with fewer blocks has lost some.
    return max([blocks, *(size[1] for size in SIZES.values() if (size[0], size[2]) == (width, heads))])


def _has_norm(state: dict[str, Tensor], path: Path) -> bool:
    has_norm, has_fc_norm = (any(key.startswith(name) for key in state) for name in ("norm.", "fc_norm."))
    if has_norm and has_fc_norm:
        raise WeightsError(
            f"{path}: holds both `norm` (of every token) and `fc_norm` (of their mean); a USFM encoder has one of "
            "them. Save the weights without the other."
        )
    return not has_fc_norm


def _build(shape: dict[str, Any], *, has_norm: bool, **settings: Any) -> Beit:
    # timm has `norm` where a class token is taken and `fc_norm` where patches are averaged.
    return build_usfm(**shape, **settings, global_pool="token" if has_norm else "avg")


def _use_norm(model: Beit, reading: Reading) -> None:
    """Turn an encoder that normalises tokens and takes the class token into one that averages patches."""
    model.global_pool = "avg"
    if reading == "own-norm":
        return
    model.norm, model.fc_norm = nn.Identity(), copy.deepcopy(model.norm)
    if reading == "published":
        model.fc_norm.reset_parameters()


def _check_coverage(state: dict[str, Tensor], model: Beit, path: Path) -> None:
    wanted = dict(model.named_parameters())
    check_coverage(state, wanted, path, "USFM encoder", blocks=len(model.blocks))
