"""What a model says of test cases, as it passes from training to scoring and storing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Mask, Spacing


@dataclass(frozen=True)
class SegmentationPredictions:
    """Predicted and reference masks of the test cases."""

    case_ids: tuple[str, ...]
    predictions: tuple[Mask, ...]
    """(H, W) each, at native size."""
    references: tuple[Mask, ...]
    """(H, W) each, at native size."""
    grid_predictions: NDArray[np.bool_]
    """(N, S, S), on the network's grid."""
    spacings: tuple[Spacing | None, ...]
    """In millimetres."""


@dataclass(frozen=True)
class ClassificationPredictions:
    """Logits and labels of the test cases."""

    case_ids: tuple[str, ...]
    logits: NDArray[np.float32]
    """(N, C)."""
    labels: NDArray[np.int64]
    """(N,) indices into classes."""
    classes: tuple[str, ...]

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C) softmax of the logits."""
        shifted = self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True)
        odds = np.exp(shifted)
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


Predictions = SegmentationPredictions | ClassificationPredictions
