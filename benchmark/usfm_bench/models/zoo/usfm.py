"""USFM: BEiT with one table of relative positions, in the published size and four smaller ones (openmedlab/USFM)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from usfm_bench.core.errors import unknown
from usfm_bench.specs.family import FAMILIES, Asked, Backbone, Checkpoint, Family

if TYPE_CHECKING:
    from usfm_bench.specs.model import ModelEntry

SIZES = {
    "usfm_base_patch16_224": (768, 12, 12),
    "usfm_small_patch16_224": (384, 12, 6),
    "usfm_tiny_patch16_224": (192, 12, 3),
    "usfm_micro_patch16_224": (96, 3, 3),
    "usfm_micro_patch8_64": (128, 4, 2),  # as `vit_micro_patch8_64` of pretraining/plain_images.py
}
"""Width, blocks and heads; the side of a patch is in the name."""
TABLE = "relative_position_bias_table"


def patch_in(architecture: str) -> int:
    """Side of a patch in pixels, as timm's names say it; 16 where they say nothing.

    >>> patch_in("usfm_micro_patch8_64")
    8
    """
    found = re.search(r"patch(\d+)", architecture)
    return int(found[1]) if found else 16


class Usfm(Family):
    """Files in the published format, those of transformers' BeitModel, and fine-tuned ones."""

    name = "usfm"
    title = "USFM encoder"
    usage = "usfm:PATH (any file in USFM's format)"
    needs_architecture = False
    patch = 16
    image_size = 224
    pretrainable = tuple(SIZES)

    def check_architecture(self, architecture: str) -> None:
        """One of five sizes."""
        if architecture not in SIZES:
            raise unknown("architecture", architecture, SIZES)

    def patch_of(self, architecture: str) -> int | None:
        """By the name; a file of no stated architecture is checked where it is read."""
        return patch_in(architecture) if architecture else None

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether a file has a table of relative positions, or BEiT's scales of its blocks."""
        names = list(names)
        return any(name.endswith((TABLE, ".gamma_1")) for name in names) and not any(
            "lm_head." in name or "downsample." in name
            for name in names  # BEiT's pre-training, and Swin
        )

    def read(self, path: Path, architecture: str = "") -> Checkpoint:
        """Width, depth, heads and grid come from the file's own shapes."""
        from usfm_bench.models.zoo.usfm_weights import read_usfm

        return read_usfm(path, architecture)

    def shape(self, path: Path) -> dict[str, Any]:
        """Of the published reading of its last norm."""
        from usfm_bench.models.zoo.usfm_weights import shape_in_file

        return shape_in_file(path)

    def inspect(self, path: Path) -> dict[str, Any]:
        """With the readings that its last norm leaves."""
        from usfm_bench.models.zoo.usfm_weights import inspect_usfm

        return inspect_usfm(path)

    def backbone(self, entry: ModelEntry, asked: Asked) -> Backbone:
        """With tables resized to the input, and the last norm used as asked."""
        if entry.weights != "file":
            return super().backbone(entry, asked)
        from usfm_bench.models.zoo.usfm_weights import empty_usfm, load_usfm

        return load_usfm(self, entry, asked) if asked.shape is None else empty_usfm(self, entry, asked)


FAMILIES.register(Usfm.name)(Usfm())
