"""Networks for both tasks: `forward` gives logits, `loss` what is minimised, `param_groups` what AdamW takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.models.segvit import SegViTDecoder, lesion_log_odds, segvit_loss
from usfm_bench.specs.family import IMAGENET, Family
from usfm_bench.specs.training import Reading

_AUXILIARY_WEIGHT, _AUXILIARY_MAP = 0.4, 2


class Network(nn.Module):
    """What training needs of every model."""

    mean: Sequence[float] = IMAGENET[0]
    std: Sequence[float] = IMAGENET[1]
    weight_hash: str | None = None
    """sha256 of the weight file that the model started from."""
    registered_hash: str | None = None
    """What the registry says it should be, where the file is another and was allowed."""
    reading: Reading | None = None
    """How the weight file's `norm` is used; None: it has `fc_norm`, or there is no file."""
    shape: dict[str, Any] | None = None
    """What a backbone from a weight file is built with, as JSON; None: the model's name says it."""
    undecayed: Sequence[str] = Family.undecayed
    """Ends of the names of parameters without weight decay, beside vectors."""
    backbone: Any
    """The timm model that layer-wise decay applies to; None: no decay by layer."""
    fitted = True
    """It is trained; False: it has nothing to learn, so that no step is taken."""
    frozen = False
    """The encoder keeps its weights and its statistics; only what stands on it is trained."""
    adapters: Sequence[nn.Module] = ()
    """Modules within the encoder that are trained although it is frozen."""

    @property
    def encoder(self) -> nn.Module:
        """What a checkpoint has weights for."""
        raise AssertionError("every network says what its encoder is")

    def heads(self) -> Sequence[nn.Module]:
        """Modules within the encoder that belong to the task: a classifier on top of it."""
        return ()

    def freeze(self) -> None:
        """Keep the encoder as it is; only what stands on it is trained, and adapters within it."""
        self.frozen = True
        self.encoder.requires_grad_(False)
        for module in (*self.heads(), *self.adapters):
            module.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As torch's; a frozen encoder stays in evaluation, or its batch norms would follow the images."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
            for head in self.heads():
                head.train(mode)
        return self

    def expect(self, state: dict[str, Tensor]) -> None:
        """Make room for buffers whose size depends on the training images, before a state is loaded."""

    def forget(self) -> None:
        """Drop what was remembered of images, so that the next ones are computed."""

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of a batch."""
        raise AssertionError("every network defines its loss")

    def param_groups(self, *, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """AdamW groups: `lr_scale` falls by `layer_decay` a layer in the backbone and is 1 elsewhere.

        Biases, norms, position tables and other vectors have no weight decay.
        """
        groups = []
        if self.backbone is not None and layer_decay < 1 and next(self.backbone.parameters()).requires_grad:
            skip = {n for n, _ in self.backbone.named_parameters() if n.endswith(tuple(self.undecayed))}
            groups = param_groups_layer_decay(self.backbone, weight_decay, skip, layer_decay=layer_decay)
        taken = {id(p) for group in groups for p in group["params"]}
        rest = [(n, p) for n, p in self.named_parameters() if id(p) not in taken and p.requires_grad]
        plain = [p for n, p in rest if p.ndim < 2 or n.endswith(tuple(self.undecayed))]
        taken |= {id(p) for p in plain}
        decayed = [p for _, p in rest if id(p) not in taken]
        own = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        return [*groups, *(group for group in own if group["params"])]


class Classifier(Network):
    """A timm model with its own pooling and a linear head."""

    def __init__(self, backbone: Any, objective: nn.Module) -> None:
        super().__init__()
        self.backbone, self.objective = backbone, objective

    @property
    def encoder(self) -> nn.Module:
        """The timm model, of which `heads` are the task's."""
        return self.backbone  # type: ignore[no-any-return]

    def heads(self) -> Sequence[nn.Module]:
        """The linear head; distilled models have two."""
        heads = self.backbone.get_classifier()
        return heads if isinstance(heads, tuple) else (heads,)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, C) logits."""
        logits: Tensor = self.backbone(images)
        return logits

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """The recipe's loss against (B,) labels."""
        loss: Tensor = self.objective(self(images).float(), targets)
        return loss


class UNet(Network):
    """smp's U-Net; binary cross-entropy plus Dice loss."""

    def __init__(self, encoder: str, weights: str | None, n_outputs: int = 1) -> None:
        super().__init__()
        self.backbone = None
        self.unet = smp.Unet(encoder, encoder_weights=weights, classes=n_outputs)
        self.dice = smp.losses.DiceLoss("multilabel", from_logits=True)  # the mean over structures

    @property
    def encoder(self) -> nn.Module:
        """Smp's encoder."""
        return self.unet.encoder  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, K, S, S) logits of lesion, or of each structure."""
        logits: Tensor = self.unet(images)
        return logits

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """BCE + Dice against (B, K, S, S) masks."""
        logits = self(images).float()
        return F.binary_cross_entropy_with_logits(logits, targets) + self.dice(logits, targets)  # type: ignore[no-any-return]


class UPerNet(Network):
    """Backbone features at strides 4 to 32 and smp's UPerNet decoder, with an auxiliary FCN head; cross-entropy."""

    def __init__(
        self, features: nn.Module, pyramid: nn.Module, channels: list[int], backbone: Any, n_outputs: int = 1
    ) -> None:
        super().__init__()
        self.features, self.pyramid, self.backbone = features, pyramid, backbone
        # 768 as published for the base size; small backbones get a narrow decoder, or it would cost most of the time.
        width = 768 if channels[-1] >= 768 else max(64, channels[-1] // 3)
        self.decoder = UPerNetDecoder([0, 0, *channels], encoder_depth=5, decoder_channels=width)
        self.head = nn.Conv2d(width, n_outputs, 1)
        auxiliary = channels[_AUXILIARY_MAP]
        self.auxiliary = nn.Sequential(
            nn.Conv2d(auxiliary, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, n_outputs, 1),
        )

    @property
    def encoder(self) -> nn.Module:
        """What gives the maps."""
        return self.features

    def _logits(self, images: Tensor) -> Iterator[Tensor]:
        maps = self.pyramid(self.features(images))
        # The decoder drops the first two maps (strides 1 and 2) and changes the list that it is given.
        yield self.head(self.decoder([images, None, *maps]))
        yield self.auxiliary(maps[_AUXILIARY_MAP])

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, K, S, S) logits of lesion, or of each structure."""
        return resized(next(self._logits(images)), images)

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy + 0.4 x that of the auxiliary head, the published recipe."""
        main, auxiliary = (
            F.binary_cross_entropy_with_logits(resized(logits, images).float(), targets)
            for logits in self._logits(images)
        )
        return main + _AUXILIARY_WEIGHT * auxiliary


class SegViT(Network):
    """A plain transformer with SegViT's decoder."""

    def __init__(
        self, features: nn.Module, taps: nn.Module, channels: list[int], backbone: Any, n_outputs: int = 1
    ) -> None:
        super().__init__()
        self.features, self.taps, self.backbone = features, taps, backbone
        self.decoder = SegViTDecoder(channels, n_outputs)

    @property
    def encoder(self) -> nn.Module:
        """What gives the maps."""
        return self.features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, K, S, S) log-odds of lesion against background, or of each structure."""
        classes, masks = self.decoder(self.taps(self.features(images)))[-1]
        return lesion_log_odds(classes.float(), masks.float(), images.shape[-1])

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """SegViT's loss over all stages."""
        return segvit_loss(self.decoder(self.taps(self.features(images))), targets)


def resized(logits: Tensor, images: Tensor) -> Tensor:
    """Logits on the images' grid, by straight lines."""
    return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)
