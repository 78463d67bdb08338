"""Whether probabilities mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 15  # as Guo et al. (2017)


def brier_scores(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """(N,) squared distances of (N, C) probabilities from the truth, in [0, 2]; their mean is the Brier score.

    Reference: Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.
    """
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(labels)), labels] = 1
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1))


def calibration_error(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Expected calibration error of the predicted class's probability, 15 equal bins, in [0, 1].

    Bins are open below and closed above; each weighs as many cases as it has.

    Reference: Guo et al. (2017), arXiv:1706.04599, Eq. (3).
    """
    gaps = np.bincount(confidence_bins(probabilities), weights=confidence_gaps(probabilities, labels), minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))


def confidence_bins(probabilities: Floats) -> NDArray[np.int64]:
    """(N,) bin of the predicted class's probability, 0 to 14."""
    return np.asarray(np.clip(np.ceil(probabilities.max(axis=1) * BINS) - 1, 0, BINS - 1), dtype=np.int64)


def confidence_gaps(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """(N,) probability of the predicted class, less 1 where it is right."""
    return np.asarray(probabilities.max(axis=1) - (probabilities.argmax(axis=1) == labels))
