"""How every figure looks: fonts, sizes, colours, names. No global state: settings hold inside `styled` alone."""

from __future__ import annotations

import functools
import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, ParamSpec, TypeVar
from unicodedata import east_asian_width

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from usfm_bench.reporting.figures.fonts import OWN

COLUMN, PAGE = 85.0, 180.0
"""Widths of a figure in a printed column and across a page, in millimetres. Text has the same size in both."""
_INCH = 25.4
_CHARACTER = 1.45  # millimetres of a character of the 7 pt font, on average
_SETTINGS: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "hatch.linewidth": 0.4,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "savefig.dpi": 300,
    "svg.fonttype": "path",  # looks alike everywhere, and no name is ever markup
    "svg.hashsalt": "usfm-bench",
    "text.parse_math": False,  # a `$` in a name is a dollar
    "path.simplify": True,
}
# Okabe and Ito (2008) without yellow, which is lost on white. 7, 8 and 4 have no common factor between colour and
# marker or line, so that models that share a colour differ in both.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
HUES = ("#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#F0E442", "#D55E00", "#0072B2")
"""Of structures, in the order of the data set's entry, in figures and on the page: Okabe and Ito's, first those that
are told apart on grey images and on white."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
Dashes = tuple[float, tuple[float, ...]]
_LINES: tuple[Dashes, ...] = ((0, ()), (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
GREY = "#6E6E6E"
MANY = 200
"""Dots of a model above which they are pixels in an SVG too."""
# What a user's own matplotlibrc must not change.
_RESET = frozenset(
    {
        *("axes", "contour", "errorbar", "figure", "font", "grid", "hatch", "image", "legend", "lines", "markers"),
        *("patch", "path", "savefig", "scatter", "svg", "text", "xaxis", "xtick", "yaxis", "ytick"),
    }
)
P = ParamSpec("P")
T = TypeVar("T")


class Look(NamedTuple):
    """How a model is drawn everywhere: told apart by colour, and in grey print by marker and line."""

    colour: str
    marker: str
    line: Dashes


def looks_of(models: Sequence[str]) -> dict[str, Look]:
    """One look a model, by its place in the report."""
    return {
        name: Look(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)], _LINES[i % len(_LINES)])
        for i, name in enumerate(dict.fromkeys(models))
    }


def hues_of(structures: Sequence[str]) -> list[str]:
    """One colour a structure."""
    return [HUES[i % len(HUES)] for i in range(len(structures))]


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults and this module's settings, whatever the user's own are; put back afterwards."""
    with mpl.rc_context(), warnings.catch_warnings():
        # `set_fonts` says so, once.
        warnings.filterwarnings("ignore", r"Glyph .* missing from (current )?font", UserWarning)
        settings: Any = {key: value for key, value in mpl.rcParamsDefault.items() if key.split(".")[0] in _RESET}
        mpl.rcParams.update(settings | _SETTINGS | {"font.family": OWN})
        yield


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Run a function that draws under `style`."""

    @functools.wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        with style():
            return draw(*args, **kwargs)

    return inside


def new_figure(width: float, height: float) -> Figure:
    """A figure of a size in millimetres."""
    return Figure(figsize=(width / _INCH, height / _INCH), layout="constrained")


def panels(n: int, width: float, *, least: float, height: float, most: float = COLUMN) -> tuple[Figure, list[Axes]]:
    """A figure with n axes in rows.

    Args:
        n: number of panels.
        width: of the page, in millimetres; fewer panels than fit make the figure narrower.
        least: width of a panel, in millimetres.
        height: of a panel and its share of the legend, in millimetres.
        most: width of a panel where there is room, in millimetres.
    """
    columns = min(n, max(1, int(width // least)))
    rows = math.ceil(n / columns)
    figure = new_figure(min(width, columns * most), rows * height)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(n)]
    return figure, axes


def shown(name: str, width: int = 26) -> str:
    r"""A name as lines of at most `width` characters, fewer where they are wide; nothing is cut off.

    >>> shown("one two", 5)
    'one\ntwo'
    """
    # Control characters have no glyph.
    text = "".join(c if c.isprintable() else " " for c in name)
    wide = sum(c.isupper() or east_asian_width(c) in "WF" for c in text) / max(1, len(text))
    return "\n".join(textwrap.wrap(text, max(1, int(width / (1 + 0.6 * wide))))) or " "


def lines_of(name: str, width: int = 26) -> int:
    """Number of lines that `shown` makes."""
    return shown(name, width).count("\n") + 1


def opacity(n: int) -> float:
    """Of one of n dots, so that many do not make one dark patch."""
    return max(0.12, min(0.6, 60 / max(1, n)))


class Block(NamedTuple):
    """Panels that share a legend."""

    axes: list[Axes]
    legend: Callable[[Sequence[Line2D]], Legend]
    """Puts the handles' legend under the panels."""


def blocks(
    labels: Sequence[Sequence[str]],
    n_axes: int,
    width: float,
    *,
    least: float,
    most: float,
    height: float | None = None,
) -> tuple[Figure, list[Block]]:
    """A figure of blocks in rows, each with its panels beside or above each other and its own legend below.

    Args:
        labels: of the legend of each block, as lines.
        n_axes: panels of a block.
        width: of the page, in millimetres.
        least: width of a panel, in millimetres.
        most: width of a panel where there is room, in millimetres.
        height: of a panel, in millimetres; None: about square.
    """
    across = min(n_axes, max(1, int(width // least)))
    columns = min(len(labels), max(1, int(width // (across * least))))
    rows, panel = math.ceil(len(labels) / columns), min(most, width / columns / across)
    legend_columns, legend_height = _legend_size(
        [text for each in labels for text in each], max(map(len, labels)), panel * across
    )
    whole = (panel + 4 if height is None else height) * math.ceil(n_axes / across) + legend_height
    figure = new_figure(panel * across * columns, whole * rows)
    # An array of one dimension or two, or a single one.
    parts: Any = figure.subfigures(rows, columns)
    made = []
    for part in np.ravel(parts)[: len(labels)]:
        axes = list(np.ravel(part.subplots(math.ceil(n_axes / across), across)))
        made.append(Block(axes, functools.partial(_legend, part, legend_columns)))
    return figure, made


def _legend(part: SubFigure, columns: int, handles: Sequence[Line2D]) -> Legend:
    return part.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def _legend_size(labels: Sequence[str], most_entries: int, width: float) -> tuple[int, float]:
    """Columns, and height in millimetres, of a legend of up to so many of the labels."""
    lines = [label.split("\n") for label in labels]
    longest = max(len(line) for each in lines for line in each)
    columns = int(max(1, min(most_entries, width // (longest * _CHARACTER + 12))))
    return columns, 4 + 3.6 * math.ceil(most_entries / columns) * max(map(len, lines))


def legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """A legend under all panels, in as many columns as fit; the figure grows by its height."""
    width, height = (size * _INCH for size in figure.get_size_inches())
    columns, more = _legend_size([str(handle.get_label()) for handle in handles], len(handles), width)
    figure.set_size_inches(width / _INCH, (height + more) / _INCH)
    figure.legend(handles=list(handles), loc="outside lower center", ncols=columns)


def blank(text: str, width: float) -> Figure:
    """A figure that says why there is none."""
    return _blank(text, min(width, COLUMN))


@styled
def _blank(text: str, width: float) -> Figure:
    words = shown(text, int(width / _CHARACTER * 0.9))
    figure = new_figure(width, 12 + 4 * words.count("\n"))
    figure.text(0.5, 0.5, words, ha="center", va="center", color=GREY)
    return figure
