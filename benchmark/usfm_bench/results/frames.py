"""Finished trials as arrays: for each data set and model, scores over (seeds, cases)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from usfm_bench.config import content_hash
from usfm_bench.errors import BenchError
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store

Trial = tuple[Path, Record]


@dataclass(frozen=True)
class ModelResults:
    """All finished trials of one model on one data set, with one recipe and one state of the data."""

    records: tuple[Record, ...]
    cases: pd.DataFrame
    """Rows of every `cases.parquet`, with columns seed and fold in front."""
    notes: tuple[str, ...] = ()
    """Seeds left out because some folds are not done."""
    _matrices: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @property
    def first(self) -> Record:
        """The first record; its settings but for seed and fold are those of all."""
        return self.records[0]

    @property
    def definitions(self) -> dict[str, str]:
        """Column of `cases` -> versioned definition id, of all records."""
        return self.first.definitions

    @property
    def seeds(self) -> list[int]:
        """Seeds with all folds done."""
        return sorted(self.cases["seed"].unique().tolist())

    @property
    def case_table(self) -> pd.DataFrame:
        """One row a case, sorted by case_id: group_id, class and whatever does not depend on the model."""
        return self.cases.drop_duplicates("case_id").sort_values("case_id", ignore_index=True)

    def matrix(self, column: str) -> NDArray[np.float64]:
        """(seeds, cases) values of a column, seeds and cases in the order of `seeds` and `case_table`."""
        if column not in self._matrices:
            wide = self.cases.pivot(index="seed", columns="case_id", values=column)
            self._matrices[column] = wide.sort_index().sort_index(axis=1).to_numpy(np.float64)
        return self._matrices[column]


def load_results(store: Store, suite: str, profile: str) -> list[ModelResults]:
    """Results of a suite, one entry a (data set, model), in path order.

    Raises:
        BenchError: trials of one model differ in settings, data or definitions, so they cannot share a row.
    """
    by_model: dict[tuple[str, str], list[Trial]] = {}
    for folder, record in store.finished(suite, profile):
        by_model.setdefault((record.spec.dataset.name, record.spec.model), []).append((folder, record))
    return [gather(trials, read_cases) for trials in by_model.values()]


def gather(
    trials: Sequence[Trial], read: Callable[[Path, Record], pd.DataFrame], *, rescored: bool = False
) -> ModelResults:
    """The trials of one model on one data set.

    Args:
        trials: of all seeds and folds.
        read: gives the rows of the cases of each.
        rescored: the rows come from predictions: what records say of definitions does not matter, and trials of one
            and the same fold stand for themselves.
    """
    _check_alike([record for _, record in trials], definitions=not rescored)
    _check_once(trials)
    frames, notes = [], []
    folds = trials[0][1].spec.split.folds
    if rescored and len({record.spec.fold for _, record in trials}) == 1:
        folds = 1
    by_seed: dict[int, list[Trial]] = {}
    for folder, record in trials:
        by_seed.setdefault(record.spec.seed, []).append((folder, record))
    for seed, parts in sorted(by_seed.items()):
        if len(parts) < folds:
            notes.append(f"seed {seed} left out: {len(parts)} of {folds} folds are done")
            continue
        for folder, record in parts:
            cases = read(folder, record)
            cases.insert(0, "seed", record.spec.seed)
            cases.insert(1, "fold", record.spec.fold)
            frames.append(cases)
    if not frames:
        raise BenchError(f"{trials[0][1].spec.label}: no seed has all {folds} folds; run the suite again to finish it.")
    kept = [record for parts in by_seed.values() if len(parts) == folds for _, record in parts]
    return ModelResults(tuple(kept), pd.concat(frames, ignore_index=True), tuple(notes))


def read_cases(folder: Path, record: Record) -> pd.DataFrame:
    """A trial's `cases.parquet`.

    Raises:
        BenchError: missing, damaged, or without a column that the record promises.
    """
    cases = read_table(folder)
    if lost := lost_columns(record, cases):
        raise BenchError(
            f"{folder / 'cases.parquet'}: has no column {', '.join(lost)}. `usfm-bench score {folder} --update` "
            "computes it."
        )
    return cases


def lost_columns(record: Record, cases: pd.DataFrame) -> list[str]:
    """Columns that a record promises and its cases lack."""
    return sorted(record.definitions.keys() - cases.keys()) if record.spec.task == "segmentation" else []


def read_table(folder: Path) -> pd.DataFrame:
    """A trial's `cases.parquet`, whatever its columns.

    Raises:
        BenchError: missing or damaged.
    """
    path = folder / "cases.parquet"
    try:
        cases: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.") from None
    return cases


def _check_alike(records: Sequence[Record], *, definitions: bool) -> None:
    spec = records[0].spec
    kinds = {(_recipe_hash(record), record.data_hash, record.weight_hash) for record in records}
    splits = {(record.spec.fold, record.split_hash) for record in records}
    if len(kinds) > 1 or len(splits) > len({fold for fold, _ in splits}):
        raise BenchError(
            f"{spec.suite}: the trials of {spec.model} on {spec.dataset.name} differ in settings, data, weights or "
            "test cases, and cannot share a row. Run the suite with --fresh, or move the old trials elsewhere."
        )
    # Classification is scored from the probabilities, whatever the record says.
    if definitions and spec.task == "segmentation":
        check_definitions([record.definitions for record in records], complete=True)


def _check_once(trials: Sequence[Trial]) -> None:
    places: dict[tuple[int, int], Path] = {}
    for folder, record in trials:
        first = places.setdefault((record.spec.seed, record.spec.fold), folder)
        if first != folder:
            raise BenchError(f"The same trial lies in '{first}' and in '{folder}'; name one of the two runs folders.")


def identified(results: ModelResults) -> pd.DataFrame:
    """The rows of the cases with suite, profile, data set and model in front."""
    spec = results.first.spec
    names = {"suite": spec.suite, "profile": spec.profile, "dataset": spec.dataset.name, "model": spec.model}
    return results.cases.assign(**names)[[*names, *results.cases.columns]]


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


def _recipe_hash(record: Record) -> str:
    return content_hash({k: v for k, v in record.spec.identity.items() if k not in {"seed", "fold"}})
