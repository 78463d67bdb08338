"""Intervals and comparisons. Never imports torch."""

from usfm_bench.stats.compare import Comparison, compare, holm
from usfm_bench.stats.components import Components, variance_components
from usfm_bench.stats.intervals import (
    Interval,
    case_scores,
    classification_interval,
    crossed_interval,
    jackknife_interval,
)

__all__ = [
    "Comparison",
    "Components",
    "Interval",
    "case_scores",
    "classification_interval",
    "compare",
    "crossed_interval",
    "holm",
    "jackknife_interval",
    "variance_components",
]
