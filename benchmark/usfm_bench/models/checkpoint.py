"""A weight file -> its tensors by name. Nothing of a file is ever run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from usfm_bench.core.errors import WeightsError
from usfm_bench.models.inert import PICKLE, Inert

WRAPPINGS = ("model", "state_dict", "module")
_SHOWN = 8
_HEAD = 1024
_OPTIMIZERS = ("optimizer", "optimizer_state_dict", "optimizers", "scaler", "lr_scheduler", "loss_scaler")


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The flat state dict of a `.pth` or `.safetensors` file, unwrapped from `model` and the like.

    Where several of those keys hold a state dict, the names keep the key in front.

    Raises:
        WeightsError: no checkpoint; says what the file is instead and what to do.
    """
    content = _content(path)
    state = _state_dict(content)
    if state is None:
        raise _without_tensors(path, content)
    return state


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file by its place in it, such as `teacher.backbone.cls_token`, but for optimizers' own.

    Raises:
        WeightsError: no checkpoint, or one without tensors.
    """
    content = _content(path)
    if not (found := dict(_tensors(content))):
        raise _without_tensors(path, content)
    return found


def _tensors(content: Any, place: str = "") -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items() if isinstance(content, dict) else ():
        name = f"{place}{key}"
        if isinstance(value, Tensor):
            yield name, value
        elif key not in _OPTIMIZERS:
            yield from _tensors(value, f"{name}.")


def _without_tensors(path: Path, content: Any) -> WeightsError:
    if isinstance(content, Inert):
        return _refused(
            path,
            "it is an object that exists only where the code of its maker runs, and nothing of the file was run",
            "Where you trust its source, open it with that code, save the state dict alone "
            "(`torch.save(model.state_dict(), FILE)`) and name that file.",
        )
    return WeightsError(f"{path}: holds no state dict of tensors.")


def _content(path: Path) -> Any:
    kind = _kind(path)
    try:
        return load_file(path) if kind == "safetensors" else _unpickled(path)
    except Exception as error:  # on damaged files torch, pickle and safetensors raise many kinds
        raise _unreadable(path, kind, error) from None


def _unpickled(path: Path) -> Any:
    with path.open("rb") as stream:  # a stream has no name by which torch would take it for another form
        try:
            return torch.load(stream, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:  # it holds more than tensors; of that nothing is built
            stream.seek(0)
            return torch.load(stream, map_location="cpu", weights_only=False, pickle_module=PICKLE)


def first_of(names: Sequence[str]) -> str:
    """`a, b, c and 9 more`: the first names of a list that may be long."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def uncovered(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], tables: Sequence[str] = ()) -> list[str]:
    """How the tensors of a file differ from those that a model wants, in words: missing, unexpected, of another shape.

    Args:
        state: of the file.
        wanted: of the model.
        tables: tensors that may be of another shape, since they are resized.
    """
    faults = {
        "missing": [key for key in wanted if key not in state],
        "unexpected": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and key not in tables and state[key].shape != wanted[key].shape
        ],
    }
    return [f"{len(keys)} {what}: {first_of(keys)}" for what, keys in faults.items() if keys]


def _state_dict(content: Any, depth: int = 3) -> dict[str, Tensor] | None:
    if not isinstance(content, dict):
        return None
    inner = {key: state for key in WRAPPINGS if depth and (state := _state_dict(content.get(key), depth - 1))}
    if len(inner) == 1:
        return next(iter(inner.values()))
    if inner:
        return {f"{key}.{name}": value for key, state in inner.items() for name, value in state.items()}
    plain = all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    return content if plain else None


def _kind(path: Path) -> str:
    """`safetensors`, `zip` (torch's form) or `pickle`, by the file's first bytes.

    Raises:
        WeightsError: what lies there is none of them.
    """
    if path.is_dir():
        raise _refused(path, "it is a folder", "Name the file.")
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file.") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}.") from None
    again = "Fetch the file again from its source."
    if not head:
        raise _refused(path, "it is empty", again)
    if head.startswith(b"version https://git-lfs"):
        raise _refused(path, "it is the pointer that git-lfs leaves in place of a file", "`git lfs pull` fetches it.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise _refused(path, "it is a web page, as a download link gives that asks or has expired", again)
    if head.startswith(b"PK"):
        return _checked_zip(path)
    if head[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    if not re.search(rb"[^\t\n\r -\x7e]", head):
        raise _refused(path, "it is text", again)
    return "pickle"


def _checked_zip(path: Path) -> str:
    if not zipfile.is_zipfile(path):
        size = path.stat().st_size
        raise _refused(path, f"its end is missing after {size:,} bytes", "Fetch the file again from its source.")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise _refused(path, "it is a TorchScript program", "Save the state dict of the model that it was made of.")
    if not any(name.endswith("data.pkl") for name in names):
        what = "it is an archive of other files"
        raise _refused(path, f"{what}: {first_of(names)}", "Unpack it and name the weight file inside.")
    return "zip"


def _unreadable(path: Path, kind: str, error: Exception) -> WeightsError:
    said = str(error).split("\n", 1)[0] if kind == "safetensors" else type(error).__name__
    return _refused(path, f"it is damaged, cut off, or of another format: {said}", "Fetch it again from its source.")


def _refused(path: Path, what: str, remedy: str) -> WeightsError:
    return WeightsError(f"{path}: not a readable checkpoint of plain tensors: {what}. {remedy}")
