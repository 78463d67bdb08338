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
    """Logits and labels of the test cases, and of the validation cases that decisions are tuned on."""

    case_ids: tuple[str, ...]
    logits: NDArray[np.float32]
    """(N, C)."""
    labels: NDArray[np.int64]
    """(N,) indices into classes."""
    classes: tuple[str, ...]
    val_logits: NDArray[np.float32] | None = None
    """(M, C) of the validation cases; None in files of earlier versions."""
    val_labels: NDArray[np.int64] | None = None
    """(M,) indices into classes."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C) softmax of the logits."""
        return softmax(self.logits)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """(N, C) logits -> (N, C) probabilities, the softmax of logits / temperature."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    odds = np.exp(shifted / temperature)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


Predictions = SegmentationPredictions | ClassificationPredictions
