"""Coverage over a grid of designs, kept beside the code: `scripts/write_coverage.py` simulates it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from itertools import product
from typing import NamedTuple

from usfm_bench.stats.design.model import Design

SEEDS = (1, 2, 3, 5)
CASES = (40, 80, 160, 400)
CASES_A_GROUP = (1, 2, 5)
PREVALENCES = (0.1, 0.3, 0.5)
FILE = "coverage.csv"
OF_MASKS = ("DSC", "HD95")
ENOUGH = 0.93
"""Coverage of nominal 95 % below which reports and `usfm-bench design` print a warning with the number."""


class GridCell(NamedTuple):
    """One metric of one design."""

    metric: str
    seeds: int
    cases: int
    cases_a_group: int
    """On average."""
    prevalence: float
    """Share of positive cases."""
    coverage: float | None
    """None where no study gave an interval."""
    width: float | None
    draws: int


def designs() -> Iterator[tuple[int, float, Design]]:
    """Cases a group, prevalence, and the design."""
    for seeds, cases, size, prevalence in product(SEEDS, CASES, CASES_A_GROUP, PREVALENCES):
        yield size, prevalence, Design(cases, seeds, cases // size, round(cases * prevalence))


@cache
def load_grid() -> tuple[GridCell, ...]:
    """The simulated cells, a line each."""
    text = files("usfm_bench.stats.design").joinpath(FILE).read_text(encoding="utf-8")
    return tuple(
        GridCell(
            metric=line["metric"],
            seeds=int(line["seeds"]),
            cases=int(line["cases"]),
            cases_a_group=int(line["cases_a_group"]),
            prevalence=float(line["prevalence"]),
            coverage=float(line["coverage"]) if line["coverage"] else None,
            width=float(line["width"]) if line["width"] else None,
            draws=int(line["draws"]),
        )
        for line in csv.DictReader(io.StringIO(text))
    )


@cache
def _coverages() -> dict[tuple[str, int, int, int, float | None], float]:
    """Metric, seeds, cases, cases a group and prevalence -> coverage; of masks over all prevalences together."""
    found: dict[tuple[str, int, int, int, float | None], list[float]] = {}
    for cell in load_grid():
        if cell.coverage is not None:
            key = (*cell[:4], None if cell.metric in OF_MASKS else cell.prevalence)
            found.setdefault(key, []).append(cell.coverage)
    return {key: sum(values) / len(values) for key, values in found.items()}


def nearest_coverage(metric: str, design: Design) -> float | None:
    """Coverage of a metric's interval in the grid's design that is nearest; None where that has no interval.

    Args:
        metric: of the grid.
        design: of classes, `positives` are the cases of the rarest one.
    """
    seeds, cases, size, prevalence = nearest_cell(design)
    return _coverages().get((metric, seeds, cases, size, None if metric in OF_MASKS else prevalence))


def nearest_cell(design: Design) -> tuple[int, int, int, float]:
    """Seeds, cases, cases a group and prevalence of the grid's design that is nearest, by ratios."""
    prevalence = (design.positives or 0) / design.cases
    return (
        _nearest(design.seeds, SEEDS),
        _nearest(design.cases, CASES),
        _nearest(design.cases / design.groups, CASES_A_GROUP),
        min(PREVALENCES, key=lambda p: abs(p - prevalence)),
    )


def _nearest(value: float, values: tuple[int, ...]) -> int:
    return min(values, key=lambda v: abs(math.log(v / value)))
