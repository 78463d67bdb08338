"""Forest plot: every model's mean and interval, and the published value where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from usfm_bench.core.words import counted, heading, scale_of
from usfm_bench.metrics.definitions import DEFINITIONS
from usfm_bench.reporting.figures.group import FigureData, NamedFigure, sentence
from usfm_bench.reporting.figures.style import GREY, Look, lines_of, new_figure, shown, styled
from usfm_bench.reporting.rows import Row

_ROW, _SIDE_BY_SIDE = 3.6, 120.0  # millimetres
Column = tuple[str, str | None]


def forest_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure with a panel a headline metric."""
    columns = columns_of(group.rows, group.task.panels)
    names = list(dict.fromkeys(row.metric for row in group.rows if (row.metric, row.unit) in columns))
    yield group.named(
        "forest", ", ".join(names), _caption(group, columns), forest(group.rows, columns, group.looks, group.width)
    )


def columns_of(rows: Sequence[Row], names: Sequence[str]) -> list[Column]:
    """(metric, unit) of measured rows, in the order of the names."""
    found = {(row.metric, row.unit): None for row in rows if row.source == "measured" and row.metric in names}
    return sorted(found, key=lambda column: names.index(column[0]))


@styled
def forest(rows: Sequence[Row], columns: Sequence[Column], looks: Mapping[str, Look], width: float) -> Figure:
    """Models downwards, published values above them; a panel a metric.

    Args:
        rows: without those of single classes.
        columns: (metric, unit) of the panels.
        looks: of the models.
        width: in millimetres.
    """
    keys = list(dict.fromkeys((row.source, row.model) for row in rows))
    names = [f"{model} (as published)" if source == "reported" else model for source, model in keys]
    beside = width > _SIDE_BY_SIDE
    height = sum(_ROW * max(1.3, lines_of(name)) for name in names)
    n = len(columns)
    figure = new_figure(width, (height + 12) * (1 if beside else n))
    ends = row_ends(names)
    for i, column in enumerate(columns):
        axes = figure.add_subplot(1, n, i + 1) if beside else figure.add_subplot(n, 1, i + 1)
        by_key = {(row.source, row.model): row for row in rows if row.metric == column[0] and _fits(row, column)}
        for y, key in zip(ends, keys, strict=True):
            _draw(axes, y, by_key.get(key), looks.get(key[1]), key[0], column)
        model_axis(axes, names, ends, named=i == 0 or not beside)
        axes.set_xlabel(axis_label(*column))
        axes.margins(x=0.08)
    return figure


def row_ends(names: Sequence[str]) -> list[float]:
    """The middle of each name's row, downwards, a row as high as its lines."""
    centres, top = [], 0.0
    for name in names:
        height = max(1.3, lines_of(name))
        centres.append(top + height / 2)
        top += height
    return centres


def model_axis(axes: Axes, names: Sequence[str], centres: Sequence[float], *, named: bool = True) -> None:
    """Names of models down the left, the first above."""
    axes.set_yticks(centres, [shown(name) for name in names] if named else [""] * len(names))
    last = centres[-1] + max(1.3, lines_of(names[-1])) / 2
    axes.set_ylim(last + 0.25, -0.25)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def axis_label(metric: str, unit: str | None) -> str:
    """`DSC (%), higher is better`."""
    lower = any(d.name == metric and not d.higher_is_better for d in DEFINITIONS.values())
    return f"{heading(metric, unit)}, {'lower' if lower else 'higher'} is better"


def _fits(row: Row, column: Column) -> bool:
    return row.unit == column[1] or (row.source == "reported" and row.unit is None)


def _draw(axes: Axes, y: float, row: Row | None, look: Look | None, source: str, column: Column) -> None:
    scale, _ = scale_of(column[1])
    if source == "reported":
        if row is not None and row.mean is not None and row.unit is not None:
            axes.plot([row.mean * scale], [y], "*", color=GREY, markersize=7, markeredgewidth=0)
        else:
            word = "not reported" if row is None else "another quantity"
            axes.text(0.5, y, word, transform=axes.get_yaxis_transform(), ha="center", va="center", color=GREY, size=6)
        return
    if row is None or row.mean is None or look is None:
        axes.text(0.5, y, "n/a", transform=axes.get_yaxis_transform(), ha="center", va="center", color=GREY)
        return
    mean, whole = row.mean * scale, row.ci_low is not None and row.ci_high is not None
    if row.ci_low is not None and row.ci_high is not None:
        axes.plot([row.ci_low * scale, row.ci_high * scale], [y, y], "-", color=look.colour, marker="|", markersize=5)
    axes.plot(
        [mean], [y], look.marker, color=look.colour, markerfacecolor=look.colour if whole else "white", markersize=5
    )


def _caption(group: FigureData, columns: Sequence[Column]) -> str:
    rows = [row for row in group.rows if (row.metric, row.unit) in columns and row.source == "measured"]
    ids = ", ".join(f"{row.metric} {row.definition}" for row in {row.definition: row for row in rows}.values())
    n_cases = counted([row.n_cases or 0 for row in rows], "case")
    parts = [
        f"Mean and 95 % interval for training seeds and test cases drawn anew: {ids}; "
        f"{counted([row.n_seeds or 0 for row in rows], 'seed')}, {n_cases}"
    ]
    if any(row.interval == "cases" for row in rows):
        parts.append("With one seed the interval holds the spread over cases alone")
    hollow = dict.fromkeys(row.model for row in rows if row.mean is not None and row.ci_low is None)
    if hollow:
        parts.append(f"Hollow, without an interval in at least one panel: {', '.join(hollow)}")
    if absent := dict.fromkeys(f"{row.metric} of {row.model}" for row in rows if row.mean is None):
        parts.append(f"n/a, undefined: {', '.join(absent)}")
    if any(row.source == "reported" for row in group.rows):
        parts.append("Stars: as published, interval unknown")
        if "HD95" in group.task.panels:
            parts.append("The published HD95 is another quantity and is not drawn (docs/emulators.md)")
    if any(row.n_missed for row in rows):
        kept = "the image diagonal" if group.missed == "diagonal" else "left out"
        parts.append(f"Over images with a lesion; a missed lesion has DSC 0, and its distances are {kept}")
    return sentence(*parts)
