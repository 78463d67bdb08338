"""Finished trials and the paper's rows as tables. Never imports torch."""

from usfm_bench.reporting.formats import render, render_scores
from usfm_bench.reporting.report import Report, build_report

__all__ = ["Report", "build_report", "render", "render_scores"]
