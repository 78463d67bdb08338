"""What validation data chooses for classification: a temperature, and thresholds for decisions about one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.logits import log_odds, softmax

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
COLDEST, HOTTEST = 0.1, 10.0
"""Bounds of the temperature."""
SPECIFICITIES = {"spec90": 0.90, "spec95": 0.95}
"""Rules that fix the specificity on validation data."""
SENSITIVITIES = {"sens90": 0.90}
"""Rules that fix the sensitivity on validation data."""
RULES = (
    {"f1": "highest F1"}
    | {rule: f"specificity of {100 * level:.0f} %" for rule, level in SPECIFICITIES.items()}
    | {rule: f"sensitivity of {100 * level:.0f} %" for rule, level in SENSITIVITIES.items()}
)
"""Rules that choose a threshold, and what they choose it for."""


VERSION = 2


@dataclass(frozen=True)
class Tuned:
    """What the validation cases of one trial chose; test cases have no part in it."""

    temperature: float
    """Divides the logits."""
    n: int
    """Validation cases."""
    positive: str | None = None
    """The class that thresholds are for; None where the data set names none."""
    n_positive: int | None = None
    """Validation cases of that class."""
    thresholds: dict[str, float] = field(default_factory=dict)
    """Rule -> threshold on that class's log-odds, log p - log(1 - p); empty where there is none. Version 1: on p."""
    version: int = VERSION
    """Raised with the versions of the definitions, whenever the same logits would give another choice."""

    def probability(self, rule: str) -> float:
        """A rule's threshold as a probability."""
        from scipy.special import expit  # takes long to import, which commands without a report can do without

        return float(expit(self.thresholds[rule])) if self.version > 1 else self.thresholds[rule]


def choose(
    logits: NDArray[np.floating], labels: NDArray[np.int64], classes: Sequence[str], positive: str | None = None
) -> Tuned | None:
    """Temperature, and thresholds for a positive class.

    Args:
        logits: (M, C) of validation cases.
        labels: (M,) indices into `classes`.
        classes: (C,) names.
        positive: the class that decisions are about.

    Returns:
        None without a case, or where a logit is no finite number.
    """
    if not len(labels) or not np.isfinite(logits).all():
        return None
    temperature = fit_temperature(logits, labels)
    if positive is None:
        return Tuned(temperature, len(labels))
    k = classes.index(positive)
    scores, true = log_odds(logits)[:, k], labels == k
    found = (
        {"f1": threshold_for_f1(scores, true)}
        | {rule: threshold_for_specificity(scores, true, level) for rule, level in SPECIFICITIES.items()}
        | {rule: threshold_for_sensitivity(scores, true, level) for rule, level in SENSITIVITIES.items()}
    )
    thresholds = {rule: threshold for rule, threshold in found.items() if threshold is not None}
    return Tuned(temperature, len(labels), positive, int(true.sum()), thresholds)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature T for which softmax(logits / T) has the lowest negative log-likelihood, from 0.1 to 10.

    The likelihood is convex in 1/T, with the slope: mean over cases of the logit expected under softmax(logits / T),
    less that of the true class. Its one root is T; a root is found to the last bits, a minimum only to half of them.

    Args:
        logits: (M, C), finite.
        labels: (M,).

    Returns:
        0.1 where every case is right by a margin, or almost, since sharper is then always likelier; 10 where the
        logits say nothing of the truth, or the opposite.

    Reference: Guo et al. (2017), arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import brentq

    scores = logits.astype(np.float64)
    truth = scores[np.arange(len(labels)), labels].mean()

    def slope(log_t: float) -> float:
        return float((softmax(scores, np.exp(log_t)) * scores).sum(axis=1).mean() - truth)

    low, high = np.log(COLDEST), np.log(HOTTEST)
    if slope(low) <= 0:
        return COLDEST
    if slope(high) >= 0:
        return HOTTEST
    return float(np.exp(brentq(slope, low, high, xtol=1e-14)))


def threshold_for_f1(scores: Floats, positive: Bools) -> float | None:
    """The threshold t with the highest F1 of "positive when score >= t"; of several the highest.

    It is the score of a positive case, since any other cut has a false alarm more, or the same decisions.

    Args:
        scores: (M,) log-odds of the positive class, or its probabilities.
        positive: (M,) the truth.

    Returns:
        None where no case, or every case, is positive.
    """
    if positive.all() or not positive.any():
        return None
    cuts = np.unique(scores[positive])
    said = len(scores) - np.searchsorted(np.sort(scores), cuts)
    hit = positive.sum() - np.searchsorted(np.sort(scores[positive]), cuts)
    f1 = 2 * hit / (said + positive.sum())
    return float(cuts[np.flatnonzero(f1 == f1.max())[-1]])


def threshold_for_specificity(scores: Floats, positive: Bools, level: float) -> float | None:
    """The lowest threshold t for which "positive when score >= t" has a specificity of at least `level`.

    With n negative cases, floor(n (1 - level)) false alarms are allowed, and t stands just above the highest negative
    score that would be one more. Negative cases alone decide it.

    Args:
        scores: (M,) log-odds of the positive class, or its probabilities.
        positive: (M,) the truth.
        level: in (0, 1).

    Returns:
        None where no case, or every case, is positive. It can be above every score: then nothing is called positive.
    """
    if positive.all() or not positive.any():
        return None
    highest_first = np.sort(scores[~positive])[::-1]
    return float(np.nextafter(highest_first[_allowed(len(highest_first), level)], np.inf))


def threshold_for_sensitivity(scores: Floats, positive: Bools, level: float) -> float | None:
    """The highest threshold t for which "positive when score >= t" has a sensitivity of at least `level`.

    With n positive cases, floor(n (1 - level)) may be missed, and t is the score of the lowest that may not. Positive
    cases alone decide it.

    >>> threshold_for_sensitivity(np.arange(10.0), np.ones(10, bool) & (np.arange(10) > 0), 0.9)  # 9: none is missed
    1.0

    Args:
        scores: (M,) log-odds of the positive class, or its probabilities.
        positive: (M,) the truth.
        level: in (0, 1).

    Returns:
        None where no case, or every case, is positive.
    """
    if positive.all() or not positive.any():
        return None
    lowest_first = np.sort(scores[positive])
    return float(lowest_first[_allowed(len(lowest_first), level)])


def _allowed(n: int, level: float) -> int:
    """Errors among n cases that leave a rate of at least `level`."""
    return int(np.floor(round(n * (1 - level), 9)))  # 10 * (1 - 0.9) is a little below 1
