"""Families whose files hold a known encoder under other names: they state the names, and what shapes do not show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from usfm_bench.core.errors import WeightsError
from usfm_bench.specs.family import FAMILIES, Asked, Backbone, Checkpoint, Family

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.specs.model import ModelEntry

_DEPTHS = {192: 12, 384: 12, 768: 12, 1024: 24, 1280: 32}
"""Width -> blocks of the published sizes: a file of fewer has lost some."""


class Renamed(Family):
    """A family whose weight files are read by rules on names; all tensors of the encoder must be there."""

    needs_architecture = False
    varied = True
    mark: ClassVar[str]
    """Pattern of a name that files of this format have, and of no other family's."""
    unless: ClassVar[str] = r"$^"
    """Pattern of a name that files of this format do not have."""
    owner: ClassVar[bool] = True
    """Whether a file of this format is taken for this family's; others share it, and are named by hand."""
    prefixes: ClassVar[tuple[str, ...]] = ("",)
    """Patterns of what stands before the encoder's names; the first that a name begins with counts."""
    renames: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Patterns of names and what takes their place, one after the other."""
    dropped: ClassVar[str] = r"$^"
    """Pattern of names, after renaming, that are no part of the encoder."""

    def recognises(self, names: Iterable[str]) -> bool:
        """Whether one of the names has the format's mark."""
        names = list(names)
        return self.owner and self.marked(names) and not any(re.search(self.unless, name) for name in names)

    def marked(self, names: Iterable[str]) -> bool:
        """Whether a file of these names has this format."""
        return any(re.search(self.mark, name) for name in names)

    def read(self, path: Path, architecture: str = "") -> Checkpoint:
        """The encoder's tensors by this family's rules.

        Raises:
            WeightsError: of another format, which is named where it is known, or without what tells the size.
        """
        from usfm_bench.models.checkpoint import read_tensors

        tensors = read_tensors(path)
        if not self.marked(tensors):
            raise WeightsError(f"{path}: not in the format of the {self.title}.{looks_like(tensors, path)}")
        state, ignored = self.renamed(tensors)
        try:
            return self.checkpoint(state, ignored)
        except KeyError as error:
            raise WeightsError(f"{path}: does not cover the {self.title}: no {error.args[0]}.") from None

    def renamed(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
        """The encoder's tensors under the names of the model that is built, and the names of the others."""
        prefix = next((p for p in self.prefixes if any(re.match(p, name) for name in tensors)), "")
        state, ignored = {}, []
        for name, value in tensors.items():
            inside = re.match(prefix, name)
            new = name[inside.end() :] if inside else ""
            for pattern, replacement in self.renames:
                new = re.sub(pattern, replacement, new)
            if inside and not re.match(self.dropped, new):
                state[new] = value
            else:
                ignored.append(name)
        return state, sorted(ignored)

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """What to build for the tensors: a plain vision transformer of timm unless a family says otherwise.

        Raises:
            KeyError: a tensor whose shape tells the size is not there.
        """
        return Checkpoint("vit_base_patch16_224", state, self.vit(state), ignored)

    def own_stages(self, entry: ModelEntry, shape: dict[str, Any] | None = None) -> Backbone:
        """The last four maps of an encoder that is a `models.pooled.Pooled` with `maps`."""
        from usfm_bench.models.pooled import Maps

        found = self.backbone(entry, Asked(shape=shape))
        return replace(found, model=Maps(found.model))

    def heads(self, width: int) -> int:
        """Heads of a transformer of that width, which no shape tells; 64 channels each."""
        return max(1, width // 64)

    def vit(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Arguments of timm's vision transformer that the shapes imply, and the heads, which they do not."""
        patches, table = state["patch_embed.proj.weight"], state.get("pos_embed")
        width, channels, _, side = patches.shape
        found = [int(match[1]) for name in state if (match := re.match(r"blocks\.(\d{1,4})\.", name))]
        settings: dict[str, Any] = {
            "embed_dim": width,
            "depth": max([max(found, default=-1) + 1, _DEPTHS.get(width, 0)]),
            "num_heads": self.heads(width),
            "patch_size": side,
            "mlp_ratio": state["blocks.0.mlp.fc1.weight"].shape[0] / width,
        }
        if channels != 3:
            settings["in_chans"] = channels
        if table is not None and table.ndim == 3:
            settings["img_size"] = side * round((table.shape[1] - ("cls_token" in state)) ** 0.5)
        if "blocks.0.ls1.gamma" in state:
            settings["init_values"] = 1e-5
        if any(name.startswith("fc_norm.") for name in state):
            settings["global_pool"] = "avg"
        return settings


def looks_like(names: Iterable[str], path: Path) -> str:
    """` It looks like ...`, where exactly one family has such names; else nothing."""
    names = list(names)
    found = [f for f in FAMILIES.values() if f.reads_files and f.recognises(names)]
    return f" It looks like that of the {found[0].title}: {found[0].name}:{path}." if len(found) == 1 else ""
