"""Metrics with versioned definitions. Never imports torch."""

from usfm_bench.metrics.segmentation import dice, hd95, score_segmentation

__all__ = ["dice", "hd95", "score_segmentation"]
