"""The command line: one small file a command group. Importing this package imports neither torch nor pandas."""

from usfm_bench.cli.app import main

__all__ = ["main"]
