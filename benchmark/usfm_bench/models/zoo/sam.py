"""SAM's image encoder, in the original file, in MedSAM's and in UltraSam's (facebookresearch/segment-anything)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor


class Sam(Renamed):
    """Transformers with windows, relative positions and a neck; prompts and masks are left out."""

    name = "sam"
    title = "SAM image encoder"
    usage = "sam:PATH (SAM's and MedSAM's files)"
    image_size = 1024
    mark = r"(^|\.)image_encoder\.blocks\.0\.attn\.rel_pos_h$"
    prefixes = (r"(\w+\.)?image_encoder\.",)
    renames: ClassVar[tuple[tuple[str, str], ...]] = ((r"\.mlp\.lin([12])\.", r".mlp.fc\1."),)
    licence = "Apache-2.0"
    trained_on = "SA-1B, photographs"
    undecayed = (*Renamed.undecayed, "rel_pos_h", "rel_pos_w")

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """The longer tables of relative positions belong to blocks without windows; a head's width is theirs."""
        tables = {int(k.split(".")[1]): v for k, v in state.items() if re.match(r"blocks\.\d+\.attn\.rel_pos_h$", k)}
        window = (min(len(table) for table in tables.values()) + 1) // 2
        shape = self.vit(state)
        settings = {name: shape[name] for name in ("embed_dim", "depth", "patch_size", "mlp_ratio")} | {
            "num_heads": shape["embed_dim"] // tables[0].shape[1],
            "window_size": window,
            "global_attn_indexes": [i for i, table in sorted(tables.items()) if len(table) > 2 * window - 1],
            "neck_chans": len(state["neck.0.weight"]),
            "img_size": shape["patch_size"] * state["pos_embed"].shape[1],
        }
        return Checkpoint("samvit_base_patch16", state, settings, ignored)

    def fitted(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """Absolute positions by timm, tables of relative ones by a straight line along offsets, as SAM does itself."""
        from timm.layers import resample_abs_pos_embed_nhwc
        from torch.nn.functional import interpolate

        wanted, fitted = model.state_dict(), dict(state)
        if (table := state.get("pos_embed")) is not None and table.ndim == 4:
            fitted["pos_embed"] = resample_abs_pos_embed_nhwc(table, list(wanted["pos_embed"].shape[1:3]))
        for name, table in state.items():
            if name.endswith(("rel_pos_h", "rel_pos_w")) and name in wanted and table.ndim == 2:
                length = len(wanted[name])
                if length != len(table):
                    fitted[name] = interpolate(table.T[None].float(), size=length, mode="linear")[0].T.to(table.dtype)
        return fitted


class UltraSam(Sam):
    """The same encoder under mmpretrain's names (CAMMA-public/UltraSam)."""

    name = "ultrasam"
    title = "UltraSam image encoder"
    usage = "ultrasam:PATH"
    mark = r"(^|\.)backbone\.channel_reduction\."
    prefixes = (r"(\w+\.)?backbone\.",)
    renames = (
        (r"^layers\.", "blocks."),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"\.ln([12])\.", r".norm\1."),
        (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
        (r"^channel_reduction\.", "neck."),
    )
    licence = "CC BY-NC-SA 4.0"
    trained_on = "US-43d, 43 public ultrasound sets"


FAMILIES.register(Sam.name)(Sam())
FAMILIES.register(UltraSam.name)(UltraSam())
