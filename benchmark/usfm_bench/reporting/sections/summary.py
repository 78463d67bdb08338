"""What a report found, in sentences: what was compared, who is best, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from usfm_bench.core.words import counted, difference, in_a_row, unit_sign
from usfm_bench.metrics.definitions import known_definitions
from usfm_bench.reporting.comparisons import Compared
from usfm_bench.reporting.report import LEAKS, Report, leaking
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.cells import cell

_LEVEL = 0.05
_NAMED = 3  # models that a sentence names; of more it gives the number


def summary(report: Report) -> Iterator[Section]:
    """One for each data set, in the order of the tables; a sentence or more a headline metric."""
    rows = [row for row in report.rows if row.source == "measured" and row.label is None]
    for dataset in dict.fromkeys(row.dataset for row in rows):
        yield _of_dataset(report, dataset, [row for row in rows if row.dataset == dataset])


def _of_dataset(report: Report, dataset: str, rows: Sequence[Row]) -> Section:
    results = [r for r in report.results if r.first.spec.dataset.name == dataset]
    first = results[0].first
    groups = counted([len(set(r.groups.tolist())) for r in results], "group")
    kind = f" ({first.grouped_by})" if first.grouped_by else ""
    mark = " (synthetic)" * first.spec.dataset.synthetic + f" {LEAKS}" * (dataset in leaking(report))
    names = {d.name for d in results[0].task.headline()}
    notes = []
    for metric, definition in dict.fromkeys((r.metric, r.definition) for r in rows if r.unit != "mm"):
        if metric in names:
            of_metric = [r for r in rows if r.definition == definition]
            pairs = [c for c in report.comparisons if c.dataset == dataset and c.definition == definition]
            notes.append(f"{metric}: {_sentence(of_metric, pairs)}")
    return Section(
        title=f"{dataset}{mark}",
        caption=(
            f"{counted(len(results), 'model')}, {counted([r.n_distinct() for r in results], 'test case')} in "
            f"{groups}{kind}, {counted([len(r.seeds) for r in results], 'seed')} a model"
        ),
        notes=tuple(notes),
        ident=dataset,
    )


def _sentence(rows: Sequence[Row], pairs: Sequence[Compared]) -> str:
    known = [row for row in rows if row.mean is not None]
    if not known:
        return "Undefined for every model."
    higher = known_definitions([str(known[0].definition)])[0].higher_is_better
    best = (max if higher else min)(known, key=lambda row: row.mean or 0.0)
    said = f"{cell(replace(best, standing=None))} {unit_sign(best.unit)}".rstrip()
    if len(known) == 1:
        return f"{said} by {best.model}, the only model."
    head = f"{best.model} has the best mean of {len(known)} models, {said}."
    return " ".join([head, *_verdict(best.model, pairs), *_detectable(best.model, pairs)])


def _verdict(best: str, pairs: Sequence[Compared]) -> Iterator[str]:
    """Is the best better than the others, by more than chance?"""
    own = [(c, c.b if c.a == best else c.a) for c in pairs if best in (c.a, c.b)]
    beaten = [other for c, other in own if c.a == best and c.p_holm is not None and c.p_holm < _LEVEL]
    unknown = [other for c, other in own if c.p_holm is None]
    alike = [other for c, other in own if c.p_holm is not None and other not in beaten]
    if beaten and not alike and not unknown:
        yield f"It is better than {_named(beaten, every=True)} by more than chance explains (each p < 0.05 after Holm)."
        return
    if beaten:
        yield f"It is better than {_named(beaten)} by more than chance explains (p < 0.05 after Holm)."
    if alike:
        yield f"It is not told apart from {_named(alike)}: the difference may be chance."
    if unknown:
        yield f"It was not compared with {_named(unknown)}."


def _detectable(best: str, pairs: Sequence[Compared]) -> Iterator[str]:
    """What this design would have found."""
    found = sorted((c.detectable, c.unit) for c in pairs if best in (c.a, c.b) and c.detectable is not None)
    if found:
        low, high = (difference(x, unit, digits=1) for x, unit in (found[0], found[-1]))
        size = low if low == high else f"{low.split(' ')[0]} to {high}"
        yield f"A true difference of {size} would be found with 80 % power."


def _named(models: Sequence[str], *, every: bool = False) -> str:
    if len(models) <= _NAMED:
        return in_a_row(models)
    return f"{'all ' if every else ''}{len(models)} other models"


def _data(report: Report) -> Mapping[str, object]:
    return {"summary": [{"dataset": s.ident, "basis": s.caption, "sentences": list(s.notes)} for s in summary(report)]}


SECTIONS.register("summary")(SectionKind(name="summary", make=summary, place="top", order=10, shown=True, data=_data))
