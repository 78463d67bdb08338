"""A report's figures as images inside the page, where nothing in them can run."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import NamedTuple

from matplotlib.figure import Figure

from usfm_bench.core.errors import BenchError
from usfm_bench.reporting.figures.critical_difference import critical_difference
from usfm_bench.reporting.figures.draw import draw_all, rendered
from usfm_bench.reporting.rankings import TableRanking
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.statistics import ranking_title
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
        yield _plot(named.title, named.caption, named.figure)


def diagram_of(ranking: TableRanking) -> Plot | None:
    """The critical-difference diagram, where Friedman's test applies; its caption is in the figure."""
    try:
        figure = critical_difference(ranking.ranking, ranking_title(ranking))
    except BenchError:
        return None
    return _plot(f"Critical differences: {ranking_title(ranking)}", "", figure)


def _plot(title: str, caption: str, figure: Figure) -> Plot:
    source = base64.b64encode(rendered(figure, "svg")).decode()
    width, height = figure.get_size_inches() * _CSS_INCH * _ENLARGED
    return Plot(title, caption, f"data:image/svg+xml;base64,{source}", round(width), round(height))
