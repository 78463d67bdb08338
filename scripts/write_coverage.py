"""Simulate how often intervals hold the truth over a grid of designs, and write docs/coverage.md: `make coverage`."""

from __future__ import annotations

import csv
import io
import sys
import time
from pathlib import Path

import numpy as np

from usfm_bench.core.files import write_text
from usfm_bench.stats.design import Assumptions, simulate
from usfm_bench.stats.design.grid import FILE, GridCell, designs

PROJECT = Path(__file__).parents[1]
TABLE = PROJECT / "benchmark" / "usfm_bench" / "stats" / "design" / FILE
DRAWS = 400


def write_table(draws: int) -> None:
    """A line for each metric of each design of the grid."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(GridCell._fields)
    start = time.monotonic()
    for k, (size, prevalence, design) in enumerate(designs()):
        for row in simulate(design, Assumptions(), draws, np.random.default_rng([k]), compared=0):
            ends = ("" if value is None else f"{value:.4f}" for value in (row.coverage, row.width))
            writer.writerow((row.metric, design.seeds, design.cases, size, prevalence, *ends, draws))
        print(f"{k + 1}: {design}, {time.monotonic() - start:.0f} s", flush=True)
    write_text(TABLE, stream.getvalue())


if __name__ == "__main__":
    if "--page-only" not in sys.argv:
        write_table(DRAWS)
