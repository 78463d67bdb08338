"""A report's figures as images inside the page, where nothing in them can run."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.figure import Figure

from usfm_bench.reporting.figures.draw import draw_all, rendered
from usfm_bench.reporting.report import Report
from usfm_bench.results.store import Store

_ENLARGED = 1.25  # figures are made for paper; a screen is read from further away
_CSS_INCH = 96


class Plot(NamedTuple):
    """A figure on the page."""

    title: str
    caption: str
    source: str
    """Data URI of an SVG."""
    width: int
    """In CSS pixels."""
    height: int


def plots_of(report: Report, store: Store) -> Iterator[Plot]:
    """Every figure but case sheets, whose place the case browser takes, and ranks, which stand by their tables."""
    for named in draw_all(report, store, sheets=False, ranks=False):
        yield plot_of(named.title, named.caption, named.figure)


def plot_of(title: str, caption: str, figure: Figure) -> Plot:
    """A figure as an image that the page holds."""
    source = base64.b64encode(rendered(figure, "svg")).decode()
    width, height = figure.get_size_inches() * _CSS_INCH * _ENLARGED
    return Plot(title, caption, f"data:image/svg+xml;base64,{source}", round(width), round(height))
