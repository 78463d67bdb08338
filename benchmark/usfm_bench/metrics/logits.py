"""From logits to probabilities and to log-odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """(N, C) logits -> (N, C) probabilities, the softmax of logits / temperature."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    odds = np.exp(shifted / temperature)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def log_odds(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., C) logits -> (..., C) log-odds of each class against the rest, log p - log(1 - p).

    Probabilities near 1 are all the same number, their log-odds are not. Of two classes one's are the other's negated.
    """
    scores = logits.astype(np.float64)
    return np.stack([_against_others(scores, k) for k in range(scores.shape[-1])], axis=-1)


def _against_others(scores: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    # In order, so that which class comes first cannot change the last digit of a sum.
    others = np.sort(np.delete(scores, k, axis=-1), axis=-1)
    if not others.shape[-1]:
        return np.full(scores.shape[:-1], CERTAIN)
    highest = others[..., -1:]
    return np.asarray(scores[..., k] - highest[..., 0] - np.log1p(np.exp(others[..., :-1] - highest).sum(axis=-1)))


CERTAIN = 1e6
"""Log-odds of what is certain: beyond those of any other 64-bit probability, and finite, as scikit-learn asks."""
_NEAR_ONE = 0.999


def log_odds_of(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """(..., C) probabilities -> (..., C) log-odds of each class against the rest.

    Where p is near 1, the sum of the other probabilities has the digits that 1 - p has lost. Elsewhere 1 - p keeps
    equal probabilities equal, whatever the last digits of such a sum.
    """
    shares = np.clip(np.asarray(probabilities, dtype=np.float64), 0, 1)
    n_classes = shares.shape[-1]
    others = [np.sort(np.delete(shares, k, axis=-1), axis=-1).sum(axis=-1) for k in range(n_classes)]
    rest = np.where((shares > _NEAR_ONE) | (n_classes == 2), np.stack(others, axis=-1), 1 - shares)
    with np.errstate(divide="ignore"):
        return np.asarray(np.clip(np.log(shares) - np.log(rest), -CERTAIN, CERTAIN))
