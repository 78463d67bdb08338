"""TinyUSFM, distilled from USFM into a ViT-Ti with twelve heads (MacDunno/TinyUSFM)."""

from __future__ import annotations

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES


class TinyUsfm(Renamed):
    """Width 192 in 12 heads of 16 channels; the mean of patches passes `fc_norm`."""

    name = "tinyusfm"
    title = "TinyUSFM encoder"
    usage = "tinyusfm:PATH"
    image_size = 224
    mark = r"^((module|model|state_dict)\.)*blocks\.0\.attn\.qkv\.bias$"
    owner = False
    prefixes = (r"((module|model|state_dict)\.)+", "")
    dropped = r"head\.|mask_token"
    licence = "Apache-2.0 by its README"
    trained_on = "a part of 3M-US, mostly private, chosen by features"

    def heads(self, width: int) -> int:
        """16 channels each."""
        return max(1, width // 16)


FAMILIES.register(TinyUsfm.name)(TinyUsfm())
