"""Forest plot of subgroups: a panel a column, values downwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from usfm_bench.core.words import scale_of
from usfm_bench.reporting.figures.forest import axis_label
from usfm_bench.reporting.figures.group import NamedFigure, chunks, sentence
from usfm_bench.reporting.figures.style import Look, blocks, looks_of, shown, styled
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.subgroups import LEAST, Subgroup


def subgroup_figures(report: Report, width: float) -> Iterator[NamedFigure]:
    """One figure a data set and headline metric."""
    rows = report.subgroups.rows
    looks = looks_of([row.model for row in rows])
    for dataset, metric in dict.fromkeys((row.dataset, row.metric) for row in rows):
        own = [row for row in rows if (row.dataset, row.metric) == (dataset, metric)]
        caption = sentence(
            f"{own[0].definition} on the cases of {dataset} with each value of a column; in brackets their number",
            "Markers: mean over seeds and cases; bars: 95 % interval",
            f"Hollow: fewer than {LEAST} groups of cases, without an interval",
        )
        title = f"{metric} by subgroup, {dataset}"
        yield NamedFigure(f"subgroups-{dataset}-{metric}", title, caption, subgroups(own, looks, width))


@styled
def subgroups(rows: Sequence[Subgroup], looks: Mapping[str, Look], width: float) -> Figure:
    """Values downwards, the metric to the right; four models a block of panels.

    Args:
        rows: of one data set and metric.
        looks: of the models.
        width: in millimetres.
    """
    columns = list(dict.fromkeys(row.column for row in rows))
    parts = chunks(list(dict.fromkeys(row.model for row in rows)))
    most = max(len({row.value for row in rows if row.column == column}) for column in columns)
    labels = [[shown(model, 30) for model in part] for part in parts]
    height = 14 + most * max(5.0, 2.4 * max(len(part) for part in parts))
    figure, made = blocks(labels, len(columns), width, least=80, most=90, height=height)
    for block, part in zip(made, parts, strict=True):
        for axes, column in zip(block.axes, columns, strict=False):
            _draw(axes, [row for row in rows if row.column == column and row.model in part], part, looks)
            axes.set_title(shown(column, 40))
            axes.set_xlabel(axis_label(rows[0].metric, rows[0].unit))
        for axes in block.axes[len(columns) :]:
            axes.set_visible(False)
        block.legend(
            [
                Line2D([], [], linestyle="-", marker=looks[m].marker, color=looks[m].colour, label=shown(m, 30))
                for m in part
            ]
        )
    return figure


def _draw(axes: Axes, rows: Sequence[Subgroup], models: Sequence[str], looks: Mapping[str, Look]) -> None:
    values = list(dict.fromkeys(row.value for row in rows))
    scale, _ = scale_of(rows[0].unit) if rows else (1, 0)
    for row in rows:
        if row.mean is None:
            continue
        look, place = looks[row.model], models.index(row.model) - (len(models) - 1) / 2
        y = values.index(row.value) + 0.7 * place / len(models)
        if row.low is not None and row.high is not None:
            axes.plot([scale * row.low, scale * row.high], [y, y], "-", color=look.colour, linewidth=0.8)
        face = look.colour if row.low is not None else "white"
        axes.plot([scale * row.mean], [y], look.marker, color=look.colour, markerfacecolor=face)
    counts = {row.value: row.n_cases for row in rows}
    axes.set_yticks(range(len(values)), [shown(f"{value} ({counts[value]})", 24) for value in values])
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
