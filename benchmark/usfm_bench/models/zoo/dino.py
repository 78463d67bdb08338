"""DINOv2's form: the teacher of RETFound and UltraDINO, with LayerScale; RETFound's MAE files are read too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor


class UltraDino(Renamed):
    """Teachers of DINOv2 on ultrasound, of one channel (jakobamb/UltraDINO)."""

    name = "ultradino"
    title = "UltraDINO encoder"
    usage = "ultradino:PATH"
    image_size = 224
    mark = r"^teacher\.backbone\.blocks\.0\.ls1\.gamma$"
    owner = False
    prefixes = (r"teacher\.backbone\.", r"model\.(?=blocks|cls_token|pos_embed|patch_embed|norm)", "")
    dropped = r"mask_token|decoder|head\."
    mean: ClassVar[Sequence[float]] = (0.18429,) * 3
    std: ClassVar[Sequence[float]] = (0.21877,) * 3
    licence = "Apache-2.0 (code)"
    trained_on = "foetal ultrasound, private"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """A convolution of one channel becomes one of three equal channels, which gives the same for grey images."""
        patches = state["patch_embed.proj.weight"]
        if patches.shape[1] == 1:
            state = state | {"patch_embed.proj.weight": patches.expand(-1, 3, -1, -1) / 3}
        return super().checkpoint(state, ignored)


class RetFound(UltraDino):
    """ViT-L of the retina, by DINOv2 or by MAE (rmaphoh/RETFound)."""

    name = "retfound"
    title = "RETFound encoder"
    usage = "retfound:PATH (MAE's and DINOv2's)"
    mark = r"^(teacher\.backbone|model)\.blocks\.0\.attn\.qkv\.bias$"
    mean, std = Renamed.mean, Renamed.std
    licence = "CC BY-NC 4.0, gated"
    trained_on = "retinal photographs and OCT"


class DinoV2(RetFound):
    """Any teacher of DINOv2's code, on photographs or else."""

    name = "dinov2"
    title = "DINOv2 teacher"
    usage = "dinov2:PATH (a teacher of DINOv2's code)"
    mark = r"^teacher\.backbone\.blocks\.0\.ls1\.gamma$"
    owner = True
    licence = "of its maker"
    trained_on = ""


FAMILIES.register(UltraDino.name)(UltraDino())
FAMILIES.register(RetFound.name)(RetFound())
FAMILIES.register(DinoV2.name)(DinoV2())
