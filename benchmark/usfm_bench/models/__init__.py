"""Models by name. Importing this package registers the USFM backbones with timm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from usfm_bench.models.build import build_model
    from usfm_bench.models.weights import load_backbone

__all__ = ["build_model", "load_backbone"]


def __getattr__(name: str) -> Any:
    # Late, so that planning and reporting can import `models.catalog` in an install without torch.
    if name == "build_model":
        from usfm_bench.models.build import build_model

        return build_model
    if name == "load_backbone":
        from usfm_bench.models.weights import load_backbone

        return load_backbone
    raise AttributeError(f"module 'usfm_bench.models' has no attribute '{name}'")


try:
    from usfm_bench.models import backbones  # noqa: F401 - registers the architectures with timm
except ModuleNotFoundError as error:
    if error.name not in {"timm", "torch"}:
        raise
