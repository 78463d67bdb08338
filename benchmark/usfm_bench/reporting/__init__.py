"""Finished trials and the paper's rows as tables. Never imports torch."""

from usfm_bench.reporting.report import Report, build_report
from usfm_bench.reporting.writers import render
from usfm_bench.reporting.writers.scores import render_scores

__all__ = ["Report", "build_report", "render", "render_scores"]
