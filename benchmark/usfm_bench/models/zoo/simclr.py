"""SimCLR's ResNets in five public forms: those of Separius, VISSL, mmpretrain, sthalles and Spijkervet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usfm_bench.models.zoo.renamed import Renamed
from usfm_bench.models.zoo.resnet import resnet_of
from usfm_bench.specs.family import FAMILIES, Checkpoint

if TYPE_CHECKING:
    from torch import Tensor


class SimClr(Renamed):
    """The encoder without its projection head. Google's own weights, converted, take images in [0, 1] as they are."""

    name = "simclr"
    title = "SimCLR encoder"
    usage = "simclr:PATH (five public forms)"
    image_size = 224
    mark = r"^resnet\.net\.0\.0\.|_feature_blocks\.conv1\.|^(state_dict\.)?backbone\.conv1\.|^encoder\.conv1\."
    prefixes = (
        r"resnet\.(?=net\.|fc\.)",
        r"classy_state_dict\.base_model\.model\.trunk\._feature_blocks\.",
        r"_feature_blocks\.",
        r"(state_dict\.)?backbone\.",
        r"encoder\.",
    )
    renames = (
        (r"^net\.0\.0\.", "conv1."),
        (r"^net\.0\.1\.0\.", "bn1."),
        (r"^net\.(\d)\.blocks\.(\d+)\.net\.0\.", r"layer\1.\2.conv1."),
        (r"^net\.(\d)\.blocks\.(\d+)\.net\.2\.", r"layer\1.\2.conv2."),
        (r"^net\.(\d)\.blocks\.(\d+)\.net\.4\.", r"layer\1.\2.conv3."),
        (r"^net\.(\d)\.blocks\.(\d+)\.net\.1\.0\.", r"layer\1.\2.bn1."),
        (r"^net\.(\d)\.blocks\.(\d+)\.net\.3\.0\.", r"layer\1.\2.bn2."),
        (r"^net\.(\d)\.blocks\.(\d+)\.net\.5\.0\.", r"layer\1.\2.bn3."),
        (r"^net\.(\d)\.blocks\.(\d+)\.projection\.shortcut\.", r"layer\1.\2.downsample.0."),
        (r"^net\.(\d)\.blocks\.(\d+)\.projection\.bn\.0\.", r"layer\1.\2.downsample.1."),
    )
    dropped = r"fc\."
    licence = "Apache-2.0 or MIT, by form"
    trained_on = "ImageNet-1k, or its maker's images"

    def checkpoint(self, state: dict[str, Tensor], ignored: list[str]) -> Checkpoint:
        """The converted form is told by the keys beside it: its projection head lies under `head`."""
        architecture, settings = resnet_of(state)
        plain = any(name.startswith("resnet.fc.") or name.startswith("head.") for name in ignored)
        mean, std = ((0.0,) * 3, (1.0,) * 3) if plain else (None, None)
        return Checkpoint(architecture, state, settings, ignored, mean, std)

    def is_plain(self, architecture: str) -> bool:
        """A ResNet has stages."""
        return False


FAMILIES.register(SimClr.name)(SimClr())
