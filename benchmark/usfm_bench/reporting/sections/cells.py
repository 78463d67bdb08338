"""Rows as the cells of a table."""

from __future__ import annotations

from usfm_bench.core.words import NONE, count, number, with_interval
from usfm_bench.reporting.rows import Row


def dataset_name(name: str, row: Row) -> str:
    """The name, and that the images are simulated where they are."""
    return f"{name} (synthetic)" if row.synthetic else name


def cell(row: Row | None) -> str:
    """`71.2 [66.0, 76.4] best` with an interval; `84.3 ± 0.17` as published; `n/a` where there is no figure."""
    if row is None:
        return ""
    if row.printed is not None:
        return row.printed
    value = with_interval(row.mean, row.ci_low, row.ci_high, row.unit)
    return f"{value} {row.standing}" if row.standing else value


def spread_cell(row: Row | None) -> str:
    """The standard deviation over cases, with one decimal; nothing where there is none."""
    return "" if row is None or row.sd_cases is None else number(row.sd_cases, row.unit, digits=1)


def counts(row: Row | None) -> list[str]:
    """Cases that a distance is over, missed lesions, and false alarms, of which `n/a` says that none could be."""
    if row is None or row.source == "reported":
        return ["", "", ""]
    return [count(row.n_cases), count(row.n_missed), NONE if row.n_false_alarms is None else str(row.n_false_alarms)]
