"""usfm-bench: an honest benchmark of ultrasound foundation models."""

__version__ = "0.1.0"
