"""Whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    return chance_calibration_errors(probabilities[None])[0]


def chance_calibration_errors(probabilities: Floats) -> list[float]:
    """The same of each seed, from (S, N, C)."""
    in_bins = [
        [confidences[bins == k] for k in np.unique(bins)]
        for confidences, bins in ((of_seed.max(axis=1), confidence_bins(of_seed)) for of_seed in probabilities)
    ]
    gaps = iter(_expected_gaps([confidences for of_seed in in_bins for confidences in of_seed]))
    return [float(sum(next(gaps) for _ in of_seed) / probabilities.shape[1]) for of_seed in in_bins]


def _expected_gaps(bins: Sequence[Floats]) -> list[float]:
    """Of each bin's (M,) probabilities of being right: mean distance of the number of right ones from their sum."""
    variances = [float((confidences * (1 - confidences)).sum()) for confidences in bins]
    exact = [i for i, variance in enumerate(variances) if variance < _NORMAL_FROM]
    gaps = [float((2 * variance / np.pi) ** 0.5) for variance in variances]
    for i, right in zip(exact, _numbers_right([bins[i] for i in exact]), strict=True):
        gaps[i] = float((right * np.abs(np.arange(len(right)) - bins[i].sum())).sum())
    return gaps


def _numbers_right(bins: Sequence[Floats]) -> Iterator[Floats]:
    """Of each bin's (M,) probabilities of being right, (1 + M,) the probability of each number of right ones."""
    # A case more that is never right changes no probability: all bins are as long as the longest.
    padded = np.zeros((len(bins), max(map(len, bins), default=0)))
    for confidences, row in zip(bins, padded, strict=True):
        row[: len(confidences)] = confidences
    right = np.zeros((len(bins), padded.shape[1] + 1))
    right[:, 0] = 1.0
    for confidence in padded.T[:, :, None]:
        right[:, 1:] = right[:, 1:] * (1 - confidence) + right[:, :-1] * confidence
        right[:, :1] *= 1 - confidence
    for confidences, of_bin in zip(bins, right, strict=True):
        yield of_bin[: len(confidences) + 1]


def without_chance(error: float, chance: float) -> float:
    """ECE without what chance adds to it: sqrt(ECE^2 - chance^2), 0 where chance is more.

    >>> round(without_chance(0.10, 0.08), 3)
    0.06
    """
    return float(max(0.0, error**2 - chance**2) ** 0.5)
