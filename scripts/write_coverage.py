"""Simulate how often intervals hold the truth over a grid of designs, and write docs/coverage.md: `make coverage`."""

# ruff: noqa: E501 - the page has lines of its own
from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from usfm_bench.core.files import write_text
from usfm_bench.core.pipe_table import pipe_table
from usfm_bench.reporting.figures.coverage import write_coverage
from usfm_bench.stats.design import Assumptions, simulate
from usfm_bench.stats.design.grid import FILE, GridCell, designs, load_grid

PROJECT = Path(__file__).parents[1]
TABLE = PROJECT / "benchmark" / "usfm_bench" / "stats" / "design" / FILE
PAGE, PICTURE = PROJECT / "docs" / "coverage.md", PROJECT / "docs" / "coverage.png"
DRAWS, LEAST = 200, 0.93
PAGE_TEXT = """# What a design will tell

    usfm-bench design --cases 120 --positives 14 --seeds 3 --groups 60

says, before anything is trained, how wide the intervals of such a study will be, how often they will hold the
truth, and what difference between two models it would find. It draws studies from a simple model (quality of each case
normal; seeds, groups, cases and models share what the options say) and sends them through the code that reports use. `--picture FILE.png`
marks the nearest design in the picture below. Coverage well above 95 % is the price of intervals that still hold for rare
classes.

The grid: 1, 2, 3 and 5 seeds; 40, 80, 160 and 400 cases; 1, 2 and 5 cases a group; 10, 30 and 50 % positive; {draws} studies a
design, of BRIER 400 (Monte-Carlo error {error:.1f} points at 95 %); sensitivity 80 %, specificity 90 %, DSC 80 % with a spread of 15 %, 2 %
of the lesions missed. Written by `make coverage`.

{table}

Of so many draws a coverage below 93 % is mostly chance: a cell counts as *surely* below where it is by more than two Monte-Carlo
errors. One seed stands apart: its interval is of that one network, over cases alone, and coverage here is of the mean over
trainings, of which it does not say anything; how far that is off depends on the spread between trainings, which is 1 point here.
IOU, ASSD, NSD, and metrics of enhanced images are means over cases, with the interval of DSC; averages over classes have the
intervals of macro F1 and BACC.

F1, PREC, AUPRC and ECE hold the truth more often than they need to; `docs/intervals.md` says why. BRIER is a mean of few large and
many small values: its ends lie on the logarithmic scale, without which 31 designs were below 93 %, the worst at 86.5 %. Reports and
`usfm-bench design` print a warning with the number where a design like theirs is below 93 % here.

HD95 counts a missed lesion with the diagonal of the image, which few cases hold and many studies do not see: its intervals
cover least. Reports warn wherever a network misses fewer than 8 lesions (or groups of them) on average, or none, with what
intervals cover then (`docs/intervals.md`).

![Coverage of each interval by design](coverage.png)
"""


def write_table(draws: int, metrics: Collection[str] | None = None) -> None:
    """A line for each metric of each design of the grid; with some metrics alone, the others keep their lines."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(GridCell._fields)
    start = time.monotonic()
    for k, (size, prevalence, design) in enumerate(designs()):
        place = design.seeds, design.cases, size, prevalence
        kept = [c for c in load_grid() if c[1:5] == place] if metrics else []
        found = simulate(design, Assumptions(), draws, np.random.default_rng([k]), compared=0, metrics=metrics)
        fresh = {row.metric: (row.coverage, row.width, draws) for row in found}
        for name, (*values, n) in ({c.metric: c[5:] for c in kept} | fresh).items():
            writer.writerow((name, *place, *("" if value is None else f"{value:.4f}" for value in values), n))
        print(f"{k + 1}: {design}, {time.monotonic() - start:.0f} s", flush=True)
    write_text(TABLE, stream.getvalue())


def surely_below(coverage: float, draws: int) -> bool:
    """Whether it is below 93 % by more than two Monte-Carlo errors."""
    return coverage + 2 * (coverage * (1 - coverage) / draws) ** 0.5 < LEAST


def write_page() -> None:
    """docs/coverage.md, and its picture."""
    load_grid.cache_clear()
    cells = load_grid()
    draws = cells[0].draws
    body = []
    for metric in dict.fromkeys(cell.metric for cell in cells):
        own = [cell for cell in cells if cell.metric == metric]
        draws = own[0].draws
        known = [(cell.coverage, cell) for cell in own if cell.coverage is not None and cell.seeds > 1]
        alone = [cell.coverage for cell in own if cell.coverage is not None and cell.seeds == 1]
        worst = min(known, key=lambda pair: pair[0])[1]
        tests = (lambda v: v < LEAST, lambda v, n=draws: surely_below(v, n), lambda v: v > 0.98)
        low, surely, high = (str(sum(test(value) for value, _ in known)) for test in tests)
        several = [cell for cell in own if cell.seeds > 1]
        where = (
            f"{worst.seeds} seeds, {worst.cases} cases, {worst.cases_a_group} a group, {worst.prevalence:.0%} positive"
        )
        coverage = f"{100 * (worst.coverage or 0):.1f} %"
        of_one = f"{sum(surely_below(v, draws) for v in alone)} of {len(alone)}, worst {100 * min(alone):.1f} %"
        none = str(len(several) - len(known))
        body.append([metric, str(len(several)), low, surely, high, none, coverage, where, of_one])
    header = ["Metric", "Designs", "Below 93 %", "Surely", "Above 98 %", "No interval", "Worst", "There"]
    header.append("One seed: surely below 93 %")
    table = "\n".join(pipe_table(header, body, {"Metric", "There"}))
    write_text(
        PAGE, PAGE_TEXT.format(draws=cells[0].draws, error=100 * (0.95 * 0.05 / cells[0].draws) ** 0.5, table=table)
    )
    write_coverage(PICTURE)
    with Image.open(PICTURE) as picture:  # few colours, and so a third of the bytes
        few = picture.convert("RGB").quantize(48)
    few.save(PICTURE, optimize=True)


if __name__ == "__main__":
    # `--metrics BRIER,DSC --draws 400` simulates these anew, and the others keep their lines.
    options = dict(pairwise(sys.argv[1:]))
    if "--page-only" not in sys.argv:
        names = options.get("--metrics")
        write_table(int(options.get("--draws", DRAWS)), names.split(",") if names else None)
    write_page()
