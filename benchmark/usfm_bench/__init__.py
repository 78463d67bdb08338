"""usfm-bench: an honest benchmark of ultrasound foundation models."""

from typing import Any

__version__ = "0.2.0"
__all__ = ["benchmark"]


def __getattr__(name: str) -> Any:
    """`usfm_bench.benchmark`, imported when it is used: the command needs neither torch nor pandas to start."""
    if name == "benchmark":
        from usfm_bench.api import benchmark

        return benchmark
    raise AttributeError(f"module 'usfm_bench' has no attribute '{name}'")
