"""ROC and precision-recall curves, one class against the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn import metrics as sk

from usfm_bench.core.words import counted
from usfm_bench.metrics.classification import RANKED, class_definition_id
from usfm_bench.metrics.logits import log_odds_of
from usfm_bench.reporting.figures.group import FigureData, Floats, NamedFigure, chunks, labels_of, seeds_of, sentence
from usfm_bench.reporting.figures.style import GREY, Look, blocks, shown, styled
from usfm_bench.results.frames import ModelResults

_IDS = " and ".join(f"{name} {class_definition_id(name)}" for name in RANKED)


class Curve(NamedTuple):
    """One model's curve of one class."""

    x: Floats
    """(n,) ascending."""
    y: Floats
    """(S, n)."""
    area: float
    """AUROC or AUPRC, mean over seeds."""


class Curves(NamedTuple):
    """Both curves of one model and class."""

    model: str
    roc: Curve
    pr: Curve
    prevalence: float


def curve_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure a class; up to four models a panel."""
    first = group.results[0]
    support = np.bincount(labels_of(first), minlength=len(first.first.classes))
    n_cases = int(support.sum())
    for k, name in enumerate(first.first.classes):
        what = f"ROC and precision-recall, {name} against the rest"
        if not 0 < support[k] < n_cases:
            yield group.nothing(
                f"curves-{name}", what, f"{what}: {support[k]} of {n_cases} test cases are of this class."
            )
            continue
        curves = [curves_of(r, k) for r in group.results]
        several = any(len(r.seeds) > 1 for r in group.results)
        caption = sentence(
            f"{name} against the rest ({support[k]} of {counted([n_cases], 'case')}), {seeds_of(group.results)}: "
            + ("mean curve, and a band from the lowest to the highest seed" if several else "no band over seeds"),
            "ROC: mean sensitivity at each specificity. Precision-recall: mean precision at each recall, without "
            "interpolation; dotted line: share of the class, which chance attains",
            f"In the legend: {_IDS}, means over seeds",
        )
        yield group.named(f"curves-{name}", what, caption, roc_and_pr(curves, group.looks, group.width))


def curves_of(results: ModelResults, k: int) -> Curves:
    """Curves of class k against the rest; it has cases, and so has the rest."""
    true = labels_of(results) == k
    scores = log_odds_of(results.probabilities)[:, :, k]
    roc = roc_of(true, scores)
    return Curves(results.first.spec.model, roc, pr_of(true, scores), float(true.mean()))


def roc_of(true: NDArray[np.bool_], scores: Floats) -> Curve:
    """Sensitivity over 1 - specificity of each seed, as steps as wide as one negative case.

    A step is as high as the curve in its middle, so that the area under the steps is the area under the curve.

    Args:
        true: (N,).
        scores: (S, N).
    """
    n = int((~true).sum())
    middles, edges = (np.arange(n) + 0.5) / n, np.arange(n + 1) / n
    heights = []
    for each in scores:
        false, found, _ = sk.roc_curve(true, each, drop_intermediate=False)
        heights.append(np.interp(middles, false, found))
    steps = np.repeat(np.array(heights), 2, axis=1)  # (S, 2n)
    ends = np.zeros((len(scores), 1)), np.ones((len(scores), 1))
    area = float(np.mean([sk.roc_auc_score(true, each) for each in scores]))
    return Curve(np.repeat(edges, 2), np.concatenate([ends[0], steps, ends[1]], axis=1), area)


def pr_of(true: NDArray[np.bool_], scores: Floats) -> Curve:
    """Precision over recall of each seed, in steps of one positive case; their area is the average precision."""
    n = int(true.sum())
    edges = np.arange(n + 1) / n
    heights = []
    for each in scores:
        precision, recall, _ = sk.precision_recall_curve(true, each)
        first = np.searchsorted(recall[::-1], edges[1:] - 0.5 / n)  # the first threshold that finds so many
        heights.append(precision[::-1][first])
    area = float(np.mean([sk.average_precision_score(true, each) for each in scores]))
    return Curve(np.repeat(edges, 2)[1:-1], np.repeat(np.array(heights), 2, axis=1), area)


@styled
def roc_and_pr(curves: Sequence[Curves], looks: Mapping[str, Look], width: float) -> Figure:
    """ROC and precision-recall beside each other; up to four models a pair of panels."""
    parts = chunks(curves)
    figure, made = blocks([[_label(each) for each in part] for part in parts], 2, width, least=40, most=60)
    for block, part in zip(made, parts, strict=True):
        left, right = block.axes
        left.plot([0, 1], [0, 1], ":", color=GREY, linewidth=0.8)
        right.axhline(part[0].prevalence, linestyle=":", color=GREY, linewidth=0.8)
        for each in part:
            _draw(left, each.roc, looks[each.model])
            _draw(right, each.pr, looks[each.model])
        left.set(xlabel="1 - specificity", ylabel="Sensitivity")
        right.set(xlabel="Recall (sensitivity)", ylabel="Precision")
        block.legend([_handle(each, looks[each.model]) for each in part])
    return figure


def _label(curves: Curves) -> str:
    return f"{shown(curves.model, 44)}\nAUROC {curves.roc.area:.2f}, AUPRC {curves.pr.area:.2f}"


def _handle(curves: Curves, look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, linestyle=look.line, label=_label(curves))


def _draw(axes: Axes, curve: Curve, look: Look) -> None:
    axes.plot(curve.x, curve.y.mean(axis=0), color=look.colour, linestyle=look.line)
    if len(curve.y) > 1:
        axes.fill_between(curve.x, curve.y.min(axis=0), curve.y.max(axis=0), color=look.colour, alpha=0.15, linewidth=0)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=ticks, yticks=ticks, aspect="equal")
    axes.set_xticklabels(["0", "", "0.5", "", "1"])
    axes.set_yticklabels(["0", "", "0.5", "", "1"])
