"""A report as text. Each writer loops over the report's sections, and knows none of them by name."""

from __future__ import annotations

from collections.abc import Sequence

from usfm_bench.reporting.report import Report
from usfm_bench.reporting.writers.csv import to_csv
from usfm_bench.reporting.writers.json import to_json
from usfm_bench.reporting.writers.latex import to_latex
from usfm_bench.reporting.writers.markdown import to_markdown


def render(reports: Sequence[Report], form: str, sections: Sequence[str] = ()) -> str:
    """Text of one or several reports: `markdown`, `latex`, `json` or `csv`. JSON is a list when there are several.

    Args:
        reports: of `build_report`.
        form: how it is written.
        sections: of Markdown and LaTeX: names, or `all`; none: what a reader needs first. JSON and CSV have all.

    Raises:
        BenchError: an unknown section.
    """
    if form == "json":
        return to_json(reports)
    if form == "csv":
        return to_csv(reports)
    write = to_latex if form == "latex" else to_markdown
    return "\n".join(write(report, sections) for report in reports)
