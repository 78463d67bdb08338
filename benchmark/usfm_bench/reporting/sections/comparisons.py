"""Is a difference between two models real, and what would this design have found?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, difference, difference_unit, number, p_value, probability, with_interval
from usfm_bench.reporting.comparisons import Compared, groups_not_told_apart
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind

_PAIRS_SHOWN = 6  # of one data set and metric: all pairs of four models


def comparisons(report: Report) -> Iterator[Section]:
    """One a table of the paper."""
    for table in dict.fromkeys(c.table for c in report.comparisons):
        own = [c for c in report.comparisons if c.table == table]
        grid, notes = _pairs(own)
        seeds = {(r.first.spec.dataset.name, r.first.spec.model): len(r.seeds) for r in report.results}
        notes += _on_fewer(own, seeds)
        yield Section(
            title="Comparisons, each paired on the same cases",
            grid=grid,
            notes=tuple(notes),
            caption="Pairs of models, on the same cases.",
            table=table,
            ident="pairs",
        )


def _pairs(compared: Sequence[Compared]) -> tuple[Grid, list[str]]:
    """One line a pair, and notes."""
    shown, hidden = _chosen(compared)
    header = ["Dataset", "Metric", "A", "B", "A - B", "p", "p (Holm)", "p (best)", "Effect size", "P(A better)"]
    header += ["P(claim false)", "Would find", "Seeds needed", "Cases needed"]
    tested = [c for c in shown if c.p_value is not None]
    family = max((c.family for c in compared), default=0)
    against = next((c.against for c in compared), None)
    pairs = "every pair of models" if against is None else f"every model with {against}"
    notes = [
        f"Holm: over all {family} comparisons of this table, of {pairs} on every data set by "
        f"{' and '.join(dict.fromkeys(c.metric for c in compared))}. p (best): of B being the best model there, "
        "one-sided, by Bonferroni over the other models, data sets and metrics (Hsu's comparison with the best). p is "
        "uncorrected. P(A better): shrunk by how little the models of that data set differ beyond chance; P(claim "
        "false) is the rest. Would find: the true difference that this design finds with 80 % power, uncorrected; "
        "seeds, or cases (or groups of them), needed for that at the observed difference.",
    ]
    if any(c.n_seeds == 1 for c in shown):
        notes.append(
            "With one seed p and the probabilities are for these trained networks alone, not for other trainings: read "
            "as if of the models, p < 0.05 came out in 6 to 43 % of simulated comparisons of models that are alike "
            "(docs/type-one.md)."
        )
    for (dataset, metric), of_models in groups_not_told_apart(compared).items():
        groups = "; ".join(f"{model} {letters}" for model, letters in of_models.items())
        notes.append(f"{dataset}, {metric}: models that share a letter are not told apart (Holm): {groups}.")
    if hidden:
        notes.append(f"{hidden} pairs without the best model of a data set are not shown; JSON has them all.")
    notes += [
        f"{c.dataset}, {c.metric}: {c.a} and {c.b} are not compared: {c.reason}" for c in shown if c.p_value is None
    ]
    body = [
        [
            *(c.dataset, c.metric, c.a, c.b, _difference(c), p_value(c.p_value), p_value(c.p_holm), p_value(c.p_best)),
            number(c.effect_size, "score"),
            *(probability(c.probability_better), probability(c.false_claim)),
            difference(c.detectable, c.unit, digits=1),
            *(NONE if c.n_seeds == 1 else _needed(c.seeds_needed), _needed(c.cases_needed)),
        ]
        for c in tested
    ]
    return Grid(header, body), notes


def _on_fewer(compared: Sequence[Compared], seeds: Mapping[tuple[str, str], int]) -> list[str]:
    """Pairs that do not have all seeds or cases in common, so that A - B is not the difference of the table's means."""
    most: dict[tuple[str, str], int] = {}
    for c in compared:
        place = c.dataset, c.definition
        most[place] = max(c.n_cases, most.get(place, 0))
    lines: dict[str, None] = {}
    for c in compared:
        own, cases = [seeds.get((c.dataset, model), c.n_seeds) for model in (c.a, c.b)], most[c.dataset, c.definition]
        if c.p_value is not None and (c.n_seeds < max(own) or c.n_cases < cases):
            has = f"{c.n_seeds} seeds (of {own[0]} and {own[1]}) and {c.n_cases} cases (of {cases})"
            lines |= {f"{c.dataset}, {c.metric}: {c.a} and {c.b} are compared by the {has} that both have.": None}
    return [*lines]


def _chosen(compared: Sequence[Compared]) -> tuple[list[Compared], int]:
    """All pairs of a few models; of many, those with the model that has the best mean."""
    shown: list[Compared] = []
    places = defaultdict[tuple[str, str], list[Compared]](list)
    for c in compared:
        places[c.dataset, c.definition].append(c)
    for pairs in places.values():
        beaten = {c.b for c in pairs if c.difference is not None}
        best = {c.a for c in pairs if c.difference is not None} - beaten
        few = len(pairs) <= _PAIRS_SHOWN or not best
        shown += pairs if few else [c for c in pairs if {c.a, c.b} & best]
    return shown, len(compared) - len(shown)


def _difference(c: Compared) -> str:
    value = with_interval(c.difference, c.ci_low, c.ci_high, c.unit, digits=1)
    return f"{value} {difference_unit(c.unit)}".rstrip()


def _needed(n: int | None) -> str:
    return "no number" if n is None else str(n)


def _data(report: Report) -> Mapping[str, object]:
    return {"comparisons": [dict(vars(compared)) for compared in report.comparisons]}


SECTIONS.register("comparisons")(
    SectionKind(
        name="comparisons",
        make=comparisons,
        place="table",
        order=70,
        nothing="Nothing is compared: no data set of this report has two models.",
        data=_data,
    )
)
