"""Image towers of open_clip: FetalCLIP's own transformer, and BiomedCLIP's, which is timm's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class FetalClip(Renamed):
    """ViT-L/14 with a norm before the blocks; the text tower and the projection are left out."""

    name = "fetalclip"
    title = "FetalCLIP image tower"
    usage = "fetalclip:PATH"
    image_size = 224
    mark = r"(^|\.)visual\.transformer\.resblocks\."
    prefixes = (r"(\w+\.)?visual\.",)
    renames = (
        (r"^class_embedding$", "cls_token"),
        (r"^positional_embedding$", "pos_embed"),
        (r"^conv1\.", "patch_embed.proj."),
        (r"^ln_pre\.", "norm_pre."),
        (r"^ln_post\.", "norm."),
        (r"^transformer\.resblocks\.", "blocks."),
        (r"\.ln_([12])\.", r".norm\1."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.mlp\.c_fc\.", ".mlp.fc1."),
        (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    )
    dropped = r"proj$"
    mean, std = _CLIP
    licence = "CC BY-NC 4.0"
    trained_on = "210,035 foetal ultrasound images with words, partly private"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """Timm has a batch dimension in front of class token and positions."""
        shaped = {k: v.reshape(1, -1, v.shape[-1]) if k in ("cls_token", "pos_embed") else v for k, v in state.items()}
        return Checkpoint("vit_large_patch14_clip_224", shaped, self.vit(shaped), ignored)


class BiomedClip(Renamed):
    """ViT-B/16 of timm within open_clip (microsoft/BiomedCLIP)."""

    name = "biomedclip"
    title = "BiomedCLIP image tower"
    usage = "biomedclip:PATH"
    image_size = 224
    mark = r"(^|\.)visual\.trunk\.blocks\.0\."
    prefixes = (r"(\w+\.)?visual\.trunk\.",)
    mean, std = _CLIP
    licence = "MIT"
    trained_on = "PMC-15M, figures of publications with their captions"


FAMILIES.register(FetalClip.name)(FetalClip())
FAMILIES.register(BiomedClip.name)(BiomedClip())
