"""Whether probabilities mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 15  # as Guo et al. (2017)
_NORMAL_FROM = 25.0


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


def chance_calibration_error(probabilities: Floats) -> float:
    """The ECE to expect of (N, C) probabilities that mean what they say, since so few cases have any ECE by chance.

    Each predicted class is right with its own probability: the number of right ones in a bin is Poisson binomial. Bins
    with a variance of 25 or more are taken as normal, which is off by less than 1 %.

    >>> round(chance_calibration_error(np.array([[0.9, 0.1], [0.4, 0.6]])), 4)  # (2 * 0.9 * 0.1 + 2 * 0.6 * 0.4) / 2
    0.33
    """
    confidences, bins = probabilities.max(axis=1), confidence_bins(probabilities)
    gaps = [_expected_gap(confidences[bins == k]) for k in np.unique(bins)]
    return float(sum(gaps) / len(probabilities))


def _expected_gap(confidences: Floats) -> float:
    """Mean distance of the number of right ones from the sum of (M,) probabilities of being right."""
    variance = float((confidences * (1 - confidences)).sum())
    if variance >= _NORMAL_FROM:
        return float((2 * variance / np.pi) ** 0.5)
    right = np.zeros(len(confidences) + 1)  # probability of each number
    right[0] = 1.0
    for confidence in confidences:
        right[1:] = right[1:] * (1 - confidence) + right[:-1] * confidence
        right[0] *= 1 - confidence
    return float((right * np.abs(np.arange(len(right)) - confidences.sum())).sum())


def without_chance(error: float, chance: float) -> float:
    """ECE without what chance adds to it: sqrt(ECE^2 - chance^2), 0 where chance is more.

    >>> round(without_chance(0.10, 0.08), 3)
    0.06
    """
    return float(max(0.0, error**2 - chance**2) ** 0.5)
