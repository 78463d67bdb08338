"""A family's model as timm builds it, with the weights of a file: all that the encoder needs, or an error of keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from usfm_bench.core.errors import WeightsError
from usfm_bench.models.checkpoint import first_of, uncovered
from usfm_bench.models.hub import from_hub
from usfm_bench.specs.family import Asked, Backbone, Checkpoint, Family
from usfm_bench.specs.model import ModelEntry, weight_file

_COUNTER = "num_batches_tracked"  # of batch norms: an integer that older files lack and evaluation does not use


def timm_backbone(family: Family, entry: ModelEntry, asked: Asked) -> Backbone:
    """`Family.backbone` of a family whose models are timm's."""
    if entry.weights != "file":
        is_hub = entry.weights == "hub"
        model = from_hub(entry, lambda: _create(family, entry.architecture, asked, pretrained=is_hub))
        return Backbone(model, *normalisation(family, entry))
    shape, checkpoint = _in_file(family, entry, asked.shape)
    model = _create(family, asked=asked, **shape)
    if checkpoint is not None:
        load_state(model, checkpoint.state, weight_file(entry), family)
    return Backbone(model, *normalisation(family, entry, checkpoint), shape=shape)


def timm_stages(family: Family, entry: ModelEntry, shape: dict[str, Any] | None, **sizes: int) -> Backbone:
    """`Family.stages` of a family whose models are timm's."""
    if entry.weights != "file":
        features = from_hub(entry, lambda: _maps(entry.architecture, pretrained=entry.weights == "hub", **sizes))
        return Backbone(features, *normalisation(family, entry))
    shape, checkpoint = _in_file(family, entry, shape)
    features = _maps(**(shape | sizes))
    if checkpoint is not None:
        settings = {key: value for key, value in shape.items() if key != "architecture"} | sizes
        whole = timm.create_model(shape["architecture"], num_classes=0, **settings)
        load_state(whole, checkpoint.state, weight_file(entry), family)
        features.load_state_dict(_under_names_of(features, whole))
    return Backbone(features, *normalisation(family, entry, checkpoint), shape=shape)


def _in_file(
    family: Family, entry: ModelEntry, shape: dict[str, Any] | None
) -> tuple[dict[str, Any], Checkpoint | None]:
    """What to build and what to load; of a shape that is given nothing is loaded, and no file is read."""
    if shape is not None:
        return shape, None
    checkpoint = family.read(weight_file(entry), entry.architecture)
    return {"architecture": checkpoint.architecture, **checkpoint.settings}, checkpoint


def normalisation(
    family: Family, entry: ModelEntry, checkpoint: Checkpoint | None = None
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation: the entry's, or those of the file's form or the hub's weights, or the family's."""
    mean, std = family.mean, family.std
    if checkpoint is not None:
        mean, std = checkpoint.mean or mean, checkpoint.std or std
    if entry.weights == "hub":
        config = timm.get_pretrained_cfg(entry.architecture)
        mean, std = config.mean, config.std
    return entry.mean or mean, entry.std or std


def _under_names_of(features: nn.Module, whole: nn.Module) -> dict[str, Tensor]:
    """A model's state under the names of timm's module of its maps: `a.b` may be `a_b` there, or lie below `model`."""
    state = whole.state_dict()
    named = {new: v for key, v in state.items() for new in (key, key.replace(".", "_", 1), f"model.{key}")}
    return {key: named[key] for key in features.state_dict() if key in named}


def inspect_file(family: Family, path: Path) -> dict[str, Any]:
    """`Family.inspect` of a family whose models are timm's."""
    checkpoint = family.read(path)
    with torch.device("meta"):
        model = family.build(checkpoint.architecture, {"num_classes": 0, **checkpoint.settings})
    state = _without_counters(checkpoint.state)
    check_tensors(state, path)
    check_coverage(state, _without_counters(model.state_dict()), path, family.title, tables=("pos_embed",))
    return {
        "architecture": checkpoint.architecture,
        **checkpoint.settings,
        "parameters": sum(value.numel() for value in checkpoint.state.values()),
        "not part of the encoder": list(checkpoint.ignored),
    }


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path, family: Family) -> None:
    """Load all tensors of an encoder; position tables are resized to the model's grid.

    Raises:
        WeightsError: tensors are missing, unexpected, of another shape or kind; names the keys.
    """
    kept, wanted = _without_counters(state), _without_counters(model.state_dict())
    check_tensors(kept, path)
    kept = family.fitted(kept, model)
    check_coverage(kept, wanted, path, family.title)
    model.load_state_dict(kept, strict=False)  # but for counters, all of them: checked above


def with_resized_positions(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """A table of absolute positions, (1, tokens, width), at the grid of a timm model; others are left as they are."""
    table, wanted = state.get("pos_embed"), getattr(model, "pos_embed", None)
    if table is None or wanted is None or table.ndim != 3 or table.shape == wanted.shape:
        return state
    prefix = 0 if getattr(model, "no_embed_class", False) else model.num_prefix_tokens
    side = round((table.shape[1] - prefix) ** 0.5)
    if side**2 + prefix != table.shape[1] or table.shape[2] != wanted.shape[2]:
        return state  # of no square grid, or another width: told as of another shape
    resized = resample_abs_pos_embed(table, list(model.patch_embed.grid_size), num_prefix_tokens=prefix)
    return state | {"pos_embed": resized}


def _create(family: Family, architecture: str, asked: Asked, **settings: Any) -> Any:
    settings |= {"num_classes": 0, "drop_path_rate": asked.drop_path or None}
    if asked.image_size and family.is_sized(architecture, asked.image_size):
        settings["img_size"] = asked.image_size
    return family.build(architecture, {key: value for key, value in settings.items() if value is not None})


def _maps(architecture: str, **settings: Any) -> nn.Module:
    maps: nn.Module = timm.create_model(architecture, features_only=True, **settings)
    return maps


def _without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if not key.endswith(_COUNTER)}


def check_tensors(state: Mapping[str, Tensor], path: Path) -> None:
    """Raise a WeightsError unless tensors are of floating point, stored one by one, and finite; names the others."""
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


def check_coverage(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    path: Path,
    title: str,
    *,
    blocks: int = 0,
    tables: tuple[str, ...] = (),
) -> None:
    """Raise a WeightsError unless a file has every tensor that a model wants, in its shape, and no other.

    Args:
        state: of the file.
        wanted: of the model.
        path: of the file, for messages.
        title: of the model, for messages.
        blocks: of the model; those of which nothing is there are named first.
        tables: tensors that may be of another shape, since they are resized.
    """
    lines = uncovered(state, wanted, tables)
    whole = [f"blocks.{i}" for i in range(blocks) if not any(key.startswith(f"blocks.{i}.") for key in state)]
    if whole:
        lines.insert(0, f"of {blocks} blocks, {len(whole)} are not there: {first_of(whole)}")
    if lines:
        raise WeightsError(f"{path}: does not cover the {title}. " + "; ".join(lines) + ".")
