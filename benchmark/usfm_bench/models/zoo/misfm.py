"""MIS-FM's FMUNet (openmedlab/MIS-FM): its encoder, exact for a slice that is seen as a volume of depth one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Backbone, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from usfm_bench.specs.model import ModelEntry


class MisFm(Renamed):
    """The middle planes of its 3-D convolutions, on one grey channel of mean 0 and deviation 1 in each image."""

    name = "misfm"
    title = "MIS-FM encoder"
    usage = "misfm:PATH (FMUNet)"
    mark = r"(^|\.)encoder\.en_conv0\.conv_list\."
    prefixes = (r"model_state_dict\.", "")
    dropped = r"decoder\.|out_layers\."
    mean, std = (0.0,) * 3, (1.0,) * 3
    licence = "Apache-2.0"
    trained_on = "CT, AbdomenAtlas and others"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """Of five levels; a slice alone meets the middle plane of each kernel, and zeros elsewhere."""
        planes = {key: value[:, :, 1] if value.ndim == 5 else value for key, value in state.items()}
        channels = [len(state[f"encoder.en_conv{k}.conv_list.0.3.weight"]) for k in range(5)]
        return Checkpoint("fmunet", planes, {"channels": channels}, ignored)

    def is_plain(self, architecture: str) -> bool:
        """It has stages."""
        return False

    def build(self, architecture: str, settings: dict[str, Any]) -> Any:
        """The encoder with a mean over its deepest map."""
        from usfm_bench.models.zoo.misfm_encoder import FmUNet

        return FmUNet(settings["channels"])

    def stages(self, entry: ModelEntry, shape: dict[str, Any] | None = None, **sizes: int) -> Backbone:
        """Its last four levels, at strides 2 to 16."""
        return self.own_stages(entry, shape)


FAMILIES.register(MisFm.name)(MisFm())
