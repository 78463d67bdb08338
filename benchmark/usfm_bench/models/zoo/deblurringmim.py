"""DeblurringMIM (openmedlab/DeblurringMIM): encoders of MAE or ConvMAE trained to undo a blur, so fed with one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from usfm_bench.models.zoo.mae import Mae
from usfm_bench.specs.family import FAMILIES, Backbone, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.specs.model import ModelEntry

_CONVMAE, _MARK = "convmae", r"^(model\.)?blocks1\.0\.conv1\.weight$"


class DeblurringMim(Mae):
    """Images are blurred within the model by 1.1 pixels of the network's grid.

    The publication blurs the stored image by as many of its own pixels, before it is resized.
    """

    name, title, usage = "deblurringmim", "DeblurringMIM encoder", "deblurringmim:PATH"
    mark = f"{Mae.mark}|{_MARK}"
    dropped = rf"{Mae.dropped}|stage\d_output_decode\."
    licence = "CC BY-NC 4.0"
    trained_on = "thyroid ultrasound, private"

    def recognises(self, names: Iterable[str]) -> bool:
        """The form of ConvMAE; that of MAE is shared with others."""
        return any(re.search(_MARK, name) for name in names)

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """Of either form, by the convolutional stages that one of them has."""
        if "blocks1.0.conv1.weight" not in state:
            return super().checkpoint(state, ignored)
        return Checkpoint(_CONVMAE, state, _shape(state), ignored)

    def is_plain(self, architecture: str) -> bool:
        """ConvMAE has stages."""
        return architecture != _CONVMAE

    def build(self, architecture: str, settings: dict[str, Any]) -> Any:
        """ConvMAE, or timm's vision transformer with a blur before its patches."""
        if architecture == _CONVMAE:
            from usfm_bench.models.zoo.convmae import ConvMae

            own = ("widths", "depths", "hidden", "num_heads", "grid")
            return ConvMae(**{key: settings[key] for key in own})
        from usfm_bench.models.zoo.blurred import BlurredPatches

        return super().build(architecture, settings | {"embed_layer": BlurredPatches})

    def stages(self, entry: ModelEntry, shape: dict[str, Any] | None = None, **sizes: int) -> Backbone:
        """ConvMAE's maps at strides 4 to 32."""
        return self.own_stages(entry, shape)


def _shape(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Arguments of `ConvMae` that the shapes imply, and 12 heads for 768 channels, which they do not."""
    found = [re.match(r"blocks([123])\.(\d{1,3})\.", name) for name in state]
    widths = [len(state[f"patch_embed{k}.proj.weight"]) for k in (1, 2, 3)]
    return {
        "widths": widths,
        "depths": [max(int(m[2]) for m in found if m and m[1] == k) + 1 for k in "123"],
        "hidden": [len(state[f"blocks{k}.0.mlp.fc1.weight"]) for k in (1, 2, 3)],
        "num_heads": max(1, widths[-1] // 64),
        "grid": round(state["pos_embed"].shape[1] ** 0.5),
    }


FAMILIES.register(DeblurringMim.name)(DeblurringMim())
