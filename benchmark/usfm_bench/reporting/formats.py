"""A report as Markdown, LaTeX, JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields

import pandas as pd

from usfm_bench.core.csv_cells import guarded_frame
from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.definitions import Definition
from usfm_bench.reporting.latex import to_latex
from usfm_bench.reporting.markdown import caption, to_list, to_markdown
from usfm_bench.reporting.rankings import TableRanking
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.rows import chosen_rows, usual
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats import Interval

SCHEMA_VERSION = 1


def render(reports: Sequence[Report], form: str) -> str:
    """Text of one or several reports: `markdown`, `latex`, `json` or `csv`. JSON is a list when there are several."""
    if form == "json":
        objects = [_as_json(report) for report in reports]
        return json.dumps(objects[0] if len(objects) == 1 else objects, indent=2, ensure_ascii=False) + "\n"
    if form == "csv":
        return guarded_frame(pd.concat([to_frame(report) for report in reports])).to_csv(
            index=False, lineterminator="\n"
        )
    write = to_latex if form == "latex" else to_markdown
    return "\n".join(write(report) for report in reports)


def render_scores(results: Sequence[ModelResults], definitions: Sequence[Definition], form: str) -> str:
    """Text of chosen definitions (none: the primary ones) of rescored trials: `markdown`, `json` or `csv`.

    Raises:
        BenchError: no definition is of the trials' task.
    """
    found = [(r, row) for r in results for row in chosen_rows(r, definitions or _primary_of(r))]
    if not found:
        tasks = sorted({r.first.spec.task for r in results})
        if any(d.tuned and d.of in {r.task.of for r in results} for d in definitions):
            raise BenchError(
                "What these definitions ask for was not chosen on validation cases: earlier versions kept no "
                "predictions for them, and thresholds are for the class alone that the data set's entry names as "
                "`positive`. `usfm-bench run --fresh` makes trials that have both."
            )
        raise BenchError(f"None of the definitions is of {' or '.join(tasks)}, which is what these trials did.")
    rows = [{"suite": r.first.spec.suite, "profile": r.first.spec.profile, **asdict(row)} for r, row in found]
    if form == "json":
        return json.dumps({"schema_version": SCHEMA_VERSION, "rows": rows}, indent=2, ensure_ascii=False) + "\n"
    if form == "csv":
        return guarded_frame(pd.DataFrame(rows)).to_csv(index=False, lineterminator="\n")
    several = len({(r.first.spec.suite, r.first.spec.profile) for r in results}) > 1
    places = [f"{r.first.spec.suite}, {r.first.spec.profile}" for r, _ in found] if several else []
    return to_list([row for _, row in found], places)


def _primary_of(results: ModelResults) -> list[Definition]:
    chosen = usual(results.task)
    return [d for d in chosen if d.column in results.cases] if results.task.per_case else chosen


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
        "comparisons": [asdict(compared) for compared in report.comparisons],
        "rankings": [_ranking(each) for each in report.rankings],
        "against": [{**asdict(a), "measured": None if a.measured is None else a.measured.mean} for a in report.against],
        "spreads": [asdict(spread) for spread in report.spreads],
        **_prevalence(report),
        "notes": caption(report),
    }


def _prevalence(report: Report) -> dict[str, object]:
    """Rows and answers; nothing where no data set names a positive class."""
    found = report.prevalence
    if not found.rows:
        return {}
    answers = [
        {
            **{f.name: getattr(answer, f.name) for f in fields(answer)},
            **{name: _interval(getattr(answer, name)) for name in ("change", "by_test_prevalence", "by_training")},
        }
        for answer in found.answers
    ]
    return {"prevalence": {"rows": [asdict(row) for row in found.rows], "answers": answers}}


def _interval(of: Interval | None) -> dict[str, object] | None:
    return None if of is None else {"mean": of.point, "ci_low": of.low, "ci_high": of.high, "interval": of.kind}


def _ranking(of: TableRanking) -> dict[str, object]:
    content = asdict(of.ranking)
    nemenyi = of.ranking.nemenyi
    return {
        "table": of.table,
        "metric": of.definition.name,
        "definition": of.definition.id,
        **content,
        "nemenyi": None if nemenyi is None else nemenyi.tolist(),
        "left_out": of.left_out,
    }
