"""Intervals, comparisons and rankings. Never imports torch."""

from usfm_bench.stats.compare import Comparison, compare, holm
from usfm_bench.stats.components import Components, variance_components
from usfm_bench.stats.contributions import Contributions, class_contributions
from usfm_bench.stats.intervals import (
    Interval,
    case_scores,
    classification_interval,
    crossed_interval,
    jackknife_interval,
)
from usfm_bench.stats.ranking import Ranked, Ranking, Scored, rank_models

__all__ = [
    "Comparison",
    "Components",
    "Contributions",
    "Interval",
    "Ranked",
    "Ranking",
    "Scored",
    "case_scores",
    "class_contributions",
    "classification_interval",
    "compare",
    "crossed_interval",
    "holm",
    "jackknife_interval",
    "rank_models",
    "variance_components",
]
