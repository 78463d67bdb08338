"""What corruptions of the images cost finished models: each score against that of the same networks on clean images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.data.corruptions import SEVERITIES
from usfm_bench.data.corruptions.medmnistc import ALEXNET
from usfm_bench.metrics.measures import Missed
from usfm_bench.results.evaluation import conditions_of
from usfm_bench.results.frames import ModelResults, gather, stored_cases
from usfm_bench.results.trials import Trial
from usfm_bench.specs.condition import Condition
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.stats import Interval, crossed_interval
from usfm_bench.stats.headline import Headline, headlines
from usfm_bench.stats.intervals import paired_interval

Floats = NDArray[np.float64]
Part = NDArray[np.int64] | None
Corrupted = dict[Condition, ModelResults]


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What conditions cost one model on one data set by one metric."""

    table: str | None
    dataset: str
    model: str
    metric: str
    definition: str
    unit: str
    higher_is_better: bool
    corruption: str | None
    """None: the mean over all corruptions."""
    severity: int | None
    """None: the mean over all severities that were evaluated."""
    severities: tuple[int, ...]
    n_conditions: int
    clean: float
    """Mean over the cases and seeds that have the score, clean and corrupted."""
    corrupted: float
    loss: Interval
    """Clean minus corrupted, by case and network: positive where more is better and corruption costs."""
    relative: Interval
    """The loss as a share of the clean score."""
    n_seeds: int
    n_cases: int
    """Or groups, where the metric is no mean over cases."""


@dataclass(frozen=True, kw_only=True)
class CorruptionError:
    """Mean corruption error of MedMNIST-C: balanced errors as shares of those of the publication's AlexNet."""

    table: str | None
    dataset: str
    model: str
    lacking: tuple[str, ...]
    """Conditions that it needs and that were not evaluated; then there is no number."""
    clean: float | None = None
    """Balanced error on clean images."""
    corrupted: float | None = None
    """Mean over corruptions and severities."""
    error: Interval | None = None
    """mCE; 1: as AlexNet on BreastMNIST."""


def evaluated(folder: Callable[[TrialSpec], Path], results: Sequence[ModelResults]) -> list[tuple[str, Corrupted]]:
    """The evaluations under conditions that lie in the trials' folders, of each entry of `results`; and what is wrong.

    Args:
        folder: of a trial.
        results: of finished trials.
    """
    found = []
    for each in results:
        by_condition: dict[Condition, list[Trial]] = {}
        faults: dict[str, None] = {}
        for record in each.records:
            try:
                for place, evaluation in conditions_of(folder(record.spec)):
                    if evaluation.condition is not None and evaluation.is_of(record):
                        trial = place, evaluation.as_trial(record)
                        by_condition.setdefault(evaluation.condition, []).append(trial)
            except BenchError as error:
                faults |= {str(error): None}
        gathered: Corrupted = {}
        for condition, trials in by_condition.items():
            try:
                gathered[condition] = gather(trials, stored_cases)
            except BenchError as error:
                faults |= {f"{condition.label}: {error}": None}
        found.append(("; ".join(faults), gathered))
    return found


def losses(results: Sequence[ModelResults], corrupted: Sequence[Corrupted], missed: Missed) -> list[Loss]:
    """By data set, model and headline metric: over all corruptions, by corruption, and by corruption and severity."""
    found: list[Loss] = []
    for clean, of in zip(results, corrupted, strict=True):
        if not of:
            continue
        scored = {c: {h.definition.id: h for h in headlines([r], missed)} for c, r in of.items()}
        for headline in headlines([clean], missed):
            own = {c: by_id[ident] for c, by_id in scored.items() if (ident := headline.definition.id) in by_id}
            found += _losses(headline, {c: h for c, h in own.items() if h.contributions is not None})
    return found


def _losses(clean: Headline, corrupted: Mapping[Condition, Headline]) -> list[Loss]:
    if clean.contributions is None or not corrupted:
        return []
    names = list(dict.fromkeys(c.corruption for c in corrupted))
    parts: list[tuple[str | None, int | None, list[Condition]]] = [(None, None, list(corrupted))]
    levels = sorted({c.severity for c in corrupted})
    parts += [(None, level, [c for c in corrupted if c.severity == level]) for level in levels]
    for name in names:
        own = [c for c in corrupted if c.corruption == name]
        parts += [(name, None, own), *((name, c.severity, [c]) for c in sorted(own, key=lambda c: c.severity))]
    return [
        loss
        for name, level, conditions in parts
        if (loss := _loss(clean, [corrupted[c] for c in conditions], name, level, conditions)) is not None
    ]


def _loss(
    clean: Headline,
    corrupted: Sequence[Headline],
    corruption: str | None,
    severity: int | None,
    conditions: Sequence[Condition],
) -> Loss | None:
    """Paired: the same cases by the same networks."""
    everywhere = [clean, *corrupted]
    seeds = [s for s in clean.results.seeds if all(s in h.results.seeds for h in corrupted)]
    units = set(clean.units).intersection(*(h.units for h in corrupted))
    if not seeds or not units or clean.contributions is None:
        return None
    used = np.array([unit in units for unit in clean.units])
    before, *after = (h.of_seeds(seeds)[:, np.array([unit in units for unit in h.units])] for h in everywhere)
    mean = np.mean(after, axis=0)
    groups, folds, sizes = (None if each is None else each[used] for each in clean.contributions[1:])
    first, definition = clean.results.first.spec, clean.definition
    return Loss(
        table=first.table,
        dataset=first.dataset.name,
        model=clean.model,
        metric=definition.name,
        definition=definition.id,
        unit=definition.unit,
        higher_is_better=definition.higher_is_better,
        corruption=corruption,
        severity=severity,
        severities=tuple(sorted({c.severity for c in conditions})),
        n_conditions=len(conditions),
        clean=float(before.mean()),
        corrupted=float(mean.mean()),
        loss=paired_interval(before - mean, groups=groups, folds=folds, sizes=sizes),
        relative=_relative(before, mean, groups, folds, sizes),
        n_seeds=len(seeds),
        n_cases=len({name for name, _ in units}),
    )


def corruption_errors(results: Sequence[ModelResults], corrupted: Sequence[Corrupted]) -> list[CorruptionError]:
    """Of every model of two classes that was evaluated under a condition of MedMNIST-C."""
    found = []
    for clean, of in zip(results, corrupted, strict=True):
        own = {(c.corruption, c.severity): each for c, each in of.items() if c.corruption in ALEXNET}
        if clean.task.per_case or len(clean.first.classes) != 2 or not own:
            continue
        spec = clean.first.spec
        needed = [(name, severity) for name in ALEXNET for severity in SEVERITIES]
        lacking = tuple(f"{name}-{severity}" for name, severity in needed if (name, severity) not in own)
        none = CorruptionError(table=spec.table, dataset=spec.dataset.name, model=spec.model, lacking=lacking)
        found.append(none if lacking else replace(none, **_corruption_error(clean, own)))
    return found


def _corruption_error(clean: ModelResults, corrupted: Mapping[tuple[str, int], ModelResults]) -> dict[str, Any]:
    seeds = [seed for seed in clean.seeds if all(seed in r.seeds for r in corrupted.values())]
    errors = {key: _balanced_errors(r, seeds) for key, r in corrupted.items()}
    ratios = [np.mean([errors[name, s] for s in SEVERITIES], axis=0) / ALEXNET[name] for name in ALEXNET]
    return {
        "clean": float(_balanced_errors(clean, seeds).mean()),
        "corrupted": float(np.mean([each.mean() for each in errors.values()])),
        "error": crossed_interval(np.mean(ratios, axis=0), groups=clean.groups, folds=clean.folds),
    }


def _balanced_errors(results: ModelResults, seeds: Sequence[int]) -> Floats:
    """(S, N) that each case adds: the mean over cases is the mean over classes of the share that is wrong."""
    labels = results.case_table["label"].to_numpy(np.int64)
    rows = [results.seeds.index(seed) for seed in seeds]
    wrong = results.probabilities[rows].argmax(axis=2) != labels
    counts = np.bincount(labels)[labels]
    return np.asarray(wrong * (len(labels) / (len(set(labels.tolist())) * counts)))


def _relative(before: Floats, after: Floats, groups: Part, folds: Part, sizes: Part) -> Interval:
    """Of 1 - mean(after) / mean(before), by its linear part (delta method)."""
    whole, ratio = before.mean(), after.mean() / before.mean() if before.mean() else np.nan
    if not np.isfinite(ratio):
        return Interval(np.nan, None, None, "none")
    return paired_interval(1 - ratio - (after - ratio * before) / whole, groups=groups, folds=folds, sizes=sizes)
