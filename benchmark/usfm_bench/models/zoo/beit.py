"""BEiT v1 (microsoft/unilm), the parent of USFM's format: the same tensors, and another normalisation."""

from __future__ import annotations

from collections.abc import Iterable

from usfm_bench.models.zoo.usfm import TABLE, Usfm
from usfm_bench.specs.family import FAMILIES


class Beit(Usfm):
    """Pre-trained and fine-tuned files; `lm_head` and classifiers are left out."""

    name = "beit"
    title = "BEiT encoder"
    usage = "beit:PATH (a file of BEiT's code)"
    mean, std = (0.5,) * 3, (0.5,) * 3
    licence = "MIT"
    trained_on = "ImageNet-22k"
    pretrainable = ()

    def recognises(self, names: Iterable[str]) -> bool:
        """By the head that predicts visual words, which USFM's file does not have."""
        names = list(names)
        return any("lm_head." in name for name in names) and any(name.endswith(TABLE) for name in names)


FAMILIES.register(Beit.name)(Beit())
