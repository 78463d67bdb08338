"""Scores against the images that pre-training saw."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from usfm_bench.core.words import heading, scale_of
from usfm_bench.reporting.figures.style import GREY, PAGE, Dashes, Look, legend_below, looks_of, panels, styled
from usfm_bench.reporting.pretrainings import Judged

_UNTRAINED: tuple[Dashes, ...] = ((0, (4, 2)), (0, (1, 2)), (0, (4, 2, 1, 2)))


@styled
def curves(rows: Sequence[Judged]) -> Figure:
    """A panel for each adaptation and metric: one line a method, random weights of its encoder level and dashed.

    Args:
        rows: of one data set.
    """
    places = list(dict.fromkeys((row.adaptation, row.definition) for row in rows))
    trained = [row for row in rows if not row.untrained]
    looks = looks_of([row.method for row in trained])
    figure, axes = panels(len(places), PAGE, least=56, height=52)
    for axis, place in zip(axes, places, strict=True):
        _panel(axis, [row for row in rows if (row.adaptation, row.definition) == place], looks)
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=name)
        for name, look in looks.items()
    ]
    encoders = dict.fromkeys(row.encoder for row in rows if row.untrained)
    for encoder, line in zip(encoders, _UNTRAINED, strict=False):
        handles.append(Line2D([], [], color=GREY, linestyle=line, label=f"random weights, {encoder}"))
    legend_below(figure, handles)
    return figure


def _panel(axis: Axes, rows: Sequence[Judged], looks: dict[str, Look]) -> None:
    scale = scale_of(rows[0].unit)[0]
    for number, method in enumerate(looks):
        own = sorted((r for r in rows if r.method == method and not r.untrained), key=lambda r: r.images_seen)
        if not own:
            continue
        look = looks[method]
        # Methods at the same images would hide each other's intervals.
        seen = [row.images_seen * 1.03**number for row in own]
        means = [scale * row.mean.point for row in own]
        axis.plot(seen, means, color=look.colour, marker=look.marker, linestyle=look.line)
        for x, row in zip(seen, own, strict=True):
            if row.mean.low is not None and row.mean.high is not None:
                axis.plot([x, x], [scale * row.mean.low, scale * row.mean.high], color=look.colour, linewidth=0.6)
    untrained = {row.encoder: row for row in rows if row.untrained}
    for row, line in zip(untrained.values(), _UNTRAINED, strict=False):
        axis.axhline(scale * row.mean.point, color=GREY, linestyle=line)
    axis.set_xscale("log", base=2)
    axis.set_xlabel("images seen in pre-training")
    axis.set_ylabel(f"{heading(rows[0].metric, rows[0].unit)}, {rows[0].adaptation}")
