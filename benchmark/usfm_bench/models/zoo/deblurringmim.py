"""DeblurringMIM (openmedlab/DeblurringMIM): MAE's ViT-B, trained to undo a blur, and so fed with blurred images."""

from __future__ import annotations

from typing import Any

from usfm_bench.models.zoo.mae import Mae
from usfm_bench.specs.family import FAMILIES


class DeblurringMim(Mae):
    """Images are blurred within the model by 1.1 pixels of the network's grid.

    The publication blurs the stored image by as many of its own pixels, before it is resized.
    """

    name, title, usage, owner = "deblurringmim", "DeblurringMIM encoder", "deblurringmim:PATH (its MAE form)", False
    licence = "CC BY-NC 4.0"
    trained_on = "thyroid ultrasound, private"

    def build(self, architecture: str, settings: dict[str, Any]) -> Any:
        """Timm's vision transformer with a blur before its patches."""
        from usfm_bench.models.zoo.blurred import BlurredPatches

        return super().build(architecture, settings | {"embed_layer": BlurredPatches})


FAMILIES.register(DeblurringMim.name)(DeblurringMim())
