"""Plots of a report, drawn from what finished trials keep on disk. Never imports torch or pyplot."""

from usfm_bench.reporting.figures.draw import draw_all, write_figures
from usfm_bench.reporting.figures.group import NamedFigure

__all__ = ["NamedFigure", "draw_all", "write_figures"]
