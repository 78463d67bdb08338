"""Numbers and names as the cells and headings of a table."""

from __future__ import annotations

from usfm_bench.reporting.rows import Row

NONE = "n/a"
"""Where there is no figure."""


def heading(metric: str, unit: str | None) -> str:
    """`DSC (%)`, `HD95 (px)`, `MCC`."""
    return metric if unit in (None, "score") else f"{metric} ({'%' if unit == 'fraction' else unit})"


def dataset_name(name: str, row: Row) -> str:
    """The name, and that the images are simulated where they are."""
    return f"{name} (synthetic)" if row.synthetic else name


def cell(row: Row) -> str:
    """`71.2 [66.0, 76.4]` with an interval; `84.3 ± 0.17` as published; `n/a` where there is no figure."""
    if row.printed is not None:
        return row.printed
    if row.mean is None:
        return NONE
    scale, digits = scale_of(row.unit)
    mean, standing = f"{row.mean * scale:.{digits}f}", f" {row.standing}" if row.standing else ""
    if row.ci_low is None or row.ci_high is None:
        return f"{mean} [{NONE}]{standing}"
    return f"{mean} [{row.ci_low * scale:.{digits}f}, {row.ci_high * scale:.{digits}f}]{standing}"


def scale_of(unit: str | None) -> tuple[int, int]:
    """Factor and decimals with which numbers of a unit are shown: fractions as percent."""
    return (100, 1) if unit == "fraction" else (1, 2 if unit == "score" else 1)


def count(n: int | None) -> str:
    """The number, or nothing."""
    return "" if n is None else str(n)
