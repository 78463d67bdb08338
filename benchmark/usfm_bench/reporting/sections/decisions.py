"""What was chosen on validation data, and what it does on test data: thresholds and temperatures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import count, heading, number
from usfm_bench.metrics.operating import RULES, Tuned
from usfm_bench.metrics.tuned import DECIDED
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.cells import cell, dataset_name
from usfm_bench.reporting.sections.tables import MEANS
from usfm_bench.results.frames import ModelResults

DECISIONS = "Decisions by thresholds chosen on validation data"
_UNTUNED = "largest probability"


def decisions(report: Report) -> Iterator[Section]:
    """One a table of the paper with thresholds that validation chose."""
    for table in dict.fromkeys(row.table for row in report.rows):
        rows = [row for row in report.rows if row.table == table]
        grid = decision_grid(rows, [r for r in report.results if r.first.spec.table == table])
        if grid is not None:
            caption = f"Of the positive class. {MEANS}"
            yield Section(title=DECISIONS, grid=grid, caption=caption, table=table, ident="decisions", folded=True)


def decision_grid(rows: Sequence[Row], results: Sequence[ModelResults]) -> Grid | None:
    """One line a rule, of the positive class; first the decisions by the largest probability, without a threshold."""
    if not any("@" in row.metric for row in rows):
        return None
    of_class = {(row.dataset, row.model, row.label, row.metric): row for row in rows}
    header = ["Dataset", "Model", "Class", "Threshold for", "Threshold", "In validation"]
    header += [*(heading(name, "fraction") for name in DECIDED), "Seeds", "Cases"]
    body, of = [], []
    for r in results:
        spec, tuned = r.first.spec, _tuned(r)
        positive = spec.dataset.positive
        for rule, words in {"": _UNTUNED, **RULES}.items():
            names = [f"{name}@{rule.upper()}" if rule else name for name in DECIDED]
            found = [of_class.get((spec.dataset.name, spec.model, positive, name)) for name in names]
            if positive is None or (first := found[0]) is None:
                continue
            chosen = [_range([t.probability(rule) for t in tuned]), _positives(tuned)] if rule else ["", ""]
            who = [dataset_name(spec.dataset.name, first), spec.model, positive, words]
            figures = [cell(row) for row in found]
            body.append([*who, *chosen, *figures, count(first.n_seeds), count(first.n_cases)])
            of.append((spec.dataset.name, spec.model))
    return Grid(header, body, tuple(of))


def _tuned(results: ModelResults) -> list[Tuned]:
    return [record.tuned for record in results.records if record.tuned is not None]


def _range(values: Sequence[float]) -> str:
    """`0.31 (0.12 to 0.55)`: median, lowest and highest; one number where it is the only one."""
    middle, low, high = (number(value, "score") for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def _positives(tuned: Sequence[Tuned]) -> str:
    """`8 of 30`, positive validation cases of all; one each where folds differ."""
    return ", ".join(dict.fromkeys(f"{t.n_positive} of {t.n}" for t in tuned))


SECTIONS.register("decisions")(
    SectionKind(
        name="decisions",
        make=decisions,
        place="table",
        order=50,
        nothing="No threshold for a positive class was chosen on validation cases.",
    )
)
