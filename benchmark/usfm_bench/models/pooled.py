"""What a classifier needs of an encoder that is not timm's: timm's methods around features of one vector an image."""

from __future__ import annotations

from torch import Tensor, nn


class Pooled(nn.Module):
    """An encoder whose `forward_features` gives (B, D), or maps (B, D, h, w) that are averaged, and a linear head.

    The name of the head, `fc`, is that of timm's residual networks.
    """

    num_features: int

    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Module = nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D) or (B, D, h, w)."""
        raise AssertionError("every encoder says what its features are")

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) -> maps from shallow to deep, of encoders that a decoder can stand on."""
        raise AssertionError("this encoder has no maps")

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """(B, D) or (B, D, h, w) -> pooled features (B, D), or logits."""
        pooled = features.mean((2, 3)) if features.ndim == 4 else features
        logits: Tensor = pooled if pre_logits else self.fc(pooled)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits, or pooled features where there is no head."""
        return self.forward_head(self.forward_features(images))

    def reset_classifier(self, num_classes: int) -> None:
        """A new linear head; 0: none."""
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()

    def get_classifier(self) -> nn.Module:
        """The linear head."""
        return self.fc


class Maps(nn.Module):
    """The last four of the maps that an encoder's `maps` gives."""

    def __init__(self, model: Pooled) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four maps, from shallow to deep."""
        return self.model.maps(images)[-4:]
