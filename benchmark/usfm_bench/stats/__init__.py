"""Intervals and comparisons. Never imports torch."""

from usfm_bench.stats.intervals import (
    Interval,
    case_scores,
    classification_interval,
    crossed_interval,
    jackknife_interval,
)

__all__ = ["Interval", "case_scores", "classification_interval", "crossed_interval", "jackknife_interval"]
