"""Weights against unbalanced classes. The losses themselves belong to the models' heads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from usfm_bench.config import TrainingSpec
from usfm_bench.data.dataset import Dataset


def class_weights(train: Dataset, spec: TrainingSpec) -> Tensor | None:
    """(C,) cross-entropy weights n / (C * n_class) from the training labels; None where the recipe has none."""
    if spec.class_weights == "none":
        return None
    counts = np.bincount(train.labels, minlength=len(train.classes))
    return torch.tensor(len(train) / (len(train.classes) * np.maximum(counts, 1)), dtype=torch.float32)
