"""Reliability diagrams: whether probabilities mean what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from usfm_bench.core.words import counted
from usfm_bench.metrics.calibration import BINS, calibration_error, confidence_bins
from usfm_bench.reporting.figures.group import FigureData, Floats, NamedFigure, labels_of, seeds_of, sentence
from usfm_bench.reporting.figures.style import GREY, Look, lines_of, new_figure, shown, styled
from usfm_bench.results.frames import ModelResults


class Reliability(NamedTuple):
    """Bins of the predicted class's probability, over all seeds; NaN where a bin is empty."""

    model: str
    confidence: Floats
    """(15,) mean probability."""
    accuracy: Floats
    """(15,) share that is right."""
    size: Floats
    """(15,) predictions."""
    ece: float
    """Mean over seeds, as in the tables."""
    scaled: Reliability | None = None
    """The same after temperature scaling, where validation cases were kept."""


def reliability_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure, a panel a model."""
    found = [reliability_of(r) for r in group.results]
    scaled = any(each.scaled for each in found)
    caption = sentence(
        f"Share of right predictions over the mean probability of the predicted class, in {BINS} equal bins "
        f"(ece.top.15bins@1), all seeds together; {seeds_of(group.results)}, "
        f"{counted([len(labels_of(r)) for r in group.results], 'case')}",
        "Above the diagonal the model is too timid, below it too sure. Markers grow with the cases of a bin; below: "
        "share of predictions in each bin. ECE: mean over seeds",
        *(["Dashed, and behind the arrow: after temperature scaling (ece.top.15bins.temperature@1)"] * scaled),
    )
    yield group.named("reliability", "Reliability", caption, reliability_panels(found, group.looks, group.width))


def reliability_of(results: ModelResults) -> Reliability:
    """Bins over all seeds together."""
    scaled, labels, model = results.scaled_probabilities, labels_of(results), results.first.spec.model
    found = _binned(model, results.probabilities, labels)
    return found if scaled is None else found._replace(scaled=_binned(model, scaled, labels))


def _binned(model: str, probabilities: Floats, labels: NDArray[np.int64]) -> Reliability:
    pooled = probabilities.reshape(-1, probabilities.shape[2])
    right = pooled.argmax(axis=1) == np.tile(labels, len(probabilities))
    bins = confidence_bins(pooled)
    count = np.bincount(bins, minlength=BINS).astype(np.float64)
    sums = [np.bincount(bins, weights=w, minlength=BINS) for w in (pooled.max(axis=1), right)]
    confidence, accuracy = (np.divide(s, count, out=np.full(BINS, np.nan), where=count > 0) for s in sums)
    ece = float(np.mean([calibration_error(p, labels) for p in probabilities]))
    return Reliability(model, confidence, accuracy, count, ece)


@styled
def reliability_panels(found: Sequence[Reliability], looks: Mapping[str, Look], width: float) -> Figure:
    """A panel a model, and below it how its probabilities are spread."""
    columns = min(len(found), max(1, int(width // 42)))
    rows = -(-len(found) // columns)
    lines = max(lines_of(each.model, 24) for each in found)
    figure = new_figure(min(width, 60 * columns), (64 + 3 * lines) * rows)
    highest = 1.05 * max(float(each.size.max() / each.size.sum()) for each in found)
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1] * rows)
    for i, each in enumerate(found):
        row, column = divmod(i, columns)
        top = figure.add_subplot(grid[2 * row, column])
        low = figure.add_subplot(grid[2 * row + 1, column])
        _diagram(top, each, looks[each.model])
        _histogram(low, each, looks[each.model], highest)
        if column == 0:
            top.set_ylabel("Share right")
            low.set_ylabel("Share of\npredictions")
    return figure


def _diagram(axes: Axes, each: Reliability, look: Look) -> None:
    known = each.size > 0
    axes.plot([0, 1], [0, 1], ":", color=GREY, linewidth=0.8)
    ece = f"ECE {100 * each.ece:.1f} %"
    if each.scaled is not None:
        used = each.scaled.size > 0
        axes.plot(each.scaled.confidence[used], each.scaled.accuracy[used], "--", color=GREY, linewidth=0.9)
        ece = f"{ece[:-2]} \u2192 {100 * each.scaled.ece:.1f} %"
    axes.plot(each.confidence[known], each.accuracy[known], color=look.colour, linewidth=0.9)
    sizes = 4 + 60 * each.size[known] / each.size.sum()
    axes.scatter(each.confidence[known], each.accuracy[known], s=sizes, color=look.colour, marker=look.marker)
    axes.set(xlim=(0, 1), ylim=(-0.04, 1.04), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.set_xticklabels([])
    axes.set_title(f"{shown(each.model, 24)}\n{ece}")


def _histogram(axes: Axes, each: Reliability, look: Look, highest: float) -> None:
    axes.stairs(each.size / each.size.sum(), np.linspace(0, 1, BINS + 1), fill=True, color=look.colour)
    axes.set(xlim=(0, 1), xticks=[0, 0.5, 1], ylim=(0, highest))
    axes.set_xlabel("Probability of the\npredicted class")
