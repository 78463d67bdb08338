"""What encoders learn from images alone, one file a method. Importing it registers the shipped ones; without torch."""

from usfm_bench.pretraining.methods import beit, dino, frequency, mae, mocov3, simclr, simmim, spatial, usfm

__all__ = ["beit", "dino", "frequency", "mae", "mocov3", "simclr", "simmim", "spatial", "usfm"]
