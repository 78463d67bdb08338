"""What a report found, in sentences: who is best where, whether that is more than chance, and what limits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from usfm_bench.metrics.definitions import known_definitions
from usfm_bench.reporting.cells import cell
from usfm_bench.reporting.comparisons import Compared
from usfm_bench.reporting.markdown import seeds_in_words
from usfm_bench.reporting.report import LEAKS, Report, leaking
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.statistics import advice

_LEVEL = 0.05
_NAMED = 3  # models that a sentence names; of more it gives the number


class Finding(NamedTuple):
    """Of one data set."""

    dataset: str
    synthetic: bool
    leaks: str
    """Mark of a split with a group on two sides; empty as a rule."""
    basis: str
    """Seeds and cases."""
    sentences: list[tuple[str, str]]
    """Metric and what is said of it."""


class Gap(NamedTuple):
    """What was not measured, though it was for the model's or the data set's others."""

    table: str | None
    dataset: str
    model: str


def findings(report: Report) -> list[Finding]:
    """One for each data set, in the order of the tables."""
    rows = [row for row in report.rows if row.source == "measured" and row.label is None]
    names = dict.fromkeys(row.dataset for row in rows)
    return [_finding(report, name, [row for row in rows if row.dataset == name]) for name in names]


def gaps(report: Report) -> list[Gap]:
    """Models of a table that have no finished trial on one of its data sets."""
    found = []
    for table in dict.fromkeys(r.first.spec.table for r in report.results):
        specs = [r.first.spec for r in report.results if r.first.spec.table == table]
        pairs = {(spec.dataset.name, spec.model) for spec in specs}
        models = dict.fromkeys(spec.model for spec in specs)
        datasets = dict.fromkeys(spec.dataset.name for spec in specs)
        found += [Gap(table, d, m) for d in datasets for m in models if (d, m) not in pairs]
    return found


def limits(report: Report) -> list[str]:
    """What would tell more, by table."""
    found: dict[str, None] = {}
    for table in dict.fromkeys(s.table for s in report.spreads):
        where = f"Table {table}: " if table else ""
        found |= {
            f"{where}{line.replace('`', '')}": None for line in advice([s for s in report.spreads if s.table == table])
        }
    return list(found)


def _finding(report: Report, dataset: str, rows: Sequence[Row]) -> Finding:
    results = [r for r in report.results if r.first.spec.dataset.name == dataset]
    seeds = sorted({len(r.seeds) for r in results})
    cases = sorted({len(r.case_table) for r in results})
    groups = sorted({len(set(r.groups.tolist())) for r in results})
    kind = results[0].first.grouped_by
    what = f" ({kind})" if kind else ""
    basis = f"{_range(cases, 'test case')} in {_range(groups, 'group')}{what}, {seeds_in_words(seeds)} a model"
    names = {d.name for d in results[0].task.headline()}
    metrics = dict.fromkeys((r.metric, r.definition) for r in rows if r.metric in names and r.unit != "mm")
    sentences = []
    for metric, definition in metrics:
        of_metric = [r for r in rows if r.definition == definition]
        pairs = [c for c in report.comparisons if c.dataset == dataset and c.definition == definition]
        sentences.append((metric, _sentence(of_metric, pairs)))
    mark = LEAKS if dataset in leaking(report) else ""
    return Finding(dataset, results[0].first.spec.dataset.synthetic, mark, basis, sentences)


def _sentence(rows: Sequence[Row], pairs: Sequence[Compared]) -> str:
    known = [row for row in rows if row.mean is not None]
    if not known:
        return "Undefined for every model."
    higher = known_definitions([str(known[0].definition)])[0].higher_is_better
    best = (max if higher else min)(known, key=lambda row: row.mean or 0.0)
    said = f"{cell(replace(best, standing=None))}{_unit(best)}"
    if len(known) == 1:
        return f"{said} by {best.model}, the only model."
    return " ".join([f"{best.model} has the best mean of {len(known)} models, {said}.", *_verdict(best.model, pairs)])


def _verdict(best: str, pairs: Sequence[Compared]) -> Iterator[str]:
    """Is the best better than the others, by more than chance?"""
    own = [(c, c.b if c.a == best else c.a) for c in pairs if best in (c.a, c.b)]
    beaten = [other for c, other in own if c.a == best and c.p_holm is not None and c.p_holm < _LEVEL]
    unknown = [other for c, other in own if c.p_holm is None]
    alike = [other for c, other in own if c.p_holm is not None and other not in beaten]
    if beaten and not alike and not unknown:
        yield f"It is better than {_names(beaten, every=True)} by more than chance explains (each p < 0.05 after Holm)."
        return
    if beaten:
        yield f"It is better than {_names(beaten)} by more than chance explains (p < 0.05 after Holm)."
    if alike:
        yield f"It is not told apart from {_names(alike)}: the difference may be chance."
    if unknown:
        yield f"It was not compared with {_names(unknown)}."


def _names(models: Sequence[str], *, every: bool = False) -> str:
    if len(models) <= _NAMED:
        return " and ".join(models) if len(models) < 3 else f"{', '.join(models[:-1])} and {models[-1]}"
    return f"{'all ' if every else ''}{len(models)} other models"


def _unit(row: Row) -> str:
    return {"fraction": " %", "score": ""}.get(row.unit or "", f" {row.unit}")


def _range(counts: Sequence[int], noun: str) -> str:
    plural = "s" * (counts[-1] != 1)
    return f"{counts[0]} {noun}{plural}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} {noun}{plural}"
