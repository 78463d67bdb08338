"""Unpickling that builds tensors alone: every other object of a file becomes a placeholder that does nothing.

Files of published trainings hold settings, metrics and hooks of their makers beside tensors. Nothing of them is run: a
name that a pickle imports is looked up in a list of what tensors need, and stands for a placeholder where it is not
there. torch reads the storages (PyTorch's `torch.load` takes a `pickle_module`).
"""

from __future__ import annotations

import collections
import pickle
import re
from types import SimpleNamespace
from typing import Any

import torch

_REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")
_STORAGE = re.compile(r"\w*Storage")


class Inert:
    """Stands for an object that is not built; takes all that a pickle does to one and keeps none of it."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Whatever the arguments are."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Inert:
        """What a function would have returned."""
        return Inert()

    def __setstate__(self, state: object) -> None:
        """Nothing is kept."""

    def __setitem__(self, key: object, value: object) -> None:
        """Nothing is kept."""

    def append(self, value: object) -> None:
        """Nothing is kept."""

    extend = add = append

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class InertUnpickler(pickle.Unpickler):
    """Finds what tensors need, and placeholders."""

    def find_class(self, module: str, name: str) -> Any:
        """The object of that name, or `Inert`."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in _REBUILDS:
            return getattr(torch._utils, name)
        if (module == "torch" and _STORAGE.fullmatch(name)) or (module, name) == ("torch.storage", "UntypedStorage"):
            return getattr(torch if module == "torch" else torch.storage, name, Inert)
        if module == "torch" and (name in ("Size", "device") or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        return Inert


def _load(stream: Any, **settings: Any) -> Any:
    return InertUnpickler(stream, **settings).load()


PICKLE = SimpleNamespace(
    Unpickler=InertUnpickler,
    load=_load,
    UnpicklingError=pickle.UnpicklingError,
    PickleError=pickle.PickleError,
    HIGHEST_PROTOCOL=pickle.HIGHEST_PROTOCOL,
    __name__="usfm_bench.models.inert",
)
"""For `torch.load(..., pickle_module=PICKLE, weights_only=False)`."""
