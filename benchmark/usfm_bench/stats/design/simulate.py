"""Width and coverage of a design's intervals, and the difference that it would find, by the code that reports use."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.definitions import DEFINITIONS
from usfm_bench.stats.compare import compare
from usfm_bench.stats.contributions import Contributions, pseudo_contributions
from usfm_bench.stats.design.model import Assumptions, Design, Drawn, draw_study, true_values
from usfm_bench.stats.intervals import Interval, crossed_interval
from usfm_bench.stats.jackknife import deleted
from usfm_bench.stats.of_classes import DEBIASED, case_scores, classification_interval

Floats = NDArray[np.float64]
FEWEST = 20
"""Draws, with which coverage is known to 5 points."""
_COMPARED = 100  # draws: the median of what they could detect varies little
_MASKS = {"DSC": (0.0, 1.0), "HD95": (0.0, np.inf)}
_CLASSES = {
    **{"SEN": ("sen.class@1", 1), "SPEC": ("spec.class@1", 1), "ACC": ("acc@1", None), "BACC": ("bacc@1", None)},
    **{
        "AUROC": ("auroc.class@2", 1),
        "F1": ("f1.class@1", 1),
        "macro F1": ("f1.macro@1", None),
        "PREC": ("prec.class@1", 1),
        "MCC": ("mcc@1", None),
        "KAPPA": ("kappa@1", None),
        "AUPRC": ("auprc.class@2", 1),
        "BRIER": ("brier@1", None),
        "ECE": (DEBIASED, None),
    },
}
_BOTH_CLASSES = ("BACC", "AUROC", "F1", "macro F1", "PREC", "MCC", "KAPPA", "AUPRC")
_HELD = 1e-9  # rounding


@dataclass(frozen=True)
class Expected:
    """Of one metric, over many studies of a design."""

    metric: str
    unit: str
    """`fraction`, or `px`."""
    assumed: float | None
    """The true value of both models; None where the metric is undefined."""
    width: float | None
    """Mean width of the 95 % intervals that exist."""
    coverage: float | None
    """Share of the studies whose interval exists and holds the true value; None where none exists."""
    coverage_error: float | None
    """Monte-Carlo standard error of the coverage."""
    without_interval: float
    """Share of the studies that give no interval."""
    detectable: float | None
    """Median of the smallest true difference of two models that one test at 5 % finds with 80 % power."""
    reason: str = ""
    """Why there is no interval."""


def simulate(
    design: Design,
    assumed: Assumptions,
    draws: int,
    rng: np.random.Generator,
    tell: Callable[[], object] = lambda: None,
    *,
    compared: int = _COMPARED,
    metrics: Collection[str] | None = None,
) -> list[Expected]:
    """What each metric of a design will tell.

    Args:
        design: the sizes.
        assumed: what is taken for true.
        draws: studies to draw, at least `FEWEST`.
        rng: of all draws.
        tell: called after each study.
        compared: studies in which two models are compared, too.
        metrics: None: all.
    """
    truths = {k: v for k, v in true_values(design, assumed).items() if metrics is None or k in metrics}
    reasons = {name: why for name in truths if (why := _undefined(name, design))}
    used = [name for name in truths if name not in reasons]
    found: dict[str, list[Interval]] = {name: [] for name in used}
    detectable: dict[str, list[float]] = {name: [] for name in used}
    for k in range(draws if used else 0):
        study = draw_study(design, assumed, rng)
        for name in used:
            found[name].append(_interval(name, study))
            if k < compared and (difference := _detectable(name, study)) is not None:
                detectable[name].append(difference)
        tell()
    return [
        _expected(name, truths[name], found[name], detectable[name])
        if name in found
        else Expected(name, _unit(name), None, None, None, None, 1.0, None, reasons[name])
        for name in (*_CLASSES, *_MASKS)
        if name in truths
    ]


def _undefined(name: str, design: Design) -> str:
    """Why a metric of the design has no interval; empty where it can have one."""
    if design.groups == 1:
        return "all cases are one group" if design.cases > 1 else "there is one case"
    if name in _MASKS or name in ("ACC", "BRIER", "ECE"):
        return ""
    if not design.positives and name != "SPEC":
        return "there is no positive case"
    if design.positives == design.cases and name != "SEN":
        return "there is no negative case"
    if name in _BOTH_CLASSES and min(design.positives or 0, design.cases - (design.positives or 0)) == 1:
        return "one class has one case, without which the metric is undefined"
    return ""


def _unit(name: str) -> str:
    return "px" if name == "HD95" else "fraction"


def _masks(name: str, study: Drawn) -> Floats:
    return study.distances if name == "HD95" else study.dsc


def _interval(name: str, study: Drawn) -> Interval:
    """The interval of the first model's metric, as reports print it."""
    if name in _MASKS:
        return crossed_interval(_masks(name, study)[0], groups=study.groups, bounds=_MASKS[name])
    ident, only = _CLASSES[name]
    return classification_interval(
        DEFINITIONS[ident], study.probabilities[0], study.labels, groups=study.groups, only=only
    )


def _detectable(name: str, study: Drawn) -> float | None:
    """None for one seed, which says nothing of models, and for calibration, in which models are not compared."""
    if name == "ECE" or study.dsc.shape[1] == 1:
        return None
    a, b = (_contributions(name, study, model) for model in (0, 1))
    return None if a is None or b is None else compare(a.values, b.values, groups=a.groups, sizes=a.sizes).detectable


def _contributions(name: str, study: Drawn, model: int) -> Contributions | None:
    folds = np.zeros(len(study.labels), np.int64)
    if name in _MASKS:
        return Contributions(_masks(name, study)[model], study.groups, folds)
    ident, only = _CLASSES[name]
    definition, probabilities = DEFINITIONS[ident], study.probabilities[model]
    scores = case_scores(definition, probabilities, study.labels)
    if scores is not None:
        return Contributions(scores, study.groups, folds)
    values = deleted(definition, probabilities, study.labels, groups=study.groups, only=only)
    return pseudo_contributions(values, study.groups, folds)


def _expected(name: str, truth: float, intervals: list[Interval], detectable: list[float]) -> Expected:
    ends = [(i.low, i.high) for i in intervals if i.low is not None and i.high is not None]
    missing = 1 - len(ends) / len(intervals)
    middle = float(np.median(detectable)) if detectable else None
    if not ends:
        return Expected(name, _unit(name), truth, None, None, None, 1.0, middle, "no study gave an interval")
    held = sum(low - _HELD <= truth <= high + _HELD for low, high in ends) / len(intervals)
    width = float(np.mean([high - low for low, high in ends]))
    error = float(max(held * (1 - held), 1 / len(intervals)) / len(intervals)) ** 0.5
    return Expected(name, _unit(name), truth, width, held, error, missing, middle)
