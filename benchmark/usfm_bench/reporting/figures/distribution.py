"""Scores of every case, by model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from usfm_bench.core.words import counted, scale_of
from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.figures.forest import Column, axis_label, columns_of, model_axis, row_ends
from usfm_bench.reporting.figures.group import (
    Bools,
    FigureData,
    Floats,
    NamedFigure,
    defined_cases,
    missed_lesions,
    seeds_of,
    sentence,
)
from usfm_bench.reporting.figures.style import GREY, MANY, Look, lines_of, new_figure, opacity, styled
from usfm_bench.results.frames import ModelResults

_ROW, _SIDE_BY_SIDE, _BAND = 8.0, 120.0, 0.42
_GOLDEN = (5**0.5 - 1) / 2


class Cases(NamedTuple):
    """One model's scores of one metric."""

    scores: Floats
    """(n,) mean over seeds."""
    missed: Bools
    """(n,) lesion without a prediction in at least one seed."""


def distribution_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure with a panel a headline metric."""
    columns = columns_of(group.rows, group.task.panels)
    ids = {(row.metric, row.unit): row.definition for row in group.rows if row.source == "measured"}
    cases = {column: [cases_of(r, column, group.missed) for r in group.results] for column in columns}
    models = [r.first.spec.model for r in group.results]
    lesions = [int(r.case_table["lesion"].sum()) for r in group.results]
    left_out = [n - len(each.scores) for parts in cases.values() for n, each in zip(lesions, parts, strict=True)]
    caption = sentence(
        f"One dot a case, mean over {seeds_of(group.results)}, of {counted(lesions, 'case')} with a lesion: "
        + ", ".join(f"{metric} {ids[metric, unit]}" for metric, unit in columns),
        "Box: quartiles and median; line: 5th to 95th percentile",
        "Crosses: lesions missed in at least one seed, and beside them their number",
        f"Not shown, undefined in at least one seed: {counted(left_out, 'case')} a model and panel"
        if any(left_out)
        else "",
    )
    yield group.named("cases", "Scores by case", caption, distribution(models, cases, group.looks, group.width))


def cases_of(results: ModelResults, column: Column, missed: Missed) -> Cases:
    """The cases with a lesion whose score every seed defines."""
    metric, unit = column
    name = f"{metric}_mm" if unit == "mm" else metric
    used = defined_cases(results, name, missed)
    return Cases(results.matrix(name)[:, used].mean(axis=0), missed_lesions(results)[used])


@styled
def distribution(
    models: Sequence[str], cases: Mapping[Column, Sequence[Cases]], looks: Mapping[str, Look], width: float
) -> Figure:
    """Models downwards, a panel a metric; each with box, dots, and crosses for missed lesions."""
    beside, n = width > _SIDE_BY_SIDE, len(cases)
    centres = row_ends(models)
    height = sum(_ROW * max(1.3, lines_of(name)) for name in models)
    figure = new_figure(width, (height + 12) * (1 if beside else n))
    for i, (column, by_model) in enumerate(cases.items()):
        axes = figure.add_subplot(1, n, i + 1) if beside else figure.add_subplot(n, 1, i + 1)
        for y, model, each in zip(centres, models, by_model, strict=True):
            _draw(axes, y, Cases(each.scores * scale_of(column[1])[0], each.missed), looks[model])
        model_axis(axes, models, centres, named=i == 0 or not beside)
        axes.set_xlabel(axis_label(*column))
        if column[1] == "fraction":
            axes.set_xlim(-3, 103)
        axes.text(1.01, 1.0, "missed", transform=axes.transAxes, ha="left", va="bottom", color=GREY, size=6)
    return figure


def _draw(axes: Axes, y: float, cases: Cases, look: Look) -> None:
    """Box in the upper half of the row, dots in the lower, so that many dots hide no box."""
    scores, missed = cases
    # Places that never clump, and the same ones in every run.
    places = y - 0.02 + _BAND * ((np.arange(len(scores)) * _GOLDEN) % 1)
    dots: dict[str, Any] = {"linestyle": "none", "rasterized": len(scores) > MANY}
    alpha = opacity(len(scores))
    axes.plot(
        *(scores[~missed], places[~missed], "o"),
        **dots,
        color=look.colour,
        alpha=alpha,
        markersize=2,
        markeredgewidth=0,
    )
    axes.plot(scores[missed], places[missed], "x", **dots, color="black", markersize=2.5, markeredgewidth=0.6)
    axes.text(1.03, y, str(int(missed.sum())), transform=axes.get_yaxis_transform(), ha="left", va="center")
    if not len(scores):
        return
    low, q1, median, q3, high = np.percentile(scores, [5, 25, 50, 75, 95])
    middle, half = y - 0.28, 0.16
    axes.hlines(middle, low, high, color="black", linewidth=0.7)
    axes.barh(middle, q3 - q1, height=2 * half, left=q1, facecolor="white", edgecolor="black", linewidth=0.7)
    axes.vlines(median, middle - half, middle + half, color="black", linewidth=1.6)
