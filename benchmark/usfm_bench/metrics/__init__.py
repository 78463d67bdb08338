"""Metrics with versioned definitions. Never imports torch."""

from usfm_bench.metrics import classification, emulators, enhancement, structures, tuned
from usfm_bench.metrics.definitions import DEFINITIONS, Definition, find_definitions
from usfm_bench.metrics.segmentation import dice, hd95, score_segmentation

__all__ = [
    "DEFINITIONS",
    "Definition",
    "classification",
    "dice",
    "emulators",
    "enhancement",
    "find_definitions",
    "hd95",
    "score_segmentation",
    "structures",
    "tuned",
]
