"""A report as JSON: every number as it is, and of sections without numbers of their own the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import kinds, sections

SCHEMA_VERSION = 1


def to_json(reports: Sequence[Report]) -> str:
    """An object, or a list of them where there are several reports."""
    objects = [_object(report) for report in reports]
    return dumped(objects[0] if len(objects) == 1 else objects)


def dumped(content: object) -> str:
    """Indented, on lines of its own."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _object(report: Report) -> dict[str, object]:
    content: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "suite": report.suite,
        "profile": report.profile,
        "rows": [asdict(row) for row in report.rows if row.label is None],
        "class_rows": [asdict(row) for row in report.rows if row.label is not None],
    }
    for kind in kinds():
        content |= kind.data(report) if kind.data else {}
    return content | {"sections": _texts(report)}


def _texts(report: Report) -> list[dict[str, object]]:
    """Sections as a reader sees them, of kinds that give no numbers."""
    names = [kind.name for kind in kinds() if kind.data is None]
    return [
        {
            **{"name": s.name, "table": s.table, "title": s.title},
            **{"header": s.grid.header if s.grid else [], "body": s.grid.body if s.grid else []},
            "notes": list(s.notes),
        }
        for s in (sections(report, names) if names else [])
    ]
