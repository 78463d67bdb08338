"""A suite's finished trials of one profile, with the paper's rows above them and what a reader must know below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.definitions import known_definitions, of_one_mask
from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.comparisons import Compared, compare_against, corrected, with_standing
from usfm_bench.reporting.coverage import low_coverage, rarely_missed, scattered_near_an_end
from usfm_bench.reporting.external import Drop, Order, Target, drops, evaluated_elsewhere, orders
from usfm_bench.reporting.labels import LabelCurves, label_curves
from usfm_bench.reporting.parts import parts_of
from usfm_bench.reporting.pretrainings import Judged, judged
from usfm_bench.reporting.prevalence import Prevalence, prevalence_of
from usfm_bench.reporting.published import Against, against_published, published_rows
from usfm_bench.reporting.rankings import TableRanking, rankings, variants
from usfm_bench.reporting.repeats import Repeated, repeated
from usfm_bench.reporting.robustness import Corrupted, CorruptionError, Loss, corruption_errors, evaluated, losses
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.spreads import Spread, spreads
from usfm_bench.reporting.subgroups import Subgroups
from usfm_bench.reporting.travel import Travel, travel_of
from usfm_bench.reporting.tuning import tuning_notes
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.store import Store, choose_profile
from usfm_bench.results.trials import check_definitions
from usfm_bench.stats.headline import headlines

_FEW = 10


@dataclass(frozen=True)
class Report:
    """Everything that a table, a file or a page shows of one suite and profile."""

    suite: str
    profile: str
    rows: tuple[Row, ...]
    """In the order of display: by table, the paper's rows of a data set above the measured ones."""
    results: tuple[ModelResults, ...]
    """What the measured rows were computed from."""
    notes: tuple[str, ...]
    """What was left out, in words."""
    missed: Missed = "diagonal"
    """What a missed lesion's distances get."""
    comparisons: tuple[Compared, ...] = ()
    """Every pair of models, by the headline metrics."""
    rankings: tuple[TableRanking, ...] = ()
    spreads: tuple[Spread, ...] = ()
    against: tuple[Against, ...] = ()
    """Measured values beside published ones of the same data set."""
    prevalence: Prevalence = field(default_factory=Prevalence)
    """F1 against the prevalence of the positive class, of data sets that name one."""
    repeats: tuple[Repeated, ...] = ()
    """Headline metrics for new cases and for networks trained anew, where holdouts were repeated."""
    labels: LabelCurves = field(default_factory=LabelCurves)
    """Headline metrics against the share of the training side that was used."""
    pretrainings: tuple[Judged, ...] = ()
    """Pre-training methods by judgement, of models with a card of their pre-training."""
    corrupted: tuple[Corrupted, ...] = ()
    """Of each entry of `results`, the same under the conditions that it was evaluated under."""
    losses: tuple[Loss, ...] = ()
    """What corruptions of the images cost, where trials were evaluated under them."""
    corruption_errors: tuple[CorruptionError, ...] = ()
    """mCE of MedMNIST-C, where its corruptions were evaluated."""
    targets: tuple[Target, ...] = ()
    """Models on other data sets, where trials were evaluated there."""
    drops: tuple[Drop, ...] = ()
    """How far they fall there."""
    orders: tuple[Order, ...] = ()
    """Whether the order of models is the same there."""
    travel: Travel = field(default_factory=Travel)
    """Decisions about a positive class there: thresholds, calibration, local cases, net benefit."""
    subgroups: Subgroups = field(default_factory=Subgroups)
    """Of columns that were asked for."""


LEAKS = "(LEAKS)"
"""Mark of a data set whose split has a group on two sides."""


SEEN = "(SEEN)"
"""Mark of a model whose weights saw test images before."""


def contaminated(report: Report) -> set[tuple[str, str]]:
    """Data set and model whose weights saw test images before."""
    return {(row.dataset, row.model) for row in report.rows if row.source == "measured" and row.seen_in_pretraining}


def leaking(report: Report) -> set[str]:
    """Data sets whose own split has a patient or a near-duplicate on two sides."""
    return {row.dataset for row in report.rows if row.n_leaked}


def build_report(
    store: Store,
    suite: str,
    profile: str | None = None,
    *,
    missed: Missed = "diagonal",
    against: str | None = None,
    workers: int = 1,
) -> Report:
    """Rows for everything that is finished.

    Args:
        store: of the trials.
        suite: its name.
        profile: None: the only one that is there.
        missed: what a missed lesion's distances get: the image's `diagonal`, or nothing, and n says so (`exclude`).
        against: a model that all others are compared with; None: all pairs are compared.
        workers: processes, as of `parts_of`; they change no number.

    Raises:
        BenchError: nothing is finished, or several profiles are and none is chosen; names them.
    """
    profile = choose_profile(store, suite, profile)
    parts = parts_of(store, suite, profile, missed, workers)
    results = [r for part in parts for r in part.results]
    unfinished = [line for part in parts for line in part.unfinished]
    alike = [{c: of_one_mask(ident) for c, ident in r.definitions.items()} for r in results if r.task.per_case]
    check_definitions(alike)  # a mean over structures may stand in the column of one mask's value
    of_model = dict(zip(map(_place, results), (rows for part in parts for rows in part.rows), strict=True))
    if len(of_model) < len(results):
        twice = sorted(place for place, n in Counter(map(_place, results)).items() if n > 1)
        raise BenchError(
            f"Two folders of suite '{suite}' hold trials of {twice[0][1]} on {twice[0][0]}; move one away."
        )
    rows = [row for table in _tables(results) for row in _table_rows(table, results, of_model)]
    conditions = evaluated(store.folder, results)
    corrupted = tuple(found for _, found in conditions)
    targets, unread = evaluated_elsewhere(store.folder, results)
    found = headlines(results, missed)
    notes = (
        *unfinished,
        *_notes(results),
        *_undefined(rows),
        *dict.fromkeys(note for r in results for note in tuning_notes(r)),
        *thin(rows),
        *low_coverage(results, rows),
        *(rarely_missed(results) if missed == "diagonal" else ()),
        *scattered_near_an_end(found),
        *(f"Evaluations left out: {fault}" for fault in dict.fromkeys([*(f for f, _ in conditions if f), *unread])),
    )
    compared = corrected([pair for part in parts for pair in part.pairs])
    labels = {r.first.spec.dataset.name: r.first.spec.dataset.paper_label for r in results}
    return Report(
        suite=suite,
        profile=profile,
        rows=tuple(with_standing(rows, compared)),
        results=tuple(results),
        notes=notes,
        missed=missed,
        comparisons=tuple(compared if against is None else compare_against(compared, against)),
        rankings=tuple(rankings(found, np.random.default_rng(0))),
        spreads=tuple(spreads(found)),
        against=tuple(against_published(rows, {name: label for name, label in labels.items() if label})),
        prevalence=prevalence_of(results),
        repeats=tuple(repeated(found, rows, compared)),
        labels=label_curves(found, rows),
        pretrainings=tuple(judged(found)),
        corrupted=corrupted,
        losses=tuple(losses(results, corrupted, missed)),
        corruption_errors=tuple(corruption_errors(results, corrupted)),
        targets=tuple(targets),
        drops=tuple(drops(targets, missed)),
        orders=tuple(orders(targets, missed, np.random.default_rng(0))),
        travel=travel_of(results, targets, np.random.default_rng(0)),
    )


def definitions_of(rows: Sequence[Row]) -> dict[str, str]:
    """Definition id -> metric behind the measured rows, in their order; of structures that of their mean alone."""
    found = {row.definition: row.metric for row in rows if row.definition is not None}
    single = {d.id for d in known_definitions(found) if d.structure is not None}
    return {ident: metric for ident, metric in found.items() if ident not in single}


def _place(results: ModelResults) -> tuple[str, str]:
    """Data set and model."""
    return results.first.spec.dataset.name, results.first.spec.model


def _tables(results: Sequence[ModelResults]) -> list[str | None]:
    tables = {r.first.spec.table for r in results}
    return sorted(tables, key=lambda table: (table is None, table))


def _table_rows(
    table: str | None, results: Sequence[ModelResults], of_model: Mapping[tuple[str, str], Sequence[Row]]
) -> list[Row]:
    """Reported rows of a data set above the measured rows that stand for it; measured rows of other data sets last."""
    reported = published_rows(table) if table else []
    measured = [r for r in results if r.first.spec.table == table]
    labels = list(dict.fromkeys(row.dataset for row in reported))
    stand_for = [r.first.spec.dataset.paper_label for r in measured]
    pairs = list(zip(measured, stand_for, strict=True))
    rows: list[Row] = []
    for label in labels:
        # Data of the user's own stands for no row of the paper; then all of the table's rows are shown.
        if label in stand_for or None in stand_for:
            rows += [row for row in reported if row.dataset == label]
        rows += [row for r, own in pairs if own == label for row in of_model[_place(r)]]
    rows += [row for r, own in pairs if own not in labels for row in of_model[_place(r)]]
    return rows


def _undefined(rows: Sequence[Row]) -> list[str]:
    """Where a value is undefined for some cases, which its mean leaves out; distances show their n beside them."""
    found: dict[str, None] = {}
    cases: dict[tuple[str, str], int] = {}
    for row in rows:
        place = row.dataset, row.model
        cases[place] = max(cases.get(place, 0), (row.n_cases or 0) if row.label is None else 0)
    for row in rows:
        n = cases.get((row.dataset, row.model), 0)
        if row.source == "measured" and row.label is None and row.unit == "fraction" and (row.n_cases or 0) < n:
            found |= {
                f"{row.dataset}, {row.model}: {row.metric} is over {row.n_cases} of {n} cases and undefined for the "
                "others, in at least one seed": None
            }
    return list(found)


def thin(rows: Sequence[Row]) -> list[str]:
    """Where intervals are known to cover less than they claim: few patients of several images (docs/intervals.md)."""
    found: dict[str, None] = {}
    for row in rows:
        n_groups, n_cases = row.n_groups or 0, row.n_cases or 0
        if row.source == "measured" and row.label is None and 1 < n_groups <= _FEW and n_groups < n_cases:
            found |= {
                f"{row.dataset}: {n_groups} groups (patients or near-duplicates) in {n_cases} test cases: of so few, "
                "and of unequal size, 95 % intervals may cover as little as 86 %": None
            }
    return list(found)


def _lacking(results: Sequence[ModelResults]) -> dict[tuple[str | None, str, str], str]:
    """Table, task and data set -> models that other data sets of the same table have and this one lacks."""
    by_table: dict[tuple[str | None, str], dict[str, None]] = {}
    by_dataset: dict[tuple[str | None, str, str], set[str]] = {}
    for spec in (r.first.spec for r in results):
        by_table.setdefault((spec.table, spec.task), {})[spec.model] = None
        by_dataset.setdefault((spec.table, spec.task, spec.dataset.name), set()).add(spec.model)
    return {
        place: ", ".join(model for model in by_table[place[:2]] if model not in here)
        for place, here in by_dataset.items()
    }


def _notes(results: Sequence[ModelResults]) -> list[str]:
    notes: dict[str, None] = {}
    lacking = _lacking(results)
    for r in results:
        spec = r.first.spec
        base = spec.dataset.name.partition("@")[0]  # parts of a training side are of the same cases
        notes |= {f"{base}: {note}": None for note in r.first.notes}
        notes |= dict.fromkeys(r.task.notes(spec.dataset))
        notes |= {f"{spec.dataset.name}, {spec.model}: {note}": None for note in r.notes}
        if names := lacking[spec.table, spec.task, spec.dataset.name]:
            notes |= {f"{names}: not on {spec.dataset.name}, where no trial of it is finished": None}
        if absent := r.first.scores.get("absent"):
            notes |= {f"{spec.dataset.name}: no test case of class {', '.join(absent)}": None}
    return [*notes, *_not_ranked(results)]


def _not_ranked(results: Sequence[ModelResults]) -> list[str]:
    names = variants(r.first.spec.dataset for r in results)
    return [f"{', '.join(names)}: no part in any ranking over data sets: they share test cases"] if names else []
