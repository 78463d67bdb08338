"""Intervals, comparisons and rankings. Never imports torch."""

from usfm_bench.stats.compare import Comparison, compare, holm
from usfm_bench.stats.components import Components, variance_components
from usfm_bench.stats.contributions import Contributions, class_contributions
from usfm_bench.stats.intervals import Interval, crossed_interval
from usfm_bench.stats.jackknife import jackknife_interval
from usfm_bench.stats.of_classes import case_scores, classification_interval
from usfm_bench.stats.ranking import Ranked, Ranking, Scored, rank_models
from usfm_bench.stats.reweighted import at_prevalence, reweighted_contributions, reweighted_interval

__all__ = [
    "Comparison",
    "Components",
    "Contributions",
    "Interval",
    "Ranked",
    "Ranking",
    "Scored",
    "at_prevalence",
    "case_scores",
    "class_contributions",
    "classification_interval",
    "compare",
    "crossed_interval",
    "holm",
    "jackknife_interval",
    "rank_models",
    "reweighted_contributions",
    "reweighted_interval",
    "variance_components",
]
