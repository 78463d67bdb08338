"""Probes of an encoder that is not trained: a linear classifier, nearest neighbours, a convolution on the last maps."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.models.features import Standardised
from usfm_bench.models.networks import Network, resized

Kind = Literal["linear", "knn"]


class Known(Protocol):
    """Features that an encoder has given before."""

    def of(self, probe: Probe, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D) on the same device; what is not known is computed."""

    def keep(self) -> None:
        """Write what is new to where other processes find it."""


class Probe(Network):
    """What images are to an encoder, and what is read off that; `training.probe` fits it, no step is taken.

    Features of an image: what the encoder gives to a classifier, and where it has tokens and a class token also that
    token, the mean of the patches, and both. Validation chooses between them.
    """

    def __init__(self, model: Any, kind: Kind, n_outputs: int, size: int) -> None:
        super().__init__()
        self.features, self.backbone, self.kind, self.n_outputs = model.eval(), None, kind, n_outputs
        with torch.no_grad():
            widths = [part.shape[1] for part in self._parts(torch.zeros(1, 3, size, size))]
        ends = torch.tensor(widths).cumsum(0).tolist()
        places = [torch.arange(end - width, end) for width, end in zip(widths, ends, strict=True)]
        self.choices = [*places, *([torch.cat(places[1:])] if len(places) > 1 else [])]
        """Columns of `vectors` that a probe may use."""
        self.head = nn.Linear(ends[-1], n_outputs) if kind == "linear" else None
        self.known: Known | None = None
        """Gives `vectors` of images without asking the encoder twice; None: it is asked."""
        self.register_buffer("memory", torch.zeros(0, ends[-1]))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("neighbours", torch.ones((), dtype=torch.int64))

    memory: Tensor
    """(N, D) features of the training images of length 1; 0 where they are not used."""
    labels: Tensor
    """(N,) of the training images."""
    neighbours: Tensor
    """() how many vote."""

    @property
    def encoder(self) -> nn.Module:
        """The timm model."""
        return self.features  # type: ignore[no-any-return]  # timm's models have no types

    def forget(self) -> None:
        """Ask the encoder from now on; what it said so far is kept for other probes."""
        if self.known is not None:
            self.known.keep()
        self.known = None

    def expect(self, state: dict[str, Tensor]) -> None:
        """The size of the memory depends on the training images."""
        for name in ("memory", "labels"):
            if name in state:
                setattr(self, name, torch.zeros_like(state[name]))

    def _parts(self, images: Tensor) -> list[Tensor]:
        tokens = self.features.forward_features(images)
        parts = [self.features.forward_head(tokens, pre_logits=True)]
        # Some models give a list of tokens, a branch each.
        if isinstance(tokens, Tensor) and tokens.ndim == 3 and getattr(self.features, "cls_token", None) is not None:
            parts += [tokens[:, 0], tokens[:, getattr(self.features, "num_prefix_tokens", 1) :].mean(dim=1)]
        return parts

    def vectors(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, D) float32: all features side by side."""
        return torch.cat([part.float() for part in self._parts(images)], dim=1)

    def read(self, vectors: Tensor) -> Tensor:
        """(B, D) -> (B, C) logits; of neighbours the logarithm of their share, one more vote being spread evenly."""
        if self.head is not None:
            logits: Tensor = self.head(vectors)
            return logits
        near = (F.normalize(vectors * self._used(), dim=1) @ self.memory.T).topk(int(self.neighbours), dim=1).indices
        votes = F.one_hot(self.labels[near], self.n_outputs).sum(dim=1).float()
        return ((votes + 1 / self.n_outputs) / (self.neighbours + 1)).log()

    def _used(self) -> Tensor:
        """(D,) 1 where the memory has anything: the features that were chosen."""
        return (self.memory != 0).any(dim=0).float()

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, C) logits."""
        return self.read(self.vectors(images) if self.known is None else self.known.of(self, images))


class LinearMaps(Network):
    """Channels of the last map, standardised, and one 1 x 1 convolution: the linear probe of segmentation."""

    def __init__(self, features: nn.Module, channels: int, n_outputs: int) -> None:
        super().__init__()
        self.features, self.backbone = features, None
        self.taps, self.head = Standardised([channels]), nn.Conv2d(channels, n_outputs, 1)

    @property
    def encoder(self) -> nn.Module:
        """What gives the maps."""
        return self.features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, K, S, S) logits of lesion, or of each structure."""
        return resized(self.head(self.taps(self.features(images)[-1:])[0]), images)

    def loss(self, images: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of each pixel."""
        return F.binary_cross_entropy_with_logits(self(images).float(), targets)
