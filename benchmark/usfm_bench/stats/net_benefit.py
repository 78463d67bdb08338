"""Net benefit of acting on a probability: Vickers and Elkin (2006), doi:10.1177/0272989X06295361."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def net_benefit(probabilities: Floats, positive: Bools, threshold: float) -> Floats:
    """What acting on "probability >= threshold" brings by case; the mean over cases is the net benefit.

    A positive case that is acted on counts 1, a negative one costs t / (1 - t), the odds at which somebody with the
    threshold t finds one harm worth one benefit. So the net benefit is TP / N - FP / N * t / (1 - t), in true positives
    a case. It is a mean over cases, with the intervals of such.

    >>> net_benefit(np.array([[0.9, 0.3, 0.4]]), np.array([True, True, False]), 0.25).round(4).tolist()
    [[1.0, 1.0, -0.3333]]

    Args:
        probabilities: (S, N) of the positive class.
        positive: (N,) the truth.
        threshold: t, above 0 and below 1.

    Returns:
        (S, N).
    """
    acted = probabilities >= threshold
    return np.asarray(acted * np.where(positive, 1.0, -threshold / (1 - threshold)))


def benefit_of_all(positive: Bools, threshold: float) -> Floats:
    """(N,) what acting on every case brings; acting on none brings 0."""
    return net_benefit(np.ones((1, len(positive))), positive, threshold).ravel()
