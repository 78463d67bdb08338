"""A report as CSV: one row a number, fractions as they are."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from usfm_bench.core.csv_cells import guarded_frame
from usfm_bench.reporting.report import Report


def to_csv(reports: Sequence[Report]) -> str:
    """The rows of all reports under one header."""
    frame = pd.concat([to_frame(report) for report in reports])
    return guarded_frame(frame).to_csv(index=False, lineterminator="\n")


def to_frame(report: Report) -> pd.DataFrame:
    """One row a number, with the suite and profile in front."""
    frame = pd.DataFrame([row.fields() for row in report.rows])
    frame.insert(0, "suite", report.suite)
    frame.insert(1, "profile", report.profile)
    return frame
