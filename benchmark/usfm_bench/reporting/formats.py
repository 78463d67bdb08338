"""A report as Markdown, JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from usfm_bench.reporting.markdown import caption, to_markdown
from usfm_bench.reporting.report import Report

SCHEMA_VERSION = 1


def render(reports: Sequence[Report], form: str) -> str:
    """Text of one or several reports: `markdown`, `json` or `csv`. JSON is a list when there are several."""
    if form == "json":
        objects = [_as_json(report) for report in reports]
        return json.dumps(objects[0] if len(objects) == 1 else objects, indent=2, ensure_ascii=False) + "\n"
    if form == "csv":
        return pd.concat([to_frame(report) for report in reports]).to_csv(index=False, lineterminator="\n")
    return "\n".join(to_markdown(report) for report in reports)


def to_frame(report: Report) -> pd.DataFrame:
    """One row a number, with the suite and profile in front."""
    frame = pd.DataFrame([asdict(row) for row in report.rows])
    frame.insert(0, "suite", report.suite)
    frame.insert(1, "profile", report.profile)
    return frame


def _as_json(report: Report) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": report.suite,
        "profile": report.profile,
        "rows": [asdict(row) for row in report.rows if row.label is None],
        "class_rows": [asdict(row) for row in report.rows if row.label is not None],
        "notes": caption(report),
    }
