"""Discrete tokens of patches by k-means, and a network that predicts them."""

from __future__ import annotations

import torch
from lightly.models.utils import get_at_index, patchify
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.pretraining.plain import MaskedTokens
from usfm_bench.pretraining.plain_images import MaskedPatches, PlainSpec
from usfm_bench.pretraining.shares import whole_batch, world

_EPS = 1e-6  # of the variance of a patch, as MAE's


class Tokenizer(nn.Module):
    """Mini-batch k-means: centres are running means of the patches that were nearest to them.

    All of it is in buffers, and sums are over all processes, so that a training resumes with the same bits.

    Args:
        tokens: number of centres.
        pixels: of a patch.
    """

    centres: Tensor
    counts: Tensor

    def __init__(self, tokens: int, pixels: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(tokens, pixels))
        self.register_buffer("counts", torch.zeros(tokens))
        self._sums, self._found = torch.zeros(0), torch.zeros(0)

    @torch.no_grad()
    def forward(self, patches: Tensor) -> Tensor:
        """(B, T, pixels) grey levels -> (B, T) numbers of the nearest centres; remembers them for `follow`."""
        flat = patches.flatten(0, 1).float()
        flat = (flat - flat.mean(-1, keepdim=True)) / (flat.var(-1, keepdim=True) + _EPS) ** 0.5
        if not self.counts.any():
            self._start(whole_batch(flat.view(patches.shape)).flatten(0, 1))
        with torch.autocast(flat.device.type, enabled=False):
            nearest = torch.cdist(flat, self.centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
        sums = torch.zeros_like(self.centres).index_add_(0, nearest, flat)
        found = torch.bincount(nearest, minlength=len(self.centres)).to(sums)
        more = self._sums.shape == sums.shape  # a further micro-batch of the same step
        self._sums, self._found = (self._sums + sums, self._found + found) if more else (sums, found)
        return nearest.view(patches.shape[:2])

    def _start(self, flat: Tensor) -> None:
        """Centres are patches of the first micro-batch of all processes, evenly spaced; each counts once."""
        places = torch.linspace(0, len(flat) - 1, len(self.centres), device=flat.device).long()
        self.centres.copy_(flat[places])
        self.counts.fill_(1)

    def follow(self, *, trained: bool) -> None:
        """Move centres to the means of all patches so far, if it is trained; forget the step's patches."""
        sums, found = self._sums, self._found
        self._sums, self._found = torch.zeros(0), torch.zeros(0)
        if not trained:
            return
        if world() > 1:
            torch.distributed.all_reduce(sums)
            torch.distributed.all_reduce(found)
        self.counts.add_(found)
        self.centres.add_((sums - found[:, None] * self.centres) / self.counts[:, None])


class PredictedTokens(MaskedTokens):
    """BEiT: the encoder sees a mask token in the place of masked patches, a linear layer says which tokens they are."""

    def __init__(self, spec: PlainSpec, tokens: int) -> None:
        super().__init__(spec)
        self.predict = nn.Linear(self.vit.embed_dim, tokens)
        self.tokenizer = Tokenizer(tokens, self.patch**2)

    def forward(self, views: MaskedPatches) -> Tensor:
        """Cross-entropy of masked patches."""
        wanted = self.tokenizer(patchify(views.images, self.patch)).gather(1, views.masked)
        seen = self.masked.encode(self.normalise(views.images), idx_mask=views.masked + 1)
        found = self.predict(get_at_index(seen, views.masked + 1)).float()
        return F.cross_entropy(found.flatten(0, 1), wanted.flatten())
