"""The sections of a report, one file each; importing this registers them."""

from usfm_bench.reporting.sections import (
    classes,
    comparisons,
    costs,
    decisions,
    definitions,
    further,
    notes,
    prevalence,
    published,
    rankings,
    reading,
    repeats,
    robustness,
    spreads,
    summary,
    tables,
)

__all__ = [
    "classes",
    "comparisons",
    "costs",
    "decisions",
    "definitions",
    "further",
    "notes",
    "prevalence",
    "published",
    "rankings",
    "reading",
    "repeats",
    "robustness",
    "spreads",
    "summary",
    "tables",
]
