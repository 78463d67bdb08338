"""Networks from model names. Importing this package registers the USFM encoders with timm.

Neither torch nor timm is imported before they are needed, since planning looks names of families up in `models.zoo`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usfm_bench.models.build import build_model
    from usfm_bench.models.embedding import embed
    from usfm_bench.models.weights import load_backbone

__all__ = ["build_model", "embed", "load_backbone"]
_HOMES = {"build_model": "build", "embed": "embedding", "load_backbone": "weights"}
_ENCODERS = f"{__name__}.zoo.usfm_encoder"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


class _AfterTimm(MetaPathFinder):
    """Registers the encoders as soon as timm has been imported, once."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "timm":
            return None
        sys.meta_path.remove(self)  # for as long as the others are asked
        try:
            spec = find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = partial(self._load, spec.loader.exec_module)  # type: ignore[method-assign]
        return spec

    def _load(self, load: Callable[[ModuleType], None], module: ModuleType) -> None:
        load(module)
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            import_module(_ENCODERS)


if "timm" in sys.modules:
    import_module(_ENCODERS)
else:
    sys.meta_path.insert(0, _AfterTimm())
