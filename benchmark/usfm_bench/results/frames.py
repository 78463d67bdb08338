"""Finished trials as arrays: for each data set and model, scores over (seeds, cases)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from usfm_bench.errors import BenchError
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store
from usfm_bench.results.trials import Trial, by_model, gather_trials


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
    return [gather(trials, read_cases) for trials in by_model(store.finished(suite, profile)).values()]


def gather(
    trials: Sequence[Trial], read: Callable[[Path, Record], pd.DataFrame], *, rescored: bool = False
) -> ModelResults:
    """The trials of one model on one data set, as `gather_trials` checks them.

    Args:
        trials: of all seeds and folds.
        read: gives the rows of the cases of each.
        rescored: the rows come from predictions.
    """
    found = gather_trials(trials, rescored=rescored)
    frames = []
    for parts in found.by_seed.values():
        for folder, record in parts:
            cases = read(folder, record)
            cases.insert(0, "seed", record.spec.seed)
            cases.insert(1, "fold", record.spec.fold)
            frames.append(cases)
    return ModelResults(tuple(found.records), pd.concat(frames, ignore_index=True), found.notes)


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


def identified(results: ModelResults) -> pd.DataFrame:
    """The rows of the cases with suite, profile, data set and model in front."""
    spec = results.first.spec
    names = {"suite": spec.suite, "profile": spec.profile, "dataset": spec.dataset.name, "model": spec.model}
    return results.cases.assign(**names)[[*names, *results.cases.columns]]
