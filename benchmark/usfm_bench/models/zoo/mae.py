"""MAE (facebookresearch/mae), and what was trained with its code: encoder and decoder under plain names in `model`."""

from __future__ import annotations

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES


class Mae(Renamed):
    """Vision transformers by masked autoencoding, ViT-B, -L and -H; the decoder is left out."""

    name = "mae"
    title = "MAE encoder"
    usage = "mae:PATH (any file of MAE's code)"
    image_size = 224
    mark = r"^(model\.)?blocks\.0\.attn\.qkv\.bias$"
    unless = r"temporal_attn|\.ls1\.gamma|rel_pos|fc_norm"
    prefixes = (r"model\.(?=blocks|cls_token|pos_embed|patch_embed|norm|fc_norm)", "")
    dropped = r"(model\.)?(decoder|mask_token|head\.)"
    licence = "CC BY-NC 4.0"
    trained_on = "ImageNet-1k"

    def heads(self, width: int) -> int:
        """ViT-H has 80 channels a head, the others 64."""
        return 16 if width == 1280 else super().heads(width)


class UsfMae(Mae):
    """MAE ViT-B on ultrasound (Yusufii9/USF-MAE)."""

    name, title, usage, owner = "usfmae", "USF-MAE encoder", "usfmae:PATH", False
    licence = "MIT"
    trained_on = "OpenUS-46, public ultrasound sets"


class UltraFedFm(Mae):
    """MAE ViT-B, trained by federation (yuncheng97/UltraFedFM)."""

    name, title, usage, owner = "ultrafedfm", "UltraFedFM encoder", "ultrafedfm:PATH", False
    licence = "Apache-2.0"
    trained_on = "ultrasound of 16 institutions, mostly private"


FAMILIES.register(Mae.name)(Mae())
FAMILIES.register(UsfMae.name)(UsfMae())
FAMILIES.register(UltraFedFm.name)(UltraFedFm())
