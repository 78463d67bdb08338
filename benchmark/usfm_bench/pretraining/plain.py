"""Networks of the methods on plain vision transformers; masking, decoders and heads are lightly's."""

from __future__ import annotations

import copy
from typing import Any

import timm
import torch
from lightly.loss import DINOLoss, NTXentLoss
from lightly.models.modules import (
    DINOProjectionHead,
    MaskedVisionTransformerDecoderTIMM,
    MaskedVisionTransformerTIMM,
    MoCoProjectionHead,
    SimCLRProjectionHead,
)
from lightly.models.utils import get_at_index, patchify, repeat_token, set_at_index, update_momentum
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.core.errors import unknown
from usfm_bench.data.transforms import Normalise
from usfm_bench.pretraining.plain_images import PLAIN, MaskedPatches, PlainSpec
from usfm_bench.pretraining.shares import own_places, whole_batch, world
from usfm_bench.specs.family import IMAGENET

_EPS = 1e-6  # of the variance of a patch, as MAE's


def plain_encoder(spec: PlainSpec) -> Any:
    """A vision transformer with random weights and positions of sines and cosines, without a classifier.

    Raises:
        BenchError: no such encoder; the nearest is suggested.
    """
    if spec.model not in PLAIN:
        raise unknown("encoder", spec.model, PLAIN)
    settings = {"img_size": spec.image_size, "num_classes": 0, "drop_path_rate": spec.drop_path}
    return timm.create_model("vit_base_patch16_224", **PLAIN[spec.model], **settings)


class _OfPatches(nn.Module):
    """An encoder of tokens, of which some are masked."""

    def __init__(self, spec: PlainSpec) -> None:
        super().__init__()
        self.masked = MaskedVisionTransformerTIMM(plain_encoder(spec))
        self.normalise = Normalise(*IMAGENET)
        self.patch = PLAIN[spec.model]["patch_size"]

    @property
    def vit(self) -> Any:
        """The encoder."""
        return self.masked.vit

    def patches(self, images: Tensor, places: Tensor) -> Tensor:
        """(B, M, pixels) grey levels at some of the patches."""
        found: Tensor = get_at_index(patchify(images, self.patch), places)
        return found


class MaskedEncoder(_OfPatches):
    """MAE: the encoder sees visible patches alone, a small decoder reconstructs the others."""

    def __init__(self, spec: PlainSpec, width: int, depth: int, *, normalised: bool) -> None:
        super().__init__(spec)
        self.masked.mask_token.requires_grad_(False)  # the encoder never sees one
        tokens, dim = (spec.image_size // self.patch) ** 2, self.vit.embed_dim
        self.embed = nn.Linear(dim, width)
        self.decoder = MaskedVisionTransformerDecoderTIMM(tokens, width, depth, max(1, width // 32))
        self.predict = nn.Linear(width, self.patch**2)
        self.normalised = normalised

    def forward(self, views: MaskedPatches, shown: Tensor | None = None) -> Tensor:
        """Mean squared error of masked patches; `shown`: what the encoder sees instead of the images."""
        images = views.images
        first = torch.zeros_like(views.kept[:, :1])
        kept = torch.cat([first, views.kept + 1], dim=1)  # the class token in front
        seen = self.embed(self.masked.encode(self.normalise(images if shown is None else shown), idx_keep=kept))
        tokens = repeat_token(self.decoder.mask_token, (len(images), self.decoder.sequence_length)).to(seen.dtype)
        tokens = self.decoder.decode(self.decoder.add_pos_embed(set_at_index(tokens, kept, seen)))
        target = self.patches(images, views.masked)
        if self.normalised:
            target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + _EPS) ** 0.5
        return F.mse_loss(self.predict(get_at_index(tokens, views.masked + 1)).float(), target)


class MaskedTokens(_OfPatches):
    """SimMIM: the encoder sees a mask token in the place of masked patches, a linear layer reconstructs them."""

    def __init__(self, spec: PlainSpec) -> None:
        super().__init__(spec)
        self.predict = nn.Linear(self.vit.embed_dim, self.patch**2)

    def forward(self, views: MaskedPatches) -> Tensor:
        """Mean absolute error of masked patches."""
        tokens = self.masked.encode(self.normalise(views.images), idx_mask=views.masked + 1)
        found = self.predict(get_at_index(tokens, views.masked + 1)).float()
        return F.l1_loss(found, self.patches(views.images, views.masked))


class _Vectors(nn.Module):
    """An encoder's class token."""

    def __init__(self, spec: PlainSpec) -> None:
        super().__init__()
        self.vit, self.normalise = plain_encoder(spec), Normalise(*IMAGENET)

    def forward(self, images: Tensor) -> Tensor:
        token: Tensor = self.vit.forward_features(self.normalise(images))[:, 0]
        return token


class SimClrNetwork(nn.Module):
    """SimCLR: the class token and a head of two layers; NT-Xent loss over all processes."""

    def __init__(self, spec: PlainSpec, width: int, temperature: float) -> None:
        super().__init__()
        self.online = _Vectors(spec)
        dim = self.vit.embed_dim
        self.head = SimCLRProjectionHead(dim, width, 128)
        self.criterion = NTXentLoss(temperature, gather_distributed=world() > 1)

    @property
    def vit(self) -> Any:
        """The encoder."""
        return self.online.vit

    def forward(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of two views of each image."""
        both = self.head(self.online(torch.cat(views))).float()
        loss: Tensor = self.criterion(*both.chunk(2))
        return loss


class MoCoV3Network(nn.Module):
    """MoCo v3: a momentum encoder gives the keys, a predictor stands on the queries, and there is no queue."""

    def __init__(self, spec: PlainSpec, width: int, temperature: float) -> None:
        super().__init__()
        vectors = _Vectors(spec)
        # As published, the projection of the patches is not trained, which keeps the training steady.
        vectors.vit.patch_embed.requires_grad_(False)
        self.online = nn.Sequential(vectors, MoCoProjectionHead(vectors.vit.embed_dim, width, 256, 3, batch_norm=True))
        self.predictor = MoCoProjectionHead(256, width, 256, 2, batch_norm=True)
        self.momentum = copy.deepcopy(self.online).requires_grad_(False)
        self.temperature = temperature

    @property
    def vit(self) -> Any:
        """The encoder that is trained."""
        return self.online[0].vit

    def forward(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of two views of each image, each once as query and once as key."""
        queries = self.predictor(self.online(torch.cat(views))).float().chunk(2)
        with torch.no_grad():
            keys = self.momentum(torch.cat(views)).float().chunk(2)
        return self._contrast(queries[0], keys[1]) + self._contrast(queries[1], keys[0])

    def _contrast(self, query: Tensor, key: Tensor) -> Tensor:
        """2 t times the cross-entropy of each query's own key among those of all processes, as published."""
        logits = F.normalize(query, dim=1) @ whole_batch(F.normalize(key, dim=1)).T / self.temperature
        return 2 * self.temperature * F.cross_entropy(logits, own_places(len(logits), logits.device))

    def follow(self, momentum: float) -> None:
        """Move the momentum encoder towards the trained one."""
        update_momentum(self.online, self.momentum, momentum)


class DinoNetwork(nn.Module):
    """DINO: the class token and a head of three layers, twice; the teacher's have no gradient."""

    def __init__(self, spec: PlainSpec, width: int, outputs: int, temperature: float, teachers: float) -> None:
        super().__init__()
        self.online, self.slow = _Vectors(spec), _Vectors(spec)
        # Made twice and then made equal: torch cannot copy a layer with a weight norm.
        self.head, self.slow_head = (
            DINOProjectionHead(self.vit.embed_dim, width, width // 2, outputs) for _ in range(2)
        )
        for student, teacher in ((self.online, self.slow), (self.head, self.slow_head)):
            teacher.load_state_dict(student.state_dict())
            teacher.requires_grad_(False)
        self.criterion = DINOLoss(outputs, teacher_temp=teachers, student_temp=temperature)

    @property
    def vit(self) -> Any:
        """The encoder that is trained."""
        return self.online.vit

    def forward(self, views: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of two views of each image, each once by the student and once by the teacher."""
        both = torch.cat(views)
        said = self.head(self.online(both)).float().chunk(2)
        with torch.no_grad():
            wanted = self.slow_head(self.slow(both)).float().chunk(2)
        with torch.autocast(both.device.type, enabled=False):  # sums over all outputs are in float32
            loss: Tensor = self.criterion(list(wanted), list(said))
        return loss

    def follow(self, momentum: float) -> None:
        """Move the teacher towards the student."""
        update_momentum(self.online, self.slow, momentum)
        update_momentum(self.head, self.slow_head, momentum)
