"""What classification minimises: cross-entropy or the focal loss, and what a recipe does against unbalanced classes."""

from __future__ import annotations

import numpy as np
import torch
from kornia.losses import focal_loss
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from usfm_bench.specs.training import TrainingSpec


class ClassificationLoss(nn.Module):
    """Mean loss of a batch, with z the (B, C) logits, y the labels and p_y the softmax probability of the label.

    With `logit_adjustment` tau, z stands for the logits plus tau log(prior), where prior is n_c / n of the training
    images: Menon et al. (2021), arXiv:2007.07314, Eq. (10). Validation and test see the logits alone, whose softmax is
    proportional to P(y | x) / prior^tau: for tau = 1 these are the probabilities where all classes are equally
    frequent, a balanced prior, and not those at the prior of the data.

    - `cross_entropy`: sum_i w_y CE(z, smoothed y) / sum_i w_y, as torch defines it.
    - `focal`: sum_i w_y (1 - p_y)^gamma (-log p_y) / sum_i w_y: Lin et al. (2017), arXiv:1708.02002, Eq. (5), with the
      class weights as alpha. With gamma = 0 it is the cross-entropy.

    The weights w are n / (C n_c) with `class_weights: balanced`, else 1. They too move the probabilities to a balanced
    prior, as does balanced sampling. A class without training images counts as one with a single image.

    Args:
        counts: (C,) training images of each class.
        spec: the recipe.
    """

    def __init__(self, counts: NDArray[np.int64], spec: TrainingSpec) -> None:
        super().__init__()
        self.spec = spec
        self.weights: Tensor | None
        self.adjustment: Tensor | None
        present = np.maximum(counts, 1)
        weights = counts.sum() / (len(counts) * present) if spec.class_weights == "balanced" else None
        adjustment = spec.logit_adjustment * np.log(present / counts.sum()) if spec.logit_adjustment else None
        # Not in the state: the recipe and the training images say what they are.
        self.register_buffer("weights", _float32(weights), persistent=False)
        self.register_buffer("adjustment", _float32(adjustment), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, C) float32 logits and (B,) labels -> scalar."""
        weights, adjustment = self.weights, self.adjustment
        if adjustment is not None:
            logits = logits + adjustment
        if self.spec.loss == "cross_entropy":
            return F.cross_entropy(logits, targets, weight=weights, label_smoothing=self.spec.label_smoothing)
        # torchvision's and smp's focal losses are sums of binary ones; kornia's is over the softmax, as Eq. (5).
        total: Tensor = focal_loss(
            logits, targets, alpha=None, gamma=self.spec.focal_gamma, reduction="sum", weight=weights
        )
        return total / (len(targets) if weights is None else weights[targets].sum())


def _float32(values: NDArray[np.float64] | None) -> Tensor | None:
    return None if values is None else torch.tensor(values, dtype=torch.float32)
