"""Which finished trials share a row: all seeds and folds of one model on one data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import content_hash
from usfm_bench.results.record import Record
from usfm_bench.specs.task import TASKS

Trial = tuple[Path, Record]


class UnfinishedError(BenchError):
    """No seed of a model has all folds yet."""


@dataclass(frozen=True)
class Trials:
    """Finished trials of one model on one data set, with one recipe and one state of the data."""

    by_seed: Mapping[int, Sequence[Trial]]
    """Seed -> its folds or repeats, for seeds with all of them done."""
    notes: tuple[str, ...]
    """Seeds left out because some folds or repeats are not done."""

    @property
    def first(self) -> Record:
        """The first record; its settings but for seed and fold are those of all."""
        return self.records[0]

    @property
    def records(self) -> list[Record]:
        """Of all trials, by seed and fold."""
        return [record for parts in self.by_seed.values() for _, record in parts]


def by_model(trials: Iterable[Trial]) -> dict[tuple[str, ...], list[Trial]]:
    """(suite, profile, data set, model) -> its trials, in the given order."""
    found: dict[tuple[str, ...], list[Trial]] = {}
    for folder, record in trials:
        spec = record.spec
        found.setdefault((spec.suite, spec.profile, spec.dataset.name, spec.model), []).append((folder, record))
    return found


def gather_trials(trials: Sequence[Trial], *, rescored: bool = False) -> Trials:
    """The trials of one model on one data set, of all seeds and folds.

    Args:
        trials: of one model on one data set.
        rescored: the scores come from predictions: what records say of definitions does not matter, and trials of one
            and the same fold stand for themselves.

    Raises:
        BenchError: they differ in settings, data, weights or definitions, one is there twice, or no seed is complete
            (UnfinishedError).
    """
    _check_alike([record for _, record in trials], definitions=not rescored)
    _check_once(trials)
    folds = max(record.spec.split.parts for _, record in trials)  # repeats may be added to those that are there
    if rescored and len({record.spec.fold for _, record in trials}) == 1:
        folds = 1
    part = trials[0][1].spec.split.part
    by_seed: dict[int, list[Trial]] = {}
    for folder, record in trials:
        by_seed.setdefault(record.spec.seed, []).append((folder, record))
    complete = {seed: parts for seed, parts in sorted(by_seed.items()) if len(parts) == folds}
    notes = [
        f"seed {seed} left out: {len(parts)} of {folds} {part}s are done"
        for seed, parts in sorted(by_seed.items())
        if seed not in complete
    ]
    if not complete:
        spec = trials[0][1].spec
        raise UnfinishedError(
            f"{spec.dataset.name}, {spec.model}: no seed has all {folds} {part}s; run the suite again to finish it"
        )
    return Trials(complete, tuple(notes))


def check_definitions(each: Sequence[Mapping[str, str]], *, complete: bool = False) -> None:
    """Raise a BenchError where one column stands for two definitions; `complete`: or is not in all."""
    used: dict[str, set[str | None]] = {}
    for column in {name for definitions in each for name in definitions}:
        used[column] = {definitions.get(column) for definitions in each} - (set() if complete else {None})
    if odd := sorted(column for column, ids in used.items() if len(ids) > 1):
        raise BenchError(
            f"Trials that share a table were scored by different definitions of {', '.join(odd)}. "
            "`usfm-bench score RUNS --update` scores all trials alike, from their kept predictions."
        )


def _check_alike(records: Sequence[Record], *, definitions: bool) -> None:
    spec = records[0].spec
    kinds = {(recipe_hash(record), record.data_hash, record.weight_hash) for record in records}
    splits = {(record.spec.fold, record.split_hash) for record in records}
    if len(kinds) > 1 or len(splits) > len({fold for fold, _ in splits}):
        raise BenchError(
            f"{spec.suite}: the trials of {spec.model} on {spec.dataset.name} differ in settings, data, weights or "
            "test cases, and cannot share a row. Run the suite with --fresh, or move the old trials elsewhere."
        )
    # Classification is scored from the probabilities, whatever the record says.
    if definitions and TASKS[spec.task].per_case:
        check_definitions([record.definitions for record in records], complete=True)


def _check_once(trials: Sequence[Trial]) -> None:
    places: dict[tuple[int, int], Path] = {}
    for folder, record in trials:
        first = places.setdefault((record.spec.seed, record.spec.fold), folder)
        if first != folder:
            raise BenchError(f"The same trial lies in '{first}' and in '{folder}'; name one of the two runs folders.")


def recipe_hash(record: Record) -> str:
    """Hash of the settings but for seed and fold."""
    return content_hash({k: v for k, v in record.spec.identity.items() if k not in {"seed", "fold"}})
