"""The only place that loads checkpoints: all that the backbone needs is there, or the error names the keys."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.models.beit import Beit
from torch import Tensor, nn

from usfm_bench.core.errors import WeightsError, unknown
from usfm_bench.models.backbones import SIZES, build_usfm
from usfm_bench.models.checkpoint import first_of, read_checkpoint
from usfm_bench.models.position_tables import published_table, resized_table, table_grid
from usfm_bench.models.tensor_names import TABLE, encoder_state
from usfm_bench.specs.model import ModelEntry, checked_weight_file, resolve, weight_file
from usfm_bench.specs.training import READINGS, Reading

_PATCH = 16


class Encoder(NamedTuple):
    """A loaded backbone and what was decided in loading it."""

    model: Beit
    reading: Reading | None
    """How the file's `norm` is used; None: the file has `fc_norm`, which is loaded as it is."""
    shape: dict[str, Any]
    """What `empty_encoder` builds the same from, as JSON."""


def load_backbone(
    path: str | Path,
    *,
    image_size: int | None = None,
    reading: Reading | None = None,
    legacy_transpose: bool = False,
    drop_path: float = 0.0,
    allow_hash: bool = False,
) -> Beit:
    """A USFM encoder with the weights of a file; width, depth, heads and grid are read from the file's own shapes.

    Args:
        path: a `.pth` or `.safetensors` file, `usfm:PATH`, or a name of pretrained/registry.yaml such as `usfm`. The
            published names are read, those of transformers' BeitModel, and those of fine-tuned files.
        image_size: side of the input in pixels; the file's own grid when None. Position tables are resized with timm.
        reading: how `norm` is used, of a file that has it. `published` (the default): dropped; the mean of patch
            tokens passes a new `fc_norm` of weight 1 and bias 0. `own-norm`: every token passes `norm`, then patches
            are averaged. `renamed`: the mean of patch tokens passes `norm`. Outputs of blocks are the same in all.
        legacy_transpose: resize the tables as the published code does, with their axes swapped.
        drop_path: stochastic depth of the last block.
        allow_hash: load a registered name from a file with another sha256 than the registry's.

    Raises:
        WeightsMissingError: no such file.
        WeightsError: not a checkpoint; another hash; keys are missing, unexpected, twice, or of another shape or kind;
            numbers that are not finite; a `reading` where the file leaves no choice. Names the keys.
    """
    entry = find_entry(path)
    size: dict[str, Any] = {"image_size": image_size, "legacy_transpose": legacy_transpose, "drop_path": drop_path}
    return load_encoder(entry, reading=reading, allow_hash=allow_hash, **size).model


def load_encoder(
    entry: ModelEntry,
    *,
    image_size: int | None = None,
    reading: Reading | None = None,
    otherwise: Reading = "published",
    legacy_transpose: bool = False,
    drop_path: float = 0.0,
    allow_hash: bool = False,
) -> Encoder:
    """As `load_backbone`, of a catalogue entry; `otherwise`: the reading of a file with `norm` where none is asked."""
    if reading is not None and reading not in READINGS:
        raise unknown("reading", reading, READINGS)
    if image_size is not None and (image_size < _PATCH or image_size % _PATCH):
        raise WeightsError(f"image_size is {image_size}; the encoder takes multiples of its patch, {_PATCH}.")
    path = checked_weight_file(entry, allow_hash=allow_hash)
    state, _ = encoder_state(read_checkpoint(path), path)
    shape = read_architecture(state, path, entry.architecture)
    grid = shape.pop("grid")
    has_norm = _has_norm(state, path)
    if reading is not None and not has_norm:
        raise WeightsError(
            f"{path}: reading '{reading}' says how to use `norm`, and this file has `fc_norm`, as fine-tuned files do, "
            "which is loaded as it is. Leave the reading out."
        )
    model = _build(shape, has_norm=has_norm, img_size=image_size or _PATCH * grid, drop_path_rate=drop_path)
    _check_tensors(state, path)
    window = model.patch_embed.grid_size[0]
    resize = published_table if legacy_transpose else resized_table
    for key in [key for key in state if key.endswith(TABLE)]:
        state[key] = resize(state[key], window)
    _check_coverage(state, model, path)
    model.load_state_dict(state)
    chosen = (reading or otherwise) if has_norm else None
    if chosen is not None:
        _use_norm(model, chosen)
    return Encoder(model, chosen, shape | {"reading": chosen})


def empty_encoder(shape: dict[str, Any], image_size: int) -> Beit:
    """An encoder of the `Encoder.shape` of another, for weights that are loaded afterwards."""
    reading = shape["reading"]
    sizes = {key: value for key, value in shape.items() if key != "reading"}
    model = _build(sizes, has_norm=reading is not None, img_size=image_size)
    if reading is not None:
        _use_norm(model, reading)
    return model


def shape_in_file(entry: ModelEntry, reading: Reading = "published") -> dict[str, Any]:
    """The `Encoder.shape` of an entry's weight file, whose numbers are not looked at.

    Raises:
        WeightsMissingError: the file is not there.
        WeightsError: it is no encoder.
    """
    path = weight_file(entry)
    state, _ = encoder_state(read_checkpoint(path), path)
    shape = read_architecture(state, path, entry.architecture)
    shape.pop("grid")
    return shape | {"reading": reading if _has_norm(state, path) else None}


def find_entry(path_or_name: str | Path) -> ModelEntry:
    """The entry of a weight file's path, or of a model name.

    Raises:
        BenchError: neither; the nearest name is suggested.
    """
    path, name = Path(path_or_name), str(path_or_name)
    looks_like_path = path.suffix in {".pth", ".pt", ".safetensors"} or len(path.parts) > 1
    if isinstance(path_or_name, Path) or path.is_file() or (looks_like_path and ":" not in name):
        return resolve(f"usfm:{name}")
    return resolve(name)


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
    return {
        "embed_dim": width,
        "depth": _depth((width, max(blocks) + 1, heads), path, architecture),
        "num_heads": heads,
        "mlp_ratio": state[needed[1]].shape[0] / width,
        "use_rel_pos_bias": tables[0].startswith("blocks."),
        "grid": grid,
    }


def inspect_checkpoint(path: Path) -> dict[str, Any]:
    """What a file holds: architecture, parameters, how its last norm is used, ignored keys.

    Raises:
        WeightsError: it does not cover the encoder; names the keys.
    """
    state, ignored = encoder_state(read_checkpoint(path), path)
    shape = read_architecture(state, path)
    has_norm = _has_norm(state, path)
    _check_tensors(state, path)
    size = {key: value for key, value in shape.items() if key != "grid"}
    with torch.device("meta"):
        _check_coverage(state, _build(size, has_norm=has_norm, img_size=_PATCH * shape["grid"]), path)
    return {
        **shape,
        "parameters": sum(value.numel() for value in state.values()),
        **({"readings of its norm": list(READINGS)} if has_norm else {}),
        "not part of the encoder": ignored,
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


def _check_tensors(state: dict[str, Tensor], path: Path) -> None:
    """Numbers with fractions, stored one by one, all of them finite."""
    kinds: dict[str, Callable[[Tensor], bool]] = {
        "not of floating-point numbers": lambda t: not t.is_floating_point(),
        "sparse": lambda t: t.layout != torch.strided,
        "without numbers (on the meta device)": lambda t: t.is_meta,
    }
    faults = {
        what: [f"{key} ({str(value.dtype).removeprefix('torch.')})" for key, value in state.items() if odd(value)]
        for what, odd in kinds.items()
    }
    if not any(faults.values()):
        faults["with NaN or infinite numbers"] = [
            key for key, value in state.items() if not bool(value.float().isfinite().all())
        ]
    if lines := [f"{len(keys)} {what}: {first_of(keys)}" for what, keys in faults.items() if keys]:
        raise WeightsError(
            f"{path}: tensors that no encoder can use. {'; '.join(lines)}. Fetch or save the file again, as plain "
            "tensors of 16 or 32 bit floating point."
        )


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
    lines = [f"{len(keys)} {what}: {first_of(keys)}" for what, keys in faults.items() if keys]
    whole = [f"blocks.{i}" for i in range(len(model.blocks)) if not any(k.startswith(f"blocks.{i}.") for k in state)]
    if whole:
        lines.insert(0, f"of {len(model.blocks)} blocks, {len(whole)} are not there: {first_of(whole)}")
    if lines:
        raise WeightsError(f"{path}: does not cover the USFM encoder. " + "; ".join(lines) + ".")
