"""Coverage of every interval over a grid of designs, cells by colour, with a reader's own design marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from usfm_bench.core.files import write_atomic
from usfm_bench.reporting.figures.draw import rendered
from usfm_bench.reporting.figures.style import GREY, PAGE, new_figure, styled
from usfm_bench.stats.design.grid import (
    CASES,
    CASES_A_GROUP,
    PREVALENCES,
    SEEDS,
    GridCell,
    load_grid,
    nearest_cell,
)
from usfm_bench.stats.design.model import Design

Floats = NDArray[np.float64]
BANDS: Mapping[str, tuple[float, str]] = {
    "below 80 %": (0.0, "#8C2D04"),
    "80 to 90 %": (0.80, "#D95F0E"),
    "90 to 93 %": (0.90, "#FEC44F"),
    "93 to 98 %": (0.93, "#A6D8EA"),
    "above 98 %": (0.98, "#2B7BBA"),
}
"""Coverage of nominal 95 %: the least of each band, and its colour, which differ in grey print where it matters."""
_NONE = "#FFFFFF"
_COLUMNS = 3
Place = tuple[int, int, int, float]


@styled
def coverage_figure(cells: Sequence[GridCell], design: Design | None = None) -> Figure:
    """A panel for each metric: seeds and cases across, cases a group and prevalence down.

    Args:
        cells: of the grid.
        design: whose nearest cell gets a frame.
    """
    metrics = list(dict.fromkeys(cell.metric for cell in cells))
    rows = -(-len(metrics) // _COLUMNS)
    figure = new_figure(PAGE, 48 * rows + 14)
    mark = None if design is None else nearest_cell(design)
    for k, metric in enumerate(metrics):
        values: dict[Place, float | None] = {c[1:5]: c.coverage for c in cells if c.metric == metric}
        axes = figure.add_subplot(rows, _COLUMNS, k + 1)
        _panel(axes, metric, values, mark, first=k % _COLUMNS == 0)
    handles = [
        Patch(facecolor=colour, edgecolor=GREY, linewidth=0.3, label=name) for name, (_, colour) in BANDS.items()
    ]
    handles.append(Patch(facecolor=_NONE, edgecolor=GREY, linewidth=0.3, hatch="////", label="no interval"))
    if mark is not None:
        handles.append(Patch(facecolor="none", edgecolor="black", linewidth=1.6, label="nearest to the design"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handlelength=1.2, columnspacing=1.0)
    return figure


def _panel(axes: Axes, metric: str, values: Mapping[Place, float | None], mark: Place | None, *, first: bool) -> None:
    across = [(seeds, cases) for seeds in SEEDS for cases in CASES]
    down = [(size, prevalence) for size in CASES_A_GROUP for prevalence in PREVALENCES]
    picture = np.array([[values.get((*column, *row)) for column in across] for row in down], dtype=np.float64)
    colours = ListedColormap([colour for _, colour in BANDS.values()])
    limits = [least for least, _ in BANDS.values()]
    axes.grid(visible=False)
    axes.imshow(
        np.ma.masked_invalid(picture), cmap=colours, norm=BoundaryNorm([*limits, 1.0001], colours.N), aspect="auto"
    )
    for i, j in np.argwhere(np.isnan(picture)):
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=_NONE, edgecolor=GREY, linewidth=0, hatch="////"))
    for k in range(1, len(SEEDS)):
        axes.axvline(k * len(CASES) - 0.5, color="white", linewidth=2)
    for k in range(1, len(CASES_A_GROUP)):
        axes.axhline(k * len(PREVALENCES) - 0.5, color="white", linewidth=2)
    axes.set_xticks(range(len(across)), [str(cases) for _, cases in across], rotation=90)
    for k, seeds in enumerate(SEEDS):
        name = f"{seeds} seed{'s' * (seeds > 1)}"
        axes.text((k + 0.5) * len(CASES) - 0.5, -0.62, name, ha="center", va="bottom", fontsize=6, color=GREY)
    axes.set_title(metric, fontweight="bold", pad=10)
    labels = [
        f"{100 * p:g} % positive" if k % 3 else f"{size} a group, {100 * p:g} % positive"
        for k, (size, p) in enumerate(down)
    ]
    axes.set_yticks(range(len(down)), labels if first else [""] * len(down))
    axes.tick_params(length=0, labelsize=6)
    axes.set_xlabel("cases")
    if mark is not None:
        j, i = across.index(mark[:2]), down.index(mark[2:])
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6, clip_on=False))


def write_coverage(path: Path, design: Design | None = None) -> None:
    """Draw the grid that comes with the package to a .png or .svg file."""
    data = rendered(coverage_figure(load_grid(), design), path.suffix.lower().lstrip("."))
    write_atomic(path, lambda stream: stream.write(data))
