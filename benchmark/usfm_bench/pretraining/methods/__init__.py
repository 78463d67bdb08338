"""What encoders learn from images alone, one file a method. Importing it registers the shipped ones; without torch."""

from usfm_bench.pretraining.methods import frequency, spatial, usfm

__all__ = ["frequency", "spatial", "usfm"]
