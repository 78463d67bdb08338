"""Weights that timm or smp downloads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from usfm_bench.core.errors import WeightsMissingError

if TYPE_CHECKING:
    from torch import nn

    from usfm_bench.specs.model import ModelEntry

T = TypeVar("T")


def from_hub(entry: ModelEntry, build: Callable[[], T]) -> T:
    """What `build` gives; where it downloads weights, a failure of the hub is an error in words.

    Raises:
        WeightsMissingError: they could not be downloaded.
    """
    if entry.weights != "hub":
        return build()
    try:
        return build()
    except (AssertionError, TypeError):
        raise  # not the hub's: the model does not take these settings
    except Exception as error:  # the hub's client raises many kinds
        raise WeightsMissingError(
            f"the pre-trained weights of '{entry.name}' could not be downloaded "
            f"({type(error).__name__}). Fetch them once where there is a network (the hub's cache keeps them), "
            "or use the same model from scratch."
        ) from error


def state_sha256(module: nn.Module, without: tuple[str, ...] = ()) -> str:
    """sha256 over a module's tensors; new weights under the same hub name do not go unnoticed."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        if not without or not any(part.startswith(without) for part in key.split(".")):
            digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
