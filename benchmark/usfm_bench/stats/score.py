"""Score intervals: the truths from which a metric is no further than a quantile of its spread there.

A metric's spread depends on its truth and is nothing at 0 and 1, so a spread found at the estimate is too small where
the estimate is near an end, and there is none at the end itself. Wilson (1927, doi:10.1080/01621459.1927.10502953)
takes the spread at each truth instead. Here its shape is known (`RateNoise`, `AreaNoise`), and its size is what the
data show: the design effect of Korn and Graubard (1998).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri

from usfm_bench.metrics.definitions import Definition

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_FEW = 3.0
_NONE = 1e-12  # of a spread relative to the range: rounding


class Noise(Protocol):
    """How one seed's metric, between 0 and 1, varies with the choice of the cases."""

    def variance(self, truth: float) -> float:
        """At a truth."""

    def ends(self, point: float, times: float, alpha: float) -> tuple[float, float]:
        """The least and the largest truth t with (t - point)^2 <= times * variance(t), at 1 - alpha."""


@dataclass(frozen=True)
class RateNoise:
    """Of a proportion, or of a metric that varies as one."""

    size: float
    """Cases."""

    def variance(self, truth: float) -> float:
        """Of a proportion: t (1 - t) / size."""
        return truth * (1 - truth) / self.size

    def ends(self, point: float, times: float, alpha: float) -> tuple[float, float]:
        """In closed form, as Wilson has them, but for one to three failures, or successes.

        Of so few Wilson's far end is too near: of 60 cases and a truth of 99.8 % it covers 88 %. It is that of Poisson
        then: Brown, Cai and DasGupta (2001), doi:10.1214/ss/1009213286, their modified Wilson interval.
        """
        ratio = times / self.size
        centre = (point + ratio / 2) / (1 + ratio)
        half = (point * (1 - point) * ratio + ratio**2 / 4) ** 0.5 / (1 + ratio)
        cases = float(ndtri(1 - alpha / 2)) ** 2 / ratio
        far = [float(gammaincinv(cases * rate, alpha)) / cases for rate in (point, 1 - point)]
        few = [0 < cases * rate <= _FEW and rate < 0.5 for rate in (point, 1 - point)]
        low = min(centre - half, far[0]) if few[0] else centre - half
        high = max(centre + half, 1 - far[1]) if few[1] else centre + half
        return max(0.0, low), min(1.0, high)


@dataclass(frozen=True)
class AreaNoise:
    """Of a weighted mean of areas under ROC curves: Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.

    Newcombe (2006, doi:10.1002/sim.2324) makes score intervals of it.
    """

    areas: tuple[tuple[float, float, float], ...]
    """Cases of a class, all other cases, and the weight of its area; weights sum to 1."""

    def variance(self, truth: float) -> float:
        """The same area is assumed for all classes."""
        apart = truth * (1 - truth)
        positive, negative = truth / (2 - truth) - truth**2, 2 * truth**2 / (1 + truth) - truth**2
        return sum(w**2 * (apart + (m - 1) * positive + (n - 1) * negative) / (m * n) for m, n, w in self.areas)

    def ends(self, point: float, times: float, alpha: float) -> tuple[float, float]:
        """By bisection and secants."""
        from scipy.optimize import brentq

        def beyond(truth: float) -> float:
            return (truth - point) ** 2 - times * self.variance(truth)

        near, digits = 1e-9, {"xtol": 1e-10}
        low = brentq(beyond, 0.0, point - near, **digits) if point > near and beyond(point - near) < 0 else point
        high = brentq(beyond, point + near, 1.0, **digits) if point < 1 - near and beyond(point + near) < 0 else point
        return float(low), float(high)


def score_ends(
    point: float, variance: float, quantile: float, noise: Noise, n_seeds: int, level: float = 0.95
) -> tuple[float, float]:
    """Low and high end of the interval of a metric between 0 and 1.

    The variance at the point is a multiple of the noise there, and is the same multiple everywhere. It is at least
    1 / S of the noise, as if seeds erred apart. Where nothing varies, or the point is 0 or 1, it is the noise itself.

    Args:
        point: mean over seeds.
        variance: of the point, over seeds and cases.
        quantile: of its deviation in standard errors.
        noise: of one seed.
        n_seeds: S.
        level: nominal coverage, where nothing varies.
    """
    usual = noise.variance(point)
    if variance <= _NONE**2 or usual <= _NONE**2:
        return noise.ends(point, float(ndtri((1 + level) / 2)) ** 2, 1 - level)
    return noise.ends(point, quantile**2 * max(variance / usual, 1 / n_seeds), 1 - level)


def noise_of(
    definition: Definition, probabilities: Floats, labels: Ints, groups: Ints, only: int | None
) -> Noise | None:
    """How a classification metric varies with the choice of the cases.

    SEN, F1 and AUPRC of a class vary as a proportion of its cases, SPEC of all others, PREC of those that are called
    so (their mean over seeds, and at least one); ACC, MCC and KAPPA of all. A mean over classes has the harmonic mean
    of their numbers. Where cases form groups, groups that have such a case are counted.

    Args:
        definition: of the metric.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) numbers.
        only: the class of a metric of one class.

    Returns:
        None for what is no rate and has a closed form, as ECE, and where no seed calls any case as a precision needs.
    """
    name, averaging, only = as_ours(definition, probabilities.shape[2], only)
    if name in ("ACC", "MCC", "KAPPA"):
        return RateNoise(_n_groups(groups, np.ones(len(labels), bool)))
    if name not in ("SEN", "SPEC", "PREC", "F1", "BACC", "AUROC", "AUPRC"):
        # Of a metric from a plug-in only the range is known: it is taken for a proportion of all cases.
        return None if definition.compute is None else RateNoise(_n_groups(groups, np.ones(len(labels), bool)))
    classes = [k for k in range(probabilities.shape[2]) if (labels == k).any()] if only is None else [only]
    own = np.array([_n_groups(groups, labels == k) for k in classes])
    others = np.array([_n_groups(groups, labels != k) for k in classes])
    if not own.all() or not others.all():
        return None
    shares = np.array([(labels == k).mean() for k in classes])
    weights = shares if averaging == "weighted" else np.full(len(classes), 1 / len(classes))
    sizes = own
    if name == "AUROC":
        return AreaNoise(tuple(zip(own.tolist(), others.tolist(), weights.tolist(), strict=True)))
    if name == "SPEC":
        sizes = others
    elif name == "BACC" and only is not None:
        sizes = 4 / (1 / own + 1 / others)
    elif name == "PREC":
        called = np.array([[_n_groups(groups, said == k) for k in classes] for said in probabilities.argmax(axis=2)])
        if not called.any():
            return None
        sizes = np.maximum(called.mean(axis=0), 1)
    return RateNoise(float(1 / (weights**2 / sizes).sum()))


def as_ours(definition: Definition, n_classes: int, only: int | None) -> tuple[str, str, int | None]:
    """Name, averaging and class of a metric; of an emulated one those of ours that it is like."""
    if definition.compute is None:
        return definition.name, definition.averaging, only
    if definition.id == "usfm-repo/cls.acc@1":  # prints balanced accuracy as accuracy
        return "BACC", "", None
    second = n_classes == 2 and definition.name not in ("ACC", "BACC", "MCC")
    return definition.name, "macro", 1 if second else None


def _n_groups(groups: Ints, cases: NDArray[np.bool_]) -> float:
    return float(np.count_nonzero(np.bincount(groups[cases])))
