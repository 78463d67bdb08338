"""U-Net of segmentation_models.pytorch (smp), with an encoder from ImageNet or from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from usfm_bench.core.errors import unknown
from usfm_bench.specs.family import FAMILIES, Family

if TYPE_CHECKING:
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.model import ModelEntry


class UNet(Family):
    """An encoder by smp's name; the decoder is U-Net's own, whatever the recipe says."""

    name = "unet"
    title = "U-Net"
    gives = ("maps",)
    reads_files = False
    trained_on = "ImageNet"

    def segmenter(self, entry: ModelEntry, n_outputs: int) -> Network:
        """Encoder and decoder."""
        from segmentation_models_pytorch.encoders import get_encoder_names

        from usfm_bench.models import networks
        from usfm_bench.models.hub import from_hub, state_sha256

        if entry.architecture not in (known := get_encoder_names()):
            raise unknown("encoder of a U-Net", entry.architecture, known)
        weights = "imagenet" if entry.weights == "hub" else None
        network = from_hub(entry, lambda: networks.UNet(entry.architecture, weights, n_outputs))
        if weights:
            network.weight_hash = state_sha256(network.encoder)
        return network


FAMILIES.register(UNet.name)(UNet())
