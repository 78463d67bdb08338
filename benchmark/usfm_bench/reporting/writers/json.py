"""A report as JSON: every number as it is, and of sections without numbers of their own the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import kinds, sections

SCHEMA_VERSION = 1
_PLAIN = {str, int, float, bool, type(None)}


def to_json(reports: Sequence[Report]) -> str:
    """An object, or a list of them where there are several reports."""
    objects = [_object(report) for report in reports]
    return dumped(objects[0] if len(objects) == 1 else objects)


def dumped(content: object) -> str:
    """Indented, on lines of its own: what `json.dumps` gives with `indent=2`, which takes ten times as long."""
    return _text(content, "\n") + "\n"


def _text(value: object, line: str) -> str:
    """JSON of a value whose last line begins with what stands in `line`."""
    inner = line + "  "
    if isinstance(value, dict) and value and set(map(type, value)) == {str}:
        if set(map(type, value.values())) <= _PLAIN:
            return f"{{{inner}{_encoder(inner).encode(value)[1:-1]}{line}}}"
        items = [f"{_encoder(inner).encode(key)}: {_text(each, inner)}" for key, each in value.items()]
        return f"{{{inner}{f',{inner}'.join(items)}{line}}}"
    if isinstance(value, (list, tuple)) and value:
        return f"[{inner}{f',{inner}'.join(_text(each, inner) for each in value)}{line}]"
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", line)


@cache
def _encoder(line: str) -> json.JSONEncoder:
    # Written in C, but for `indent`; a separator with the line's end in it does the same.
    return json.JSONEncoder(ensure_ascii=False, separators=(f",{line}", ": "))


def _object(report: Report) -> dict[str, object]:
    content: dict[str, object] = {
        "schema_version": SCHEMA_VERSION,
        "suite": report.suite,
        "profile": report.profile,
        "rows": [row.fields() for row in report.rows if row.label is None],
        "class_rows": [row.fields() for row in report.rows if row.label is not None],
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
