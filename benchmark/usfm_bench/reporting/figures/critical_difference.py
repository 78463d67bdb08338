"""Mean ranks on a line, models that Nemenyi's test cannot tell apart joined by a bar: Demsar (2006), JMLR 7:1-30."""

from __future__ import annotations

import textwrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from usfm_bench.core.errors import BenchError
from usfm_bench.stats.ranking import ALPHA, Ranking

_BAR, _CD, _INK = "#0072B2", "#D55E00", "0.25"  # blue and vermilion of Okabe and Ito, which differ in grey too
_ROW, _LETTER = 0.24, 0.075  # inches: the height of a line of text and the width of its letters
_PLAIN: dict[str, Any] = {"parse_math": False}  # a name is text, whatever dollar signs are in it


def critical_difference(ranking: Ranking, title: str) -> Figure:
    """A critical-difference diagram of the models that have every data set, with what it rests on below it.

    Raises:
        BenchError: Friedman's test does not apply: fewer than 3 models with every data set, or 1 data set.
    """
    means = {row.model: row.mean_rank for row in ranking.models if row.mean_rank is not None}
    if ranking.critical_difference is None:
        raise BenchError(
            "A critical-difference diagram needs 3 models that have every data set, and 2 data sets; "
            f"here are {len(means)} and {len(ranking.datasets)}."
        )
    width = 4.5 + _LETTER * 2 * max(map(len, means))
    caption = textwrap.fill(_caption(ranking, len(means)), int(1.15 * width / _LETTER))
    figure = Figure(figsize=(width, 1), layout="constrained")
    axis = figure.subplots()
    lowest = _draw(axis, ranking, means)
    _draw_scale(axis, len(means), ranking.critical_difference)
    axis.set_ylim(lowest - 0.6, 2.4)
    axis.set_title(title, fontsize=11, **_PLAIN)
    figure.supxlabel(caption, x=0.02, ha="left", fontsize=8, color=_INK, **_PLAIN)
    figure.set_figheight(_ROW * (4.5 - lowest + 0.7 * (1 + caption.count("\n"))))
    return figure


def _draw(axis: Axes, ranking: Ranking, means: dict[str, float]) -> float:
    """Models and bars; returns the height of the lowest name, in lines below the scale."""
    from pandas import DataFrame
    from scikit_posthocs import critical_difference_diagram  # here, since it takes a second to import

    drawn = critical_difference_diagram(
        means,
        DataFrame(ranking.nemenyi, index=list(means), columns=list(means)),
        alpha=ALPHA,
        ax=axis,
        label_fmt_left="{label}  {rank:.2f} ",
        label_fmt_right=" {rank:.2f}  {label}",
        label_props={"fontsize": 9, **_PLAIN},
        elbow_props={"color": _INK, "linewidth": 0.9},
        marker_props={"s": 14},
        crossbar_props={"color": _BAR, "linewidth": 3.5, "solid_capstyle": "round"},
        text_h_margin=_margin(len(means)),
    )
    return min(float(label.get_position()[1]) for label in drawn["labels"])


def _draw_scale(axis: Axes, n_models: int, difference: float) -> None:
    """The scale from 1 to the number of models, and above it the critical difference, which may be longer."""
    margin = _margin(n_models)
    axis.set_xlim(1 - margin, max(n_models, 1 + difference) + margin)
    axis.set_xticks(range(1, n_models + 1))
    axis.tick_params(axis="x", labelsize=9)
    axis.spines["top"].set_bounds(1, n_models)
    axis.plot([1, 1 + difference], [1.5, 1.5], color=_CD, linewidth=2, marker="|", markersize=7, clip_on=False)
    axis.text(1 + difference / 2, 1.65, f"CD {difference:.2f}", ha="center", va="bottom", fontsize=8, color=_CD)


def _margin(n_models: int) -> float:
    """Ranks between an end of the scale and the names beside it."""
    return 0.03 * n_models


def _caption(ranking: Ranking, n_models: int) -> str:
    p = ranking.friedman_p or 0.0
    parts = [
        f"Mean rank of {n_models} models over {len(ranking.datasets)} data sets, 1 is the best.",
        f"Friedman p {'< 0.001' if p < 0.001 else f'= {p:.3f}'} (by permutation)"
        + (", which finds no difference between the models." if p >= ALPHA else "."),
        f"A bar joins models whose mean ranks differ by less than the critical difference (CD) "
        f"{ranking.critical_difference:.2f} (Nemenyi, 5\u00a0%).",
    ]
    gaps = [f"{row.model} ({', '.join(row.missing)})" for row in ranking.models if row.missing]
    return " ".join([*parts, *([f"Not ranked, for want of data sets: {'; '.join(gaps)}."] if gaps else [])])
