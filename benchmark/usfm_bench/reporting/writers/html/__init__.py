"""A report as one page that opens from disk: tables, plots, every case, and where each number comes from."""

from usfm_bench.reporting.writers.html.page import write_html

__all__ = ["write_html"]
