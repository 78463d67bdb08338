"""Intervals of classification metrics, each by what it is: a mean over cases, a rate, an area, a calibration error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.labels import Labels
from usfm_bench.core.memo import remembered
from usfm_bench.metrics.calibration import brier_scores, chance_calibration_errors, without_chance
from usfm_bench.metrics.definitions import DEFINITIONS, Definition
from usfm_bench.stats.intervals import Interval, crossed_interval, share_interval
from usfm_bench.stats.jackknife import deleted, grouped, jackknife_interval, jackknife_spread, parts_of
from usfm_bench.stats.proportions import trials_of, wilson_interval
from usfm_bench.stats.score import RateNoise, as_ours, noise_of, score_ends

Floats = NDArray[np.float64]
ERROR, CHANCE, DEBIASED = "ece.top.15bins@1", "ece.top.15bins.chance@1", "ece.top.15bins.debiased@1"
_MEAN_SENSITIVITY = (("BACC", "", None), ("BACC", "macro", None), ("SEN", "macro", None))
_ROUNDING = 1e-12  # what is left of a spread of zero


def classification_interval(
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    groups: Labels | None = None,
    folds: Labels | None = None,
    repeats: Labels | None = None,
    only: int | None = None,
    level: float = 0.95,
) -> Interval:
    """Interval of a classification metric: ACC and BRIER as means over cases, all others by the jackknife.

    BRIER has its ends on the logarithmic scale, since few cases make up most of it (docs/intervals.md).

    Of BACC and macro SEN by what is known of each class (`balanced_interval`).

    Proportions (ACC; SEN, SPEC, PREC and ACC of one class) of a single seed: Wilson's.

    Args:
        definition: of the metric.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) deleted together.
        folds: (N,) as in `crossed_interval`.
        repeats: (N,) as in `deleted`.
        only: the class of a metric of one class, one against the rest.
        level: nominal coverage.
    """
    if len(probabilities) == 1:
        trials = trials_of(definition, probabilities[0].argmax(axis=1), labels, only)
        if trials is not None and trials[0].any():
            return _of_one_seed(*trials, groups, level)
    scores = case_scores(definition, probabilities, labels)
    if definition.id == "acc@1" and scores is not None:
        return share_interval(scores, groups=groups, folds=folds, level=level)
    if scores is not None:
        # BRIER: many cases near 0 and a few near 2.
        return crossed_interval(scores, groups=groups, folds=folds, level=level, bounds=definition.range, ratio=True)
    if definition.id in (CHANCE, DEBIASED):
        return calibration_interval(definition, probabilities, labels, groups=groups, repeats=repeats, level=level)
    values = deleted(definition, probabilities, labels, groups=groups, only=only, repeats=repeats)
    if as_ours(definition, probabilities.shape[2], only) in _MEAN_SENSITIVITY:
        return balanced_interval(values, probabilities, labels, groups=groups, repeats=repeats, level=level)
    numbers, first, sizes = grouped(groups, len(labels))
    noise = noise_of(definition, probabilities, labels, numbers, only)
    if noise is None:
        return Interval(float(values[:, 0].mean()), None, None)
    return jackknife_interval(
        *(values[:, 0], values[:, 1:].mean(axis=0), noise),
        strata=labels[first],
        sizes=sizes,
        level=level,
        bounds=definition.range,
    )


def _of_one_seed(over: NDArray[np.bool_], success: NDArray[np.bool_], groups: Labels | None, level: float) -> Interval:
    """Wilson's interval of the share of `success` in the cases `over`."""
    ends = wilson_interval(success[over], None if groups is None else np.asarray(groups)[over], level=level)
    point = float(success[over].mean())
    return Interval(point, *ends, "cases") if ends else Interval(point, None, None)


def balanced_interval(
    values: Floats,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    groups: Labels | None = None,
    repeats: Labels | None = None,
    level: float = 0.95,
) -> Interval:
    """Interval of balanced accuracy, the mean of the classes' sensitivities, from the score ends of each.

    The distances of the ends add up as standard errors do (Newcombe 1998, Statistics in Medicine 17:873-890; Zou and
    Donner 2008, doi:10.1002/sim.3095): low = m - sqrt(sum (m_k - low_k)^2 / K^2 + t^2 s^2 / S). Ends of a class are
    those of the jackknife's variance over its cases; t is that of the mean. So a class of few cases that are all right
    by luck keeps its share of what is not known, which one variance over all classes would not see.

    Args:
        values: (S, 1 + G) balanced accuracy of all cases, then without each group.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) deleted together.
        repeats: (N,) as in `deleted`.
        level: nominal coverage.

    Returns:
        No interval where a class lies in one group alone.
    """
    full, without = values[:, 0], values[:, 1:].mean(axis=0)
    point, n_seeds = float(full.mean()), len(full)
    if len(without) < 2 or np.isnan(values).any():
        return Interval(point, None, None)
    numbers, first, sizes = grouped(groups, len(labels))
    quantile = jackknife_spread(full, without, labels[first], sizes, level)[1]
    below = above = quantile**2 * float(full.var(ddof=1)) / n_seeds if n_seeds > 1 else 0.0
    classes, sensitivity = np.unique(labels), DEFINITIONS["sen.class@1"]
    for k in classes:
        of_class = deleted(sensitivity, probabilities, labels, groups=groups, only=int(k), repeats=repeats)
        mean = of_class[:, :1].mean(axis=0)  # (1,)
        variance = jackknife_spread(mean, of_class[:, 1:].mean(axis=0), None, None, level)[0]
        noise = RateNoise(len(np.unique(numbers[labels == k])))
        low, high = score_ends(float(mean[0]), variance, quantile, noise, n_seeds, level)
        below += ((float(mean[0]) - low) / len(classes)) ** 2
        above += ((high - float(mean[0])) / len(classes)) ** 2
    kind = "seeds+cases" if n_seeds > 1 else "cases"
    return Interval(point, max(0.0, point - below**0.5), min(1.0, point + above**0.5), kind)


def calibration_interval(
    definition: Definition,
    probabilities: Floats,
    labels: NDArray[np.int64],
    *,
    groups: Labels | None = None,
    repeats: Labels | None = None,
    level: float = 0.95,
) -> Interval:
    """Interval of the calibration error without chance; the chance error itself has none.

    The mean ECE of so many cases is about sqrt(truth^2 + chance^2), so the ends of the interval of that mean, by the
    jackknife, are brought to the truth by `without_chance`. The upper one stands above the chance error at least.

    Args:
        definition: of the chance error, or of the error without it.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) deleted together.
        repeats: (N,) as in `deleted`.
        level: nominal coverage.
    """
    asked = "chance", None if repeats is None else np.asarray(repeats).tobytes()
    chance = remembered(probabilities, asked, lambda: _chance_error(probabilities, repeats))
    if definition.id == CHANCE:
        return Interval(chance, None, None)
    values = deleted(DEFINITIONS[ERROR], probabilities, labels, groups=groups, repeats=repeats)
    error, sizes = float(values[:, 0].mean()), grouped(groups, len(labels))[2]
    point = without_chance(error, chance)
    if len(sizes) < 2:
        return Interval(point, None, None)
    variance, quantile = jackknife_spread(values[:, 0], values[:, 1:].mean(axis=0), None, sizes, level)
    if variance <= _ROUNDING**2:
        return Interval(point, None, None)
    half = quantile * variance**0.5
    low, high = max(0.0, error - half), max(error, chance) + half
    # Where a bin errs by much more than chance, chance adds almost nothing: the upper end takes off its share alone.
    upper = without_chance(high, chance * (chance / high) ** 0.5)
    kind = "seeds+cases" if len(probabilities) > 1 else "cases"
    return Interval(point, without_chance(low, chance), min(1.0, upper), kind)


def _chance_error(probabilities: Floats, repeats: Labels | None) -> float:
    each = [chance_calibration_errors(probabilities[:, rows]) for rows in parts_of(repeats)]  # repeats x seeds
    return float(np.mean([error for of_seed in zip(*each, strict=True) for error in of_seed]))


def case_scores(definition: Definition, probabilities: Floats, labels: NDArray[np.int64]) -> Floats | None:
    """(S, N) scores of each case where the metric is their mean; None where it is not."""
    if definition.id == "acc@1":
        return np.asarray(probabilities.argmax(axis=2) == labels, dtype=np.float64)
    if definition.name == "BRIER":
        return np.stack([brier_scores(p, labels) for p in probabilities])
    return None
