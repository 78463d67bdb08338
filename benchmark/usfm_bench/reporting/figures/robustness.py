"""Scores against the severity of each corruption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from usfm_bench.core.words import heading, scale_of
from usfm_bench.data.corruptions import CORRUPTIONS
from usfm_bench.reporting.figures.group import NamedFigure, chunks, sentence
from usfm_bench.reporting.figures.style import Look, blocks, looks_of, shown, styled
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.robustness import Loss

_ALL = "mean of all"


def robustness_figures(report: Report, width: float) -> Iterator[NamedFigure]:
    """One figure a data set and headline metric, a panel a corruption."""
    looks = looks_of([r.first.spec.model for r in report.results])
    levels = [loss for loss in report.losses if loss.severity is not None]
    for dataset, metric in dict.fromkeys((loss.dataset, loss.metric) for loss in levels):
        own = [loss for loss in levels if (loss.dataset, loss.metric) == (dataset, metric)]
        caption = sentence(
            f"{own[0].definition} on the test cases of {dataset} with corrupted images, by severity; 0 is clean",
            "Markers: mean over seeds and cases; bars: 95 % interval of the loss against clean, paired by case, "
            "cut off where they are long",
            f"First panel: mean of the {len({loss.corruption for loss in own}) - 1} corruptions",
        )
        title = f"{metric} under corruptions, {dataset}"
        yield NamedFigure(f"robustness-{dataset}-{metric}", title, caption, robustness(own, looks, width))


@styled
def robustness(losses: Sequence[Loss], looks: Mapping[str, Look], width: float) -> Figure:
    """The metric upwards, severity to the right; four models a block of panels."""
    names = list(dict.fromkeys(loss.corruption for loss in losses))
    models = list(dict.fromkeys(loss.model for loss in losses))
    parts = chunks(models)
    labels = [[shown(model, 30) for model in part] for part in parts]
    figure, made = blocks(labels, len(names), width, least=40, most=45, height=38)
    scale, _ = scale_of(losses[0].unit)
    points = [scale * value for loss in losses for value in (loss.clean, loss.corrupted)]
    room = 0.1 * (max(points) - min(points)) or 1
    ends = min(points) - room, max(points) + room  # bars that are longer are cut off
    for block, part in zip(made, parts, strict=True):
        for axes, name in zip(block.axes, names, strict=False):
            for model in part:
                own = [loss for loss in losses if (loss.corruption, loss.model) == (name, model)]
                _draw(axes, sorted(own, key=lambda loss: loss.severity or 0), looks[model], scale)
            axes.set_title(shown(_title(name), 26))
            axes.set_xticks(range(6))
        for axes in block.axes[len(names) :]:
            axes.set_visible(False)
        for axes in block.axes:
            axes.set_ylim(*ends)
            axes.set_xlabel("Severity")
            axes.set_ylabel(heading(losses[0].metric, losses[0].unit))
            axes.label_outer()
        block.legend([_entry(model, looks[model]) for model in part])
    return figure


def _draw(axes: Axes, losses: Sequence[Loss], look: Look, scale: float) -> None:
    if not losses:
        return
    levels = [loss.severity or 0 for loss in losses]
    y = [scale * losses[0].clean, *(scale * loss.corrupted for loss in losses)]
    axes.plot([0, *levels], y, linestyle="-", marker=look.marker, color=look.colour)
    for level, loss in zip(levels, losses, strict=True):
        _, low, high, _ = loss.loss
        if low is not None and high is not None:
            ends = [scale * (loss.clean - end) for end in (low, high)]
            axes.plot([level, level], ends, color=look.colour, linewidth=0.8)


def _title(name: str | None) -> str:
    return _ALL if name is None else CORRUPTIONS[name].title if name in CORRUPTIONS else name


def _entry(model: str, look: Look) -> Line2D:
    return Line2D([], [], linestyle="-", marker=look.marker, color=look.colour, label=shown(model, 30))
