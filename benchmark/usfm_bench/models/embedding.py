"""Features of images under a model that is not trained, as probes and nearest neighbours use them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usfm_bench.core.errors import BenchError, unknown
from usfm_bench.data.transforms import Normalise
from usfm_bench.models.weights import find_entry, load
from usfm_bench.specs.family import FAMILIES, Asked
from usfm_bench.specs.model import ModelEntry
from usfm_bench.specs.training import Reading

What = Literal["pooled", "class", "patches"]
_SLACK = 1e-4  # what resizing in 32 bit leaves above 1


class _Model(NamedTuple):
    backbone: Any
    normalise: Normalise


def embed(
    model: str | Path,
    images: Tensor | NDArray[np.float32],
    *,
    what: What = "pooled",
    reading: Reading | None = None,
    allow_hash: bool = False,
) -> Tensor:
    """Features of images, without gradient, from a model in evaluation mode.

    Args:
        model: a name as `--models` takes it, or the path of a weight file.
        images: (B, 3, S, S) in [0, 1]; the model's own mean and standard deviation are applied here.
        what: `pooled`: what the model gives to its classifier, for USFM the mean of patch tokens. `class`: the class
            token. `patches`: the tokens of patches, row by row. Tokens are taken after the last norm that the model
            has on tokens; a file with `fc_norm` has none.
        reading: how the `norm` of USFM's file is used (`load_backbone`); `own-norm` where none is given, so that
            pooled features and tokens have passed the norm that they were trained with.
        allow_hash: load a registered name from a file with another sha256 than the registry's.

    Returns:
        (B, D), or (B, N, D) for `patches`: float32 on the images' device. A model without weights (`-scratch`) has
        those of seed 0.

    Raises:
        BenchError: no such model, images of another shape or range, or a model without such features.
        WeightsError: as `load_backbone`.
    """
    if what not in get_args(What):
        raise unknown("features", str(what), get_args(What))
    batch = _checked(images)
    entry = find_entry(model)
    backbone, normalise = _loaded(entry, batch.shape[-1], reading, allow_hash, _stamp(entry))
    backbone.to(batch.device)
    normalised = normalise.to(batch.device)(batch)
    with torch.inference_mode(), torch.autocast(batch.device.type, enabled=False):
        try:
            tokens = backbone.forward_features(normalised)
            features = _features(entry, backbone, tokens, what)
        except (AssertionError, AttributeError, RuntimeError, TypeError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise BenchError(f"Model '{entry.name}' gives no features at {batch.shape[-1]} px: {error}") from error
    return features.float().clone()


def _checked(images: Tensor | NDArray[np.float32]) -> Tensor:
    batch = torch.as_tensor(images)
    shape = tuple(batch.shape)
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or 0 in shape:
        raise BenchError(f"images are of shape {shape}; expected (B, 3, S, S): some square images of three channels.")
    if not batch.is_floating_point():
        raise BenchError(f"images are {batch.dtype}; expected floating-point grey levels in [0, 1]: divide by 255.")
    batch = batch.detach().float()
    if not bool(batch.isfinite().all()):
        raise BenchError("images hold NaN or infinite values.")
    low, high = float(batch.min()), float(batch.max())
    if low < -_SLACK or high > 1 + _SLACK:
        raise BenchError(
            f"images range from {low:g} to {high:g}; expected [0, 1], before mean and standard deviation are applied."
        )
    return batch


def _stamp(entry: ModelEntry) -> tuple[int, ...]:
    """Changes when the weight file does."""
    try:
        stat = entry.weight_file.stat() if entry.weight_file else None
    except OSError:
        stat = None
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat else ()


@lru_cache(maxsize=1)
def _loaded(entry: ModelEntry, size: int, reading: Reading | None, allow_hash: bool, _stamp: tuple[int, ...]) -> _Model:
    """The model, kept for the next batch."""
    family = FAMILIES[entry.family]
    if "vector" not in entry.gives:
        raise BenchError(f"Model '{entry.name}' is a {family.title}, which gives masks and no features of an image.")
    if (patch := family.patch_of(entry.architecture)) and size % patch:
        raise BenchError(f"Model '{entry.name}': images of {size} px are not a multiple of its patch, {patch}.")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        try:
            backbone = load(entry, Asked(size, reading=reading, otherwise="own-norm"), allow_hash=allow_hash)
        except (AssertionError, TypeError) as error:
            raise BenchError(f"Model '{entry.name}' does not take images of {size} px: {error}") from error
    return _Model(backbone.model.eval().requires_grad_(False), Normalise(backbone.mean, backbone.std))


def _features(entry: ModelEntry, backbone: Any, tokens: Tensor, what: What) -> Tensor:
    if what == "pooled":
        pooled: Tensor = backbone.forward_head(tokens, pre_logits=True)
        if pooled.ndim != 2:
            raise BenchError(f"Model '{entry.name}' has no pooled features: they are of shape {tuple(pooled.shape)}.")
        return pooled
    if tokens.ndim != 3 or not hasattr(backbone, "num_prefix_tokens"):
        raise BenchError(f"Model '{entry.name}' has no tokens, and so no '{what}' features; it has pooled ones.")
    if what == "patches":
        return tokens[:, backbone.num_prefix_tokens :]
    if getattr(backbone, "cls_token", None) is None:
        raise BenchError(f"Model '{entry.name}' has no class token; it has pooled features and those of patches.")
    return tokens[:, 0]
