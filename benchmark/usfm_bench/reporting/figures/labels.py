"""Scores against the number of labelled training images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from usfm_bench.core.words import heading, scale_of
from usfm_bench.reporting.figures.group import NamedFigure, chunks, sentence
from usfm_bench.reporting.figures.style import Look, blocks, looks_of, shown, styled
from usfm_bench.reporting.labels import LabelCurve
from usfm_bench.reporting.report import Report

_APART = 1.06  # factor between models at one share, whose bars would hide each other


def label_figures(report: Report, width: float) -> Iterator[NamedFigure]:
    """One figure for each data set that was used in parts, a panel a headline metric."""
    looks = looks_of([r.first.spec.model for r in report.results])
    found = report.labels.curves
    for table, dataset in dict.fromkeys((curve.table, curve.dataset) for curve in found):
        own = [curve for curve in found if (curve.table, curve.dataset) == (table, dataset)]
        ids = ", ".join(dict.fromkeys(curve.definition for curve in own))
        caption = sentence(
            f"Mean and 95 % interval over {max(curve.n_seeds for curve in own)} seeds, each with training images of "
            f"its own, and {max(curve.n_cases for curve in own)} test cases, the same at every share: {ids}",
            "Logarithmic to the right. Models are set apart a little, so that their bars can be seen",
        )
        yield NamedFigure(
            f"labels-{dataset}", f"Scores against labelled images, {dataset}", caption, _drawn(own, looks, width)
        )


@styled
def _drawn(curves: Sequence[LabelCurve], looks: Mapping[str, Look], width: float) -> Figure:
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    parts = chunks(list(dict.fromkeys(curve.model for curve in curves)))
    figure, made = blocks(
        [[shown(m, 30) for m in part] for part in parts], len(metrics), width, least=80, most=90, height=62
    )
    for block, part in zip(made, parts, strict=True):
        for axes, metric in zip(block.axes, metrics, strict=True):
            own = [curve for curve in curves if curve.metric == metric]
            for i, model in enumerate(part):
                for curve in (curve for curve in own if curve.model == model):
                    _draw(axes, curve, looks[model], _APART ** (i - (len(part) - 1) / 2))
            _finish(axes, own)
        block.legend([_entry(model, looks[model]) for model in part])
    return figure


def _draw(axes: Axes, curve: LabelCurve, look: Look, shift: float) -> None:
    scale, _ = scale_of(curve.unit)
    points = [point for point in curve.points if point.mean is not None]
    at = [100 * point.share * shift for point in points]
    axes.plot(at, [scale * (point.mean or 0) for point in points], "-", marker=look.marker, color=look.colour)
    for x, point in zip(at, points, strict=True):
        if point.ci_low is not None and point.ci_high is not None:
            axes.plot([x, x], [scale * point.ci_low, scale * point.ci_high], "-", color=look.colour, linewidth=0.9)


def _finish(axes: Axes, curves: Sequence[LabelCurve]) -> None:
    sizes = dict(sorted({(point.share, point.n_train) for curve in curves for point in curve.points}))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([100 * share for share in sizes]))
    images = {round(100 * share, 6): n for share, n in sizes.items()}
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g} %\n{images.get(round(x, 6), '')}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("Share of the training side, and its images")
    axes.set_ylabel(heading(curves[0].metric, curves[0].unit))


def _entry(model: str, look: Look) -> Line2D:
    return Line2D([], [], linestyle="-", marker=look.marker, color=look.colour, label=shown(model, 30))
