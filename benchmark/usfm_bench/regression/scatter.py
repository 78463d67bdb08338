"""Whether the trainings of a new run scatter as much as those of the baseline, over all models of a check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, polygamma

from usfm_bench.regression.match import Matched
from usfm_bench.stats.contributions import Contributions

Floats = NDArray[np.float64]
_ALPHA = 0.05
ROUNDING = 1e-9
"""Another machine may add in another order."""


def same_scores(old: Contributions, new: Contributions) -> bool:
    """Whether all scores are equal, to rounding."""
    return np.allclose(old.values, new.values, rtol=ROUNDING, atol=ROUNDING)


class Scatter(NamedTuple):
    """The spread between trainings of the new run, by that of the baseline."""

    log_ratio: float
    """Logarithm of the ratio of the variances: its mean over models and data sets; 0 where nothing is known of it."""
    error: float
    """Its standard error where trainings scatter as before; 0 where nothing is known."""

    @property
    def n_sets(self) -> float:
        """Sets of seeds that show the variance of a drop as well: (1 + r)^2 / (1 + r^2), by Welch (1947).

        It is 2 where both runs scatter alike, and near 1 where one of them scatters much more. The ratio of one metric
        at three seeds is known so badly that Welch's degrees of freedom would cost up to a third of the power. So r is
        of all models together, since a change of code or settings changes how all of them scatter, and its logarithm
        is shrunk by what chance explains: the positive-part estimate of James and Stein (1961).
        """
        if not self.error:
            return 2.0
        chance = min(1.0, (self.error / self.log_ratio) ** 2) if self.log_ratio else 1.0
        ratio = float(np.exp(self.log_ratio * (1 - chance)))
        return (1 + ratio) ** 2 / (1 + ratio**2)

    @property
    def p_value(self) -> float:
        """Two-sided, of "trainings scatter as before"."""
        return float(2 * ndtr(-abs(self.log_ratio) / self.error)) if self.error else 1.0

    @property
    def remark(self) -> str:
        """A warning where trainings scatter otherwise than before; else empty."""
        if self.p_value > _ALPHA:
            return ""
        times = float(np.exp(self.log_ratio / 2))
        return (
            f"the trainings of this run scatter {times:.2g} times as much as the baseline's (p {self.p_value:.2g}, "
            "over all models together): look for what changed in training; the tests of drops allow for it"
        )


def scatter_of(pairs: Sequence[Matched]) -> Scatter:
    """Of all models whose seeds are other trainings than the baseline's, and of which there are two or more.

    With no change log(s_new^2 / s_old^2) of S seeds has mean 0 and twice the variance trigamma((S - 1) / 2) of the
    logarithm of a chi-square. Metrics of one model are of the same networks and count once.
    """
    found = [(logs, len(pair.entry.seeds)) for pair in pairs if (logs := list(_logarithms(pair)))]
    if not found:
        return Scatter(0.0, 0.0)
    variance = sum(2 * float(polygamma(1, (n_seeds - 1) / 2)) for _, n_seeds in found) / len(found) ** 2
    return Scatter(float(np.mean([np.mean(logs) for logs, _ in found])), variance**0.5)


def _logarithms(pair: Matched) -> Iterator[float]:
    """Of the ratio of variances between seeds, by metric; none where scores are the same, or one shows no spread."""
    if pair.same_networks:
        return
    for metric in pair.entry.metrics:
        old, new = metric.contributions, pair.scores.metrics[metric.definition]
        if old is None or new is None or len(old.values) < 2 or same_scores(old, new):
            continue
        before, after = _between(old.values), _between(new.values)
        if before > 0 and after > 0:
            yield float(np.log(after / before))


def _between(values: Floats) -> float:
    """Variance of the means of (S, U) values; 0 where it is rounding."""
    variance = float(values.mean(axis=1).var(ddof=1))
    return variance if variance > (ROUNDING * float(np.abs(values).max())) ** 2 else 0.0
