"""FMUNet's encoder in two dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from usfm_bench.models.pooled import Pooled


def _step(channels: int, dropout: float) -> nn.Sequential:
    norm = nn.InstanceNorm2d(channels, affine=True)
    return nn.Sequential(norm, nn.LeakyReLU(), nn.Dropout(dropout), nn.Conv2d(channels, channels, 3, padding=1))


class _Level(nn.Module):
    """Two residual steps."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.conv_list = nn.ModuleList([_step(channels, dropout), _step(channels, dropout)])

    def forward(self, x: Tensor) -> Tensor:
        for step in self.conv_list:
            x = x + step(x)
        return x


class _Down(nn.Module):
    """Half the size."""

    def __init__(self, channels: int, grown: int) -> None:
        super().__init__()
        norm = nn.InstanceNorm2d(channels, affine=True)
        self.down = nn.Sequential(norm, nn.LeakyReLU(), nn.Conv2d(channels, grown, 3, stride=2, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(x)
        return out


class _Encoder(nn.Module):
    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        for k, width in enumerate(channels):
            self.add_module(f"en_conv{k}", _Level(width, 0.2 if k > 1 else 0.0))
        for k, (width, grown) in enumerate(itertools.pairwise(channels)):
            self.add_module(f"down{k}", _Down(width, grown))
        self.depth = len(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.get_submodule("en_conv0")(x)]
        for k in range(1, self.depth):
            maps.append(self.get_submodule(f"en_conv{k}")(self.get_submodule(f"down{k - 1}")(maps[-1])))
        return maps


class FmUNet(Pooled):
    """Grey images -> maps at strides 1 to 16, with timm's methods for classifiers."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, channels[0], 3, padding=1)
        self.encoder = _Encoder(channels)
        self.num_features = channels[-1]

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W), of which the channels are equal -> five maps; each image is of mean 0 and deviation 1 first."""
        grey = images[:, :1]
        mean, deviation = grey.mean((1, 2, 3), keepdim=True), grey.std((1, 2, 3), keepdim=True, unbiased=False)
        maps: list[Tensor] = self.encoder(self.project((grey - mean) / deviation.clamp(min=1e-6)))
        return maps

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 16, W / 16)."""
        return self.maps(images)[-1]
