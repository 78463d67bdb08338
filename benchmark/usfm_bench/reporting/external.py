"""Finished models on other data sets and on their own test cases: how far they fall, and whether their order stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.measures import Missed
from usfm_bench.results.evaluation import Evaluation, others_of
from usfm_bench.results.frames import ModelResults, gather, stored_cases
from usfm_bench.results.trials import Trial
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.stats import Interval, crossed_interval
from usfm_bench.stats.headline import Headline, headlines
from usfm_bench.stats.order import OnTwo, kept_order
from usfm_bench.stats.unpaired import unpaired

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Target:
    """One model, trained on one data set, on another."""

    source: ModelResults
    """On its own test cases."""
    target: str
    """Name of the other data set."""
    results: ModelResults
    """On that; of a cross-validation, each fold's network is a seed."""
    first: Evaluation
    """Of the first trial; what it says of the cases is so of all."""
    folders: tuple[tuple[Path, Path], ...]
    """(folder of the trial, folder of its evaluation), in the order of the evaluation's seeds."""


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One metric of one model on its own test cases and on another data set."""

    table: str | None
    source: str
    target: str
    model: str
    metric: str
    definition: str
    unit: str
    higher_is_better: bool
    internal: Interval
    """On the source's test cases; of classification, on those of the classes that the target has."""
    external: Interval
    drop: Interval
    """Internal less external, by the same networks."""
    p_value: float | None
    """Of no drop."""
    relative: float | None
    """The drop as a share of the internal score."""
    n_seeds: int
    n_internal: int
    n_external: int
    """Cases, or groups, where the metric is no mean over cases."""
    known_left_out: int
    left_out: int
    """Cases of a class that the model does not know."""
    seen: bool | None
    """Whether cases that were trained on are among those scored; None: unknown."""
    absent: tuple[str, ...]
    """Classes of the model that the target lacks; the internal score leaves them out, too."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """Whether the order of models by their own test cases is that on another data set."""

    table: str | None
    source: str
    target: str
    metric: str
    definition: str
    tau: Interval
    """Kendall's tau-b of the models' means."""
    models: tuple[str, ...]
    """From the best on the source's test cases to the worst."""
    on_target: tuple[str, ...]
    """The same by the target."""


def evaluated_elsewhere(
    folder: Callable[[TrialSpec], Path], results: Sequence[ModelResults]
) -> tuple[list[Target], list[str]]:
    """The evaluations on other data sets that lie in the trials' folders; and what is wrong, in words.

    Args:
        folder: of a trial.
        results: of finished trials.
    """
    found: list[Target] = []
    faults: dict[str, None] = {}
    for source in results:
        by_name: dict[str, list[tuple[Path, Path, Evaluation, Trial]]] = {}
        for record in source.records:
            place = folder(record.spec)
            try:
                for inside, evaluation in others_of(place):
                    if evaluation.is_of(record):
                        trial = inside, evaluation.as_trial(record)
                        by_name.setdefault(evaluation.name, []).append((place, inside, evaluation, trial))
            except BenchError as error:
                faults |= {str(error): None}
        for name, each in by_name.items():
            try:
                gathered = gather([trial for *_, trial in each], stored_cases)
            except BenchError as error:
                faults |= {f"{name}: {error}": None}
                continue
            each.sort(key=lambda one: one[3][1].spec.seed)
            paths = tuple((place, inside) for place, inside, *_ in each)
            found.append(Target(source, name, gathered, each[0][2], paths))
    return found, list(faults)


def drops(targets: Sequence[Target], missed: Missed) -> Iterator[Drop]:
    """Of every model, target and headline metric that both have."""
    for each in targets:
        there = {h.definition.id: h for h in headlines([each.results], missed, in_mm=True)}
        for own in headlines([internal_cases(each)], missed, in_mm=True):
            other = there.get(own.definition.id)
            if other is not None and (pair := paired_networks(own, other)) is not None:
                yield _drop(each, own, other, *pair)


def internal_cases(target: Target) -> ModelResults:
    """The source's test cases of the classes that the target has, where its task is of classes."""
    source, there = target.source, set(target.results.case_table["class"])
    if source.task.per_case or set(source.case_table["class"]) <= there:
        return source
    cases = source.cases[source.cases["class"].isin(there)].reset_index(drop=True)
    return replace(source, cases=cases) if len(cases) else source


def paired_networks(own: Headline, other: Headline) -> tuple[Floats, Floats] | None:
    """(S, C1) and (S, C2) contributions of the networks that scored both; of folds, the mean of a seed's networks."""
    if own.contributions is None or other.contributions is None:
        return None
    split = own.results.first.spec.split
    numbers: dict[int, list[int]] = {}
    for record in own.results.records:
        spec = record.spec
        seed = spec.seed * split.folds + spec.fold if split.kind == "kfold" else spec.seed + (spec.fold << 32)
        numbers.setdefault(spec.seed, []).append(seed)
    whole = [s for s in own.results.seeds if all(number in other.results.seeds for number in numbers[s])]
    if not whole:
        return None
    return own.of_seeds(whole), np.stack([other.of_seeds(numbers[seed]).mean(axis=0) for seed in whole])


def _drop(target: Target, own: Headline, other: Headline, a: Floats, b: Floats) -> Drop:
    assert own.contributions is not None
    assert other.contributions is not None
    definition, spec, first = own.definition, own.results.first.spec, target.first
    _, groups, folds, sizes = own.contributions
    _, there, _, sizes_there = other.contributions
    found = unpaired(a, b, groups_a=groups, groups_b=there, folds_a=folds, sizes_a=sizes, sizes_b=sizes_there)
    known = None if first.seen is None else first.seen_scored
    lacking = set(own.results.first.classes) - set(target.results.case_table["class"])
    return Drop(
        table=spec.table,
        source=spec.dataset.name,
        target=target.target,
        model=spec.model,
        metric=definition.name,
        definition=definition.id,
        unit=definition.unit,
        higher_is_better=definition.higher_is_better,
        internal=crossed_interval(a, groups=groups, folds=folds, sizes=sizes, bounds=definition.range),
        external=crossed_interval(b, groups=there, sizes=sizes_there, bounds=definition.range),
        drop=found.interval(),
        p_value=found.p_value(),
        relative=found.difference / float(a.mean()) if a.mean() else None,
        n_seeds=len(a),
        n_internal=len({name for name, _ in own.units}),
        n_external=len(other.units),
        known_left_out=first.known_left_out,
        left_out=sum(first.left_out.values()),
        seen=known,
        absent=() if own.results.task.per_case else tuple(c for c in own.results.first.classes if c in lacking),
    )


def orders(targets: Sequence[Target], missed: Missed, rng: np.random.Generator) -> Iterator[Order]:
    """Of every source and target with two models or more, on the cases that all of them have."""
    places: dict[tuple[str | None, str, str], list[Target]] = {}
    for each in targets:
        spec = each.source.first.spec
        places.setdefault((spec.table, spec.dataset.name, each.target), []).append(each)
    for (table, source, target), models in places.items():
        pairs: dict[str, list[tuple[Headline, Headline]]] = {}
        for each in models:
            there = {h.definition.id: h for h in headlines([each.results], missed)}
            for own in headlines([internal_cases(each)], missed):
                other = there.get(own.definition.id)
                if other is not None and own.contributions is not None and other.contributions is not None:
                    pairs.setdefault(own.definition.id, []).append((own, other))
        for both in pairs.values():
            if len(both) > 1 and (order := _order(both, rng)) is not None:
                definition, names, on_target = both[0][0].definition, order[1], order[2]
                yield Order(
                    table=table,
                    source=source,
                    target=target,
                    metric=definition.name,
                    definition=definition.id,
                    tau=order[0],
                    models=names,
                    on_target=on_target,
                )


def _order(
    both: Sequence[tuple[Headline, Headline]], rng: np.random.Generator
) -> tuple[Interval, tuple[str, ...], tuple[str, ...]] | None:
    shared = [set.intersection(*(set(pair[side].units) for pair in both)) for side in range(2)]
    if not all(shared):
        return None
    models, groups = [], []
    for pair in both:
        found = paired_networks(*pair)
        if found is None:
            return None
        used = [np.array([unit in shared[side] for unit in pair[side].units]) for side in range(2)]
        models.append(OnTwo(*(scores[:, rows] for scores, rows in zip(found, used, strict=True))))
        groups = [
            h.contributions.groups[rows] for h, rows in zip(pair, used, strict=True) if h.contributions is not None
        ]
    sign = -1.0 if both[0][0].definition.higher_is_better else 1.0
    names = [own.model for own, _ in both]
    first, second = (
        tuple(names[i] for i in np.argsort([sign * getattr(m, side).mean() for m in models], kind="stable"))
        for side in ("first", "second")
    )
    return kept_order(models, groups[0], groups[1], rng), first, second
