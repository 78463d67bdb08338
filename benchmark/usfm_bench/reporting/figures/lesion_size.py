"""DSC against the size of the lesion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from usfm_bench.core.errors import BenchError
from usfm_bench.core.words import counted
from usfm_bench.reporting.figures.group import (
    Bools,
    FigureData,
    Floats,
    NamedFigure,
    chunks,
    defined_cases,
    missed_lesions,
    seeds_of,
    sentence,
)
from usfm_bench.reporting.figures.style import MANY, Look, blocks, opacity, shown, styled
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.predictions import load_spacings
from usfm_bench.stats import Interval, crossed_interval

_BINS, _LEAST = 5, 8
"""Bins of equally many cases, and the fewest cases in one."""


class Sized(NamedTuple):
    """One model's lesions."""

    model: str
    size: Floats
    """(n,) pixels or square millimetres."""
    scores: Floats
    """(S, n) DSC."""
    missed: Bools
    """(n,) in at least one seed."""
    groups: list[str]
    """(n,) of cases that vary together."""


class Bin(NamedTuple):
    """Lesions of about one size."""

    size: float
    """Geometric mean."""
    interval: Interval
    """Of the mean DSC."""


def lesion_size_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure, four models a panel."""
    what = "DSC against lesion size"
    areas = _pixel_areas(group)
    lesions = [sized(r, areas) for r in group.results]
    if not any(len(each.size) for each in lesions):
        yield group.nothing("size", what, "DSC against lesion size: no test case has a lesion.")
        return
    numbers = [len(each.size) for each in lesions]
    bins = [len(bins_of(each)) for each in lesions]
    caption = sentence(
        f"One dot a case with a lesion, DSC {group.results[0].definitions['DSC']}, mean over "
        f"{seeds_of(group.results)}; {counted(numbers, 'case')}",
        f"Markers with bars: mean and 95 % interval of {counted(bins, 'bin')} with equally many cases each"
        if max(bins)
        else f"No means of bins: fewer than {2 * _LEAST} cases",
        "Crosses: lesions missed in at least one seed",
        "Size: reference mask at native size" + (", in pixels" if areas is None else ", by the spacing of each image"),
    )
    yield group.named(
        "size", what, caption, lesion_size(lesions, group.looks, group.width, "px" if areas is None else "mm²")
    )


def _pixel_areas(group: FigureData) -> dict[str, float] | None:
    """Case id -> square millimetres of a pixel; None where a spacing is unknown or nothing was kept."""
    areas: dict[str, float] = {}
    for record, folder in group.trials(group.results[0]):
        if record.spec.seed != group.results[0].seeds[0]:
            continue
        try:
            spacings = load_spacings(folder / "predictions.npz")
        except BenchError:
            return None
        areas |= {case: s.y * s.x for case, s in spacings.items() if s is not None}
    table = group.results[0].case_table
    return areas if set(table["case_id"][table["lesion"].astype(bool)]) <= areas.keys() else None


def sized(results: ModelResults, areas: Mapping[str, float] | None = None) -> Sized:
    """Lesions of a model with their sizes; `areas`: square millimetres of a pixel, by case."""
    used, table = defined_cases(results, "DSC"), results.case_table
    size = table["target_px"].to_numpy(np.float64)
    if areas is not None:
        size = size * np.array([areas.get(case, np.nan) for case in table["case_id"]])
    groups = table["group_id"].to_numpy()[used].tolist()
    return Sized(
        results.first.spec.model, size[used], results.matrix("DSC")[:, used], missed_lesions(results)[used], groups
    )


def bins_of(lesions: Sized) -> list[Bin]:
    """Means over lesions of about one size; none where there are few."""
    n = min(_BINS, len(lesions.size) // _LEAST)
    if n < 2:
        return []
    order = np.argsort(lesions.size, kind="stable")
    bins = []
    for part in np.array_split(order, n):
        interval = crossed_interval(lesions.scores[:, part], groups=[lesions.groups[i] for i in part], bounds=(0, 1))
        bins.append(Bin(float(np.exp(np.log(lesions.size[part]).mean())), interval))
    return bins


@styled
def lesion_size(lesions: Sequence[Sized], looks: Mapping[str, Look], width: float, unit: str) -> Figure:
    """Log size to the right, DSC upwards; four models a panel."""
    parts = chunks(lesions)
    names = [[shown(each.model, 40) for each in part] for part in parts]
    figure, made = blocks(names, 1, width, least=80, most=width if len(parts) == 1 else 90, height=58)
    ends = _ends(lesions)
    for block, part in zip(made, parts, strict=True):
        [axes] = block.axes
        # Bars of several models at one size would hide each other.
        shifts = [1.06 ** (i - (len(part) - 1) / 2) for i in range(len(part))]
        block.legend([_draw(axes, each, looks[each.model], shift) for each, shift in zip(part, shifts, strict=True)])
        axes.set_xscale("log")
        axes.set_xlim(*ends)
        axes.set_ylim(-4, 104)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if ends[1] / ends[0] < 300 else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.6g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"Lesion size ({unit}), logarithmic")
        axes.set_ylabel("DSC (%)")
    return figure


def _ends(lesions: Sequence[Sized]) -> tuple[float, float]:
    sizes = np.concatenate([each.size for each in lesions])
    return float(sizes.min()) / 1.2, float(sizes.max()) * 1.2


def _draw(axes: Axes, lesions: Sized, look: Look, shift: float) -> Line2D:
    means, missed = 100 * lesions.scores.mean(axis=0), lesions.missed
    dots: dict[str, Any] = {"color": look.colour, "linestyle": "none", "rasterized": len(means) > MANY}
    alpha = opacity(len(means))
    axes.plot(
        lesions.size[~missed], means[~missed], look.marker, **dots, alpha=alpha, markersize=2.5, markeredgewidth=0
    )
    axes.plot(lesions.size[missed], means[missed], "x", **dots, alpha=2 * alpha / (1 + alpha), markersize=3)
    bins = bins_of(lesions)
    size = [each.size * shift for each in bins]
    for x, each in zip(size, bins, strict=True):
        if each.interval.low is not None and each.interval.high is not None:
            ends = [100 * each.interval.low, 100 * each.interval.high]
            axes.plot([x, x], ends, "-", color=look.colour, linewidth=0.9, zorder=4)
    halo = [Stroke(linewidth=2.6, foreground="white"), Normal()]
    points = [100 * each.interval.point for each in bins]
    axes.plot(size, points, linestyle=look.line, color=look.colour, zorder=5, path_effects=halo)
    axes.plot(size, points, look.marker, color=look.colour, markeredgecolor="white", markeredgewidth=0.5, zorder=6)
    return Line2D([], [], linestyle=look.line, marker=look.marker, color=look.colour, label=shown(lesions.model, 40))
