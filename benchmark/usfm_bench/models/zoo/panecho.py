"""PanEcho (CarDS-Yale/PanEcho): the image encoder of its frames, torchvision's ConvNeXt-T under timm's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

_STAGES = tuple(
    (rf"^features\.{2 * k + 1}\.(\d+)\.{old}", rf"stages.{k}.blocks.\1.{new}")
    for k in range(4)
    for old, new in (
        *((r"block\.0\.", "conv_dw."), (r"block\.2\.", "norm."), (r"block\.3\.", "mlp.fc1.")),
        *((r"block\.5\.", "mlp.fc2."), ("layer_scale", "gamma")),
    )
)
_BETWEEN = tuple((rf"^features\.{2 * k}\.", f"stages.{k}.downsample.") for k in range(1, 4))


class PanEcho(Renamed):
    """What it computes of a single frame; attention over frames and the heads of its 39 tasks are left out."""

    name = "panecho"
    title = "PanEcho image encoder"
    usage = "panecho:PATH"
    image_size = 224
    mark = r"encoder\.encoder\.model\.features\.0\.0\.weight$"
    prefixes = (r"(weights\.)?(module\.)?encoder\.encoder\.model\.",)
    renames = (*_STAGES, *_BETWEEN, (r"^features\.0\.", "stem."), (r"^classifier\.0\.", "head.norm."))
    dropped = r"classifier\."
    licence = "not stated"
    trained_on = "echocardiograms of Yale, private; from ImageNet's weights"
    architecture: ClassVar[str] = "convnext_tiny"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """LayerScale is a vector in timm's model."""
        return Checkpoint(self.architecture, _flat(state), _sizes(state), ignored)

    def is_plain(self, architecture: str) -> bool:
        """It has stages."""
        return False


def _flat(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.flatten() if name.endswith(".gamma") else value for name, value in state.items()}


def _sizes(state: Mapping[str, Tensor]) -> dict[str, object]:
    """Widths and depths; those of ConvNeXt-T in the published file."""
    dims = [len(state[f"stages.{k}.blocks.0.conv_dw.weight"]) for k in range(4)]
    depths = [sum(name.startswith(f"stages.{k}.") and name.endswith(".gamma") for name in state) for k in range(4)]
    return {} if dims == [96, 192, 384, 768] and depths == [3, 3, 9, 3] else {"dims": dims, "depths": depths}


FAMILIES.register(PanEcho.name)(PanEcho())
