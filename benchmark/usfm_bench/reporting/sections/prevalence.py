"""F1 against prevalence as tables, and in words whether and where it falls to the paper's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, exact_percent, number, with_interval
from usfm_bench.reporting.prevalence import Answer, Curve, PrevalenceRow
from usfm_bench.reporting.report import LEAKS, Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.tables import MEANS
from usfm_bench.stats import Interval

Column = tuple[Curve, str, bool]
"""Curve, metric, and whether it is of the positive class alone."""
_TRAINED: tuple[Column, ...] = (
    *(("trained", "F1", True), ("trained", "F1", False), ("trained", "SEN", True), ("trained", "SPEC", True)),
    *(("beside", "F1", True), ("beside", "F1", False)),
)
_ALONE: tuple[Column, ...] = (
    *(("alone", "F1", True), ("alone", "F1", False), ("alone", "PREC", True), ("alone", "ACC", True)),
)
_FEW = 10  # groups of a class


def prevalence_sections(report: Report) -> Iterator[Section]:
    """One for each data set of a table of the paper that names a positive class."""
    for table, dataset in dict.fromkeys((row.table, row.dataset) for row in report.prevalence.rows):
        rows = [row for row in report.prevalence.rows if (row.table, row.dataset) == (table, dataset)]
        answers = [a for a in report.prevalence.answers if (a.table, a.dataset) == (table, dataset)]
        yield Section(
            title=_title(rows),
            grid=_grid(rows),
            notes=(*_notes(rows), *map(in_words, answers)),
            caption=f"One line a model and prevalence of the test cases. {MEANS}",
            table=table,
            ident=f"prevalence-{dataset}",
        )


def _title(rows: Sequence[PrevalenceRow]) -> str:
    first = rows[0]
    leaks = f" {LEAKS}" * any(row.n_leaked for row in rows)
    name = f"{first.dataset}{' (synthetic)' * bool(first.synthetic)}{leaks}"
    how = "one classifier on test sets" if first.curve == "alone" else "trained and tested"
    return f"F1 against prevalence of {first.positive}, {name}: {how} at each prevalence"


def _grid(rows: Sequence[PrevalenceRow]) -> Grid:
    """One line a model and prevalence."""
    columns = _ALONE if rows[0].curve == "alone" else _TRAINED
    header = ["Model", "Prevalence (%)", *(_heading(column, rows[0].positive) for column in columns)]
    lines: dict[tuple[str, float], list[PrevalenceRow]] = {}
    for row in rows:
        lines.setdefault((row.model, row.prevalence), []).append(row)
    body = [
        [model, _prevalence(at[0]), *(_cell({_column(row): row for row in at}.get(column)) for column in columns)]
        for (model, _), at in lines.items()
    ]
    return Grid(header, body, tuple((at[0].trained_on, model) for (model, _), at in lines.items()))


def _column(row: PrevalenceRow) -> Column:
    return row.curve, row.metric, row.label is not None


def _heading(column: Column, positive: str) -> str:
    curve, metric, of_positive = column
    name = metric if metric != "F1" else f"F1 of {positive}" if of_positive else "F1, macro"
    return f"{name} (%){', same classifier' * (curve == 'beside')}"


def _prevalence(row: PrevalenceRow) -> str:
    return f"{number(row.prevalence, 'fraction')} (own)" if row.own else f"{100 * row.prevalence:g}"


def _cell(row: PrevalenceRow | None) -> str:
    return "" if row is None else with_interval(row.mean, row.ci_low, row.ci_high, "fraction")


def _notes(rows: Sequence[PrevalenceRow]) -> Iterator[str]:
    ids = ", ".join(dict.fromkeys(str(row.definition) for row in rows if "reweighted" in str(row.definition)))
    yield (
        "The test cases are the same at every prevalence: SEN and SPEC of the decisions are theirs, and F1, PREC and "
        f"ACC follow from them and the prevalence (docs/prevalence.md): {ids}."
    )
    if rows[0].curve == "alone":
        yield "A lower prevalence alone lowers F1 and PREC of one and the same classifier. own: of the test set itself."
    else:
        best = dict.fromkeys(f"{row.model} {exact_percent(row.trained_at)}" for row in rows if row.curve == "beside")
        yield (
            "same classifier: trained at the highest prevalence that there is and tested at each; what it loses is "
            f"owed to the test prevalence alone. Trained at: {', '.join(best)}."
        )
    if (fewest := min(row.n_rarer for row in rows)) < _FEW:
        yield f"{fewest} groups of the rarer class: its intervals may cover about 90 % only (docs/prevalence.md)."


def in_words(answer: Answer) -> str:
    """Where F1 falls to the paper's, and what part of the fall is owed to what."""
    of = f"{answer.model}, {'F1, macro' if answer.label is None else f'F1 of {answer.label}'}"
    paper = f"{number(answer.published, 'fraction')}, the paper's clinical F1 (averaging not stated)"
    if answer.reached_at is None:
        return f"{of}: at no training prevalence is the mean at or below {paper}. {_change(answer)}"
    whole = {True: "lies wholly below it", False: "does not lie wholly below it", None: "does not exist"}
    return (
        f"{of}: {exact_percent(answer.reached_at)} is the highest training prevalence with a mean at or below "
        f"{paper}; the interval there {whole[answer.wholly_below]}. {_change(answer)}"
    )


def _change(answer: Answer) -> str:
    if answer.reason:
        return f"What it changes by is not known: {answer.reason}."
    parts = answer.change, answer.by_test_prevalence, answer.by_training
    whole, by_test, by_training = (
        NONE if part is None else with_interval(part.point, part.low, part.high, "fraction", signed=True)
        for part in parts
    )
    return (
        f"From {exact_percent(answer.highest)} to {exact_percent(answer.lowest)} it changes by {whole} points: "
        f"{by_test} by the test prevalence alone, {by_training} by training."
    )


def _data(report: Report) -> Mapping[str, object]:
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
    return {"prevalence": {"rows": [row.fields() for row in found.rows], "answers": answers}}


def _interval(of: Interval | None) -> dict[str, object] | None:
    return None if of is None else {"mean": of.point, "ci_low": of.low, "ci_high": of.high, "interval": of.kind}


SECTIONS.register("prevalence")(
    SectionKind(
        name="prevalence",
        make=prevalence_sections,
        place="table",
        order=60,
        nothing="No data set of this report names a positive class, whose prevalence could be changed.",
        data=_data,
    )
)
