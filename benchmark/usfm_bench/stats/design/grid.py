"""Coverage over a grid of designs, kept beside the code: `scripts/write_coverage.py` simulates it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from importlib.resources import files
from itertools import product
from typing import NamedTuple

from usfm_bench.stats.design.model import Design

SEEDS = (1, 2, 3, 5)
CASES = (40, 80, 160, 400)
CASES_A_GROUP = (1, 2, 5)
PREVALENCES = (0.1, 0.3, 0.5)
FILE = "coverage.csv"


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


def load_grid() -> list[GridCell]:
    """The simulated cells, a line each."""
    text = files("usfm_bench.stats.design").joinpath(FILE).read_text(encoding="utf-8")
    return [
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
    ]


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
