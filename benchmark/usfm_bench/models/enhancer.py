"""Networks that make a better image of an image: `forward` gives grey levels, of which 0 to 1 can be shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.data.sample import Image
from usfm_bench.models.focal_frequency import focal_frequency_loss
from usfm_bench.models.networks import Network

CHANNELS = 16
"""Maps that a decoder gives to the pixel head."""


class Enhancer(Network):
    """A network with maps at the input's size, and a pixel head that tells what to add to the image.

    The head sees the decoder's maps and the image itself, so that fine detail need not pass through a decoder that
    works at a quarter of the size. Its last convolution starts at zero: before training, the image stays as it is.

    Args:
        maps: gives (B, `CHANNELS`, S, S) of (B, 3, S, S), such as a segmenter with that many outputs.
        frequency: weight of the focal frequency loss beside L1.
    """

    def __init__(self, maps: Network, frequency: float) -> None:
        super().__init__()
        self.maps, self.frequency = maps, frequency
        self.mean, self.std, self.reading, self.shape = maps.mean, maps.std, maps.reading, maps.shape
        self.weight_hash = maps.weight_hash
        self.head = nn.Sequential(
            nn.Conv2d(CHANNELS + 1, 2 * CHANNELS, 3, padding=1), nn.ReLU(), nn.Conv2d(2 * CHANNELS, 1, 3, padding=1)
        )
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]  # it has one

    @property
    def encoder(self) -> nn.Module:
        """Of the network that gives the maps."""
        return self.maps.encoder

    def heads(self) -> Sequence[nn.Module]:
        """Of that network."""
        return self.maps.heads()

    def param_groups(self, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """Those of the maps' network, and the pixel head without decay by layer."""
        groups = self.maps.param_groups(weight_decay=weight_decay, layer_decay=layer_decay)
        own = [p for p in self.head.parameters() if p.requires_grad]
        return [*groups, {"params": own, "weight_decay": weight_decay}]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) normalised -> (B, 1, S, S) enhanced grey levels."""
        grey = grey_of(images, self)
        added: Tensor = self.head(torch.cat([self.maps(images), grey], dim=1))
        return grey + added

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """L1, and the weighted focal frequency loss, against (B, 1, S, S) levels of 0 to 255."""
        enhanced, good = self(images).float(), targets / 255
        loss = F.l1_loss(enhanced, good)
        return loss + self.frequency * focal_frequency_loss(enhanced, good) if self.frequency else loss


class FilterNetwork(Network):
    """A filter of grey levels as a network that has nothing to learn."""

    fitted = False

    def __init__(self, apply: Callable[[Image], Image]) -> None:
        super().__init__()
        self.backbone, self._filter, self._nothing = None, apply, nn.Identity()
        self.mean, self.std = (0.0,) * 3, (1.0,) * 3

    @property
    def encoder(self) -> nn.Module:
        """Nothing."""
        return self._nothing

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 1, S, S) filtered grey levels."""
        grey = (grey_of(images, self)[:, 0] * 255).round().clamp(0, 255).byte().cpu().numpy()
        filtered = np.stack([self._filter(image) for image in grey])
        return torch.from_numpy(filtered).to(images.device).float().unsqueeze(1) / 255


def grey_of(images: Tensor, network: Network) -> Tensor:
    """(B, 3, S, S) normalised, all channels the same image -> (B, 1, S, S) grey levels in [0, 1]."""
    return images[:, :1] * network.std[0] + network.mean[0]
