"""Metrics of the cases of each value of a column, and how far the best and the worst lie apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.columns import Column, column_of
from usfm_bench.reporting.rows import case_row, set_rows
from usfm_bench.results.frames import ModelResults
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.stats import Interval, holm
from usfm_bench.stats.headline import Headline, headlines
from usfm_bench.stats.unpaired import Unpaired, unpaired

if TYPE_CHECKING:
    from usfm_bench.reporting.report import Report

LEAST = 8
"""Groups of cases below which a subgroup has no interval, and no part in a gap."""
_LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """One metric of one model over the cases with one value."""

    table: str | None
    dataset: str
    model: str
    column: str
    value: str
    metric: str
    definition: str
    unit: str
    mean: float | None
    low: float | None
    high: float | None
    n_cases: int
    """Of the mean."""
    n_groups: int
    too_few: bool
    """Fewer than `LEAST` groups: there is no interval."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far the best and the worst value of a column lie apart."""

    table: str | None
    dataset: str
    model: str
    column: str
    metric: str
    unit: str
    best: str | None
    worst: str | None
    """None, as `best`: fewer than two values have cases enough."""
    gap: Interval
    """Best less worst as the metric counts; the interval is widened for the choice of the pair (Bonferroni)."""
    p_value: float | None
    """Of no gap, times the number of pairs."""
    p_holm: float | None
    """The same by Holm over the columns that were asked for."""
    n_values: int
    """With cases enough."""
    n_missing: int
    """Cases without a value."""


@dataclass(frozen=True)
class Subgroups:
    """Of all columns that were asked for."""

    rows: tuple[Subgroup, ...] = ()
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()


def with_subgroups(
    report: Report, columns: Sequence[str], registry: Mapping[str, DatasetSpec], data_root: Path
) -> Report:
    """The report with subgroups of every model, on its own test cases and on other data sets.

    Args:
        report: of `build_report`.
        columns: names, as of `column_of`.
        registry: all data sets.
        data_root: where their paths are resolved.

    Raises:
        BenchError: a column that no data set of the report has; where some have it, the others are named in a note.
    """
    rows: list[Subgroup] = []
    gaps: list[Gap] = []
    lacking: dict[str, dict[str, None]] = {name: {} for name in columns}
    found: set[str] = set()
    for results in [*report.results, *(target.results for target in report.targets)]:
        known = []
        for name in columns:
            try:
                known.append(column_of(results, name, registry, data_root))
                found.add(name)
            except BenchError as error:
                lacking[name] |= {str(error): None}
        own, apart = _of_model(results, known, report.missed)
        rows += own
        gaps += apart
    if faults := [fault for name in columns if name not in found for fault in lacking[name]]:
        raise BenchError("\n".join(faults))
    notes = [f"Left out: {fault}" for name in columns for fault in lacking[name]]
    return replace(report, subgroups=Subgroups(tuple(rows), tuple(gaps), tuple(notes)))


def _of_model(results: ModelResults, columns: Sequence[Column], missed: Missed) -> tuple[list[Subgroup], list[Gap]]:
    rows: list[Subgroup] = []
    gaps: dict[str, list[Gap]] = {}
    for column in columns:
        parts = list(split(results, column))
        rows += [row for value, part in parts for row in _rows(part, column.name, value, missed)]
        scored = {value: {h.definition.id: h for h in headlines([part], missed)} for value, part in parts}
        for definition in results.task.headline(results.first.spec.dataset):
            enough = {v: h for v, by_id in scored.items() if (h := by_id.get(definition.id)) and _enough(h)}
            gaps.setdefault(definition.id, []).append(_gap(results, column, definition.id, enough))
    return rows, [gap for of_metric in gaps.values() for gap in _with_holm(of_metric)]


def split(results: ModelResults, column: Column) -> Iterator[tuple[str, ModelResults]]:
    """The results of the cases with each value that some have, in the column's order."""
    values = dict(zip(results.case_table["case_id"].astype(str), column.values, strict=True))
    of_row = results.cases["case_id"].astype(str).map(values)
    for value in column.order:
        if (rows := of_row == value).any():
            yield value, replace(results, cases=results.cases[rows].reset_index(drop=True))


def _rows(results: ModelResults, column: str, value: str, missed: Missed) -> Iterator[Subgroup]:
    for definition in results.task.headline(results.first.spec.dataset):
        if results.task.per_case:
            if results.definitions.get(definition.column) != definition.id:
                continue
            found = [case_row(results, definition, missed)]
        else:
            found = list(set_rows(results, definition))
        for row in found:
            few = (row.n_groups or 0) < LEAST
            yield Subgroup(
                table=row.table,
                dataset=row.dataset,
                model=row.model,
                column=column,
                value=value,
                metric=row.metric,
                definition=row.definition or "",
                unit=row.unit or "",
                mean=row.mean,
                low=None if few else row.ci_low,
                high=None if few else row.ci_high,
                n_cases=row.n_cases or 0,
                n_groups=row.n_groups or 0,
                too_few=few,
            )


def _enough(headline: Headline) -> bool:
    found = headline.contributions
    return found is not None and len(np.unique(found.groups)) >= LEAST


def _gap(results: ModelResults, column: Column, ident: str, scored: Mapping[str, Headline]) -> Gap:
    spec = results.first.spec
    definition = next(d for d in results.task.headline(spec.dataset) if d.id == ident)
    what: dict[str, Any] = {
        "table": spec.table,
        "dataset": spec.dataset.name,
        "model": spec.model,
        "column": column.name,
        "metric": definition.name,
        "unit": definition.unit,
        "n_values": len(scored),
        "n_missing": sum(value is None for value in column.values),
        "p_holm": None,
    }
    if len(scored) < 2:
        return Gap(**what, best=None, worst=None, gap=Interval(np.nan, None, None), p_value=None)
    sign = 1 if definition.higher_is_better else -1
    means = {value: sign * float(_values(h).mean()) for value, h in scored.items()}
    best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    pairs = len(list(combinations(scored, 2)))
    if best == worst:  # all alike
        return Gap(**what, best=None, worst=None, gap=Interval(0.0, None, None), p_value=None)
    found = _apart(scored[best], scored[worst])
    p = found.p_value()
    return Gap(
        **what,
        best=best,
        worst=worst,
        gap=found.interval(1 - (1 - _LEVEL) / pairs),
        p_value=None if p is None else min(1.0, p * pairs),
    )


def _values(headline: Headline) -> NDArray[np.float64]:
    assert headline.contributions is not None
    return headline.contributions.values


def _apart(best: Headline, worst: Headline) -> Unpaired:
    """By the same networks, on cases of two values; a patient with cases of both is taken for two."""
    a, b = best.contributions, worst.contributions
    assert a is not None
    assert b is not None
    return unpaired(
        *(a.values, b.values),
        groups_a=a.groups,
        groups_b=b.groups,
        folds_a=a.folds,
        folds_b=b.folds,
        sizes_a=a.sizes,
        sizes_b=b.sizes,
    )


def _with_holm(gaps: Sequence[Gap]) -> list[Gap]:
    tested = [i for i, gap in enumerate(gaps) if gap.p_value is not None]
    adjusted = dict(zip(tested, holm([gaps[i].p_value or 0.0 for i in tested]), strict=True))
    return [replace(gap, p_holm=adjusted.get(i)) for i, gap in enumerate(gaps)]
