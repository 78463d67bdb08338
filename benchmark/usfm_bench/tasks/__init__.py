"""What networks are asked to do, one file a task. Importing it registers the shipped ones; torch is not imported."""

from usfm_bench.tasks import classification, enhancement, segmentation

__all__ = ["classification", "enhancement", "segmentation"]
