"""Finished trials as arrays: for each data set and model, scores over (seeds, cases)."""

from __future__ import annotations

from collections.abc import Sequence
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
        BenchError: trials of one model differ in settings or data, so they cannot share a row.
    """
    by_model: dict[tuple[str, str], list[tuple[Path, Record]]] = {}
    for folder, record in store.finished(suite, profile):
        by_model.setdefault((record.spec.dataset.name, record.spec.model), []).append((folder, record))
    return [_gather(trials) for trials in by_model.values()]


def _gather(trials: Sequence[tuple[Path, Record]]) -> ModelResults:
    _check_alike([record for _, record in trials])
    frames, notes = [], []
    folds = trials[0][1].spec.split.folds
    by_seed: dict[int, list[tuple[Path, Record]]] = {}
    for folder, record in trials:
        by_seed.setdefault(record.spec.seed, []).append((folder, record))
    for seed, parts in sorted(by_seed.items()):
        if len(parts) < folds:
            notes.append(f"seed {seed} left out: {len(parts)} of {folds} folds are done")
            continue
        frames += [_read_cases(folder, record) for folder, record in parts]
    if not frames:
        raise BenchError(f"{trials[0][1].spec.label}: no seed has all {folds} folds; run the suite again to finish it.")
    kept = [record for parts in by_seed.values() if len(parts) == folds for _, record in parts]
    return ModelResults(tuple(kept), pd.concat(frames, ignore_index=True), tuple(notes))


def _read_cases(folder: Path, record: Record) -> pd.DataFrame:
    path = folder / "cases.parquet"
    try:
        cases: pd.DataFrame = pq.read_table(path).to_pandas()
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.") from None
    cases.insert(0, "seed", record.spec.seed)
    cases.insert(1, "fold", record.spec.fold)
    return cases


def _check_alike(records: Sequence[Record]) -> None:
    kinds = {(_recipe_hash(record), record.data_hash, record.weight_hash) for record in records}
    splits = {(record.spec.fold, record.split_hash) for record in records}
    if len(kinds) > 1 or len(splits) > len({fold for fold, _ in splits}):
        spec = records[0].spec
        raise BenchError(
            f"{spec.suite}: the trials of {spec.model} on {spec.dataset.name} differ in settings, data, weights or "
            "test cases, and cannot share a row. Run the suite with --fresh, or move the old trials elsewhere."
        )


def _recipe_hash(record: Record) -> str:
    return content_hash({k: v for k, v in record.spec.identity.items() if k not in {"seed", "fold"}})
