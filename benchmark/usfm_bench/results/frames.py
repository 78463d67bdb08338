"""Finished trials as arrays: for each data set and model, scores over (seeds, cases)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.labels import numbered
from usfm_bench.metrics.definitions import Definition, excluding, known_definitions
from usfm_bench.metrics.measures import Missed
from usfm_bench.metrics.operating import RULES, VERSION
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store
from usfm_bench.results.trials import Trial, UnfinishedError, by_model, gather_trials
from usfm_bench.specs.task import DECISION, PROBABILITY, SCALED, TASKS, WHO, Task


@dataclass(frozen=True)
class ModelResults:
    """All finished trials of one model on one data set, with one recipe and one state of the data."""

    records: tuple[Record, ...]
    cases: pd.DataFrame
    """Rows of every `cases.parquet`, with columns seed and fold in front."""
    notes: tuple[str, ...] = ()
    """Seeds left out because some folds or repeats are not done."""

    @property
    def first(self) -> Record:
        """The first record; its settings but for seed and fold are those of all."""
        return self.records[0]

    @property
    def task(self) -> Task:
        """What the model did."""
        return TASKS[self.first.spec.task]

    @property
    def definitions(self) -> dict[str, str]:
        """Column of `cases` -> versioned definition id, of all records."""
        return self.first.definitions

    @cached_property
    def structures(self) -> list[str]:
        """What metrics are of one by one too, beside their mean; empty where masks show one structure."""
        return list(dict.fromkeys(d.structure for d in known_definitions(self.definitions.values()) if d.structure))

    def definition(self, column: str) -> Definition:
        """Of a column of `cases`."""
        return known_definitions([self.definitions[column]])[0]

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds with all folds done."""
        return sorted(self.cases["seed"].unique().tolist())

    @cached_property
    def repeats(self) -> NDArray[np.int64] | None:
        """(cases,) the repeat that each row of `case_table` is of; None for a split in which a case is tested once."""
        return self.folds if self.first.spec.split.kind == "holdout" and len(set(self.folds.tolist())) > 1 else None

    def n_distinct(self, used: NDArray[np.bool_] | None = None) -> int:
        """Number of cases in the rows of `case_table`, or in some of them: those of several repeats count once."""
        return int(np.count_nonzero(np.bincount(self._case_numbers if used is None else self._case_numbers[used])))

    def n_groups(self, used: NDArray[np.bool_] | None = None) -> int:
        """Number of groups in the rows of `case_table`, or in some of them."""
        return int(np.count_nonzero(np.bincount(self.groups if used is None else self.groups[used])))

    @cached_property
    def _case_numbers(self) -> NDArray[np.int64]:
        """(cases,) a number for each case id, in the order of `case_table`."""
        return np.unique(self.case_table["case_id"].astype(str), return_inverse=True)[1]

    @cached_property
    def averaged(self) -> ModelResults:
        """The same with one row a case: the mean over the repeats that tested it."""
        if self.repeats is None:
            return self
        fixed = {"fold", *WHO, *self.task.shared}
        how = {c: "mean" if self.cases[c].dtype.kind in "fiub" and c not in fixed else "first" for c in self.cases}
        keys = {name: how.pop(name) and self.cases[name] for name in ("seed", "case_id")}
        cases = self.cases.groupby(list(keys), sort=False, as_index=False).agg(how)
        return replace(self, cases=cases.assign(fold=0)[[*self.cases]])

    @cached_property
    def case_table(self) -> pd.DataFrame:
        """One row a case, sorted by case_id: group_id, class and whatever does not depend on the model.

        A case of several repeats has a row in each.
        """
        table: pd.DataFrame = self.cases.iloc[self._rows[0]].reset_index(drop=True)
        return table

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(cases,) the class of each, of classification, in the order of `case_table`."""
        return self.case_table["label"].to_numpy(np.int64)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """(cases,) a number for each group, by its least case id, in the order of `case_table`, not to be changed."""
        found = numbered(self.case_table["group_id"].astype(str).tolist())
        found.setflags(write=False)
        return found

    @cached_property
    def folds(self) -> NDArray[np.int64]:
        """(cases,) the fold or repeat that tests each, in the order of `case_table`."""
        return self.case_table["fold"].to_numpy(np.int64)

    def matrix(self, column: str) -> NDArray[np.float64]:
        """(seeds, cases) values of a column, seeds and cases in the order of `seeds` and `case_table`."""
        return np.asarray(self.cases[column].to_numpy(np.float64)[self._rows])

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(seeds, cases, classes) of classification, in label order; not to be written to."""
        found = np.stack([self.matrix(PROBABILITY + name) for name in self.first.classes], axis=-1)
        if not np.isfinite(found).all():
            raise BenchError(
                f"{self._named}: `cases.parquet` has {int((~np.isfinite(found)).any(axis=2).sum())} rows without "
                "probabilities. `usfm-bench score RUNS --update` computes them, or run the trials again with --fresh."
            )
        found.setflags(write=False)
        return found

    @cached_property
    def scaled_probabilities(self) -> NDArray[np.float64] | None:
        """(seeds, cases, classes) after temperature scaling, not to be written to; None unless all trials have it."""
        columns = [SCALED + name for name in self.first.classes]
        if not self._complete(columns):
            return None
        found = np.stack([self.matrix(name) for name in columns], axis=-1)
        found.setflags(write=False)
        return found

    def decisions(self, rule: str) -> NDArray[np.bool_] | None:
        """(seeds, cases) whether each is called positive; None unless all trials have a threshold by today's rule.

        It cannot be written to.
        """
        return self._decisions.get(rule)

    @cached_property
    def _decisions(self) -> dict[str, NDArray[np.bool_]]:
        today = all(record.tuned is not None and record.tuned.version == VERSION for record in self.records)
        columns = {rule: DECISION + rule for rule in RULES} if today else {}
        found = {rule: self.matrix(name) > 0 for rule, name in columns.items() if self._complete([name])}
        for decisions in found.values():
            decisions.setflags(write=False)
        return found

    def _complete(self, columns: Sequence[str]) -> bool:
        return set(columns) <= set(self.cases) and not any(self.cases[name].isna().any() for name in columns)

    @cached_property
    def seen_in_pretraining(self) -> bool | None:
        """Whether the weights saw test images, of any fold; None: unknown of some trial, and of none known."""
        seen = {record.seen_in_pretraining for record in self.records}
        return True if True in seen else None if None in seen else False

    @cached_property
    def n_leaked(self) -> int:
        """Test cases with a case of their group in training or validation, over all folds."""
        return sum(record.n_leaked for record in self.records) // len(self.seeds)

    @cached_property
    def _rows(self) -> NDArray[np.intp]:
        """(seeds, cases) positions in `cases`."""
        ids = self.cases["case_id"].to_numpy().astype(str)
        folds = self.cases["fold"].to_numpy()
        order = np.lexsort((folds, ids, self.cases["seed"].to_numpy()))
        sizes = self.cases["seed"].value_counts()
        rows = order.reshape(len(sizes), -1) if len(ids) and sizes.nunique() == 1 else order[:0, None]
        if not len(rows) or (ids[rows] != ids[rows[0]]).any() or (folds[rows] != folds[rows[0]]).any():
            listed = ", ".join(f"seed {seed}: {n}" for seed, n in sorted(sizes.items()))
            raise BenchError(
                f"{self._named}: `cases.parquet` of its seeds hold different cases, or none "
                f"({listed}). Run the trials again with --fresh."
            )
        first = rows[0]  # sorted by case and fold
        twice = (ids[first][1:] == ids[first][:-1]) & (folds[first][1:] == folds[first][:-1])
        if twice.any():
            raise BenchError(
                f"{self._named}: `cases.parquet` holds {int(twice.sum())} cases twice. Run the "
                "trials again with --fresh."
            )
        return rows

    @property
    def _named(self) -> str:
        return f"{self.first.spec.dataset.name} / {self.first.spec.model}"


class CountedScores(NamedTuple):
    """The cases that a mean runs over."""

    definition: Definition
    """The one asked for, or the same with missed lesions left out."""
    scores: NDArray[np.float64]
    """(seeds, cases), all cases."""
    used: NDArray[np.bool_]
    """(cases,) those of the mean."""


def counted_scores(results: ModelResults, definition: Definition, missed: Missed = "diagonal") -> CountedScores:
    """Scores of a metric by case, and which cases its mean is over, by `Task.averaged`.

    Args:
        results: of a task whose metrics are by case.
        definition: of the metric.
        missed: `exclude` leaves missed lesions out of distances.
    """
    scores, missed_by = results.matrix(definition.column), definition.about("missed")
    other = excluding(definition) if missed == "exclude" else None
    if other is not None:
        definition, scores = other, np.where(results.matrix(missed_by) > 0, np.nan, scores)
    return CountedScores(definition, scores, results.task.averaged(results.case_table, definition, scores))


def load_results(
    store: Store, suite: str, profile: str, *, dataset: str | None = None
) -> tuple[list[ModelResults], list[str]]:
    """Results of a suite, one entry a (data set, model), in path order; and what is not finished, in words.

    Args:
        store: of the trials.
        suite: its name.
        profile: of the trials.
        dataset: folder of a data set; None: all of them.

    Raises:
        BenchError: trials of one model differ in settings, data or definitions, so they cannot share a row; or, of all
            data sets, none is finished (UnfinishedError).
    """
    results, unfinished = [], []
    for trials in by_model(store.finished(suite, profile, dataset)).values():
        try:
            results.append(gather(trials, stored_cases))
        except UnfinishedError as error:
            unfinished.append(str(error))
    if unfinished and not results and dataset is None:
        raise UnfinishedError("\n".join(f"{line}." for line in unfinished))
    return results, unfinished


def gather(
    trials: Sequence[Trial], read: Callable[[Sequence[Trial]], pd.DataFrame], *, rescored: bool = False
) -> ModelResults:
    """The trials of one model on one data set, as `gather_trials` checks them.

    Args:
        trials: of all seeds and folds.
        read: gives the rows of all their cases, with columns seed and fold.
        rescored: the rows come from predictions.
    """
    found = gather_trials(trials, rescored=rescored)
    kept = [trial for parts in found.by_seed.values() for trial in parts]
    return ModelResults(tuple(found.records), read(kept), found.notes)


def stored_cases(trials: Sequence[Trial]) -> pd.DataFrame:
    """Rows of every `cases.parquet`, with columns seed and fold in front."""
    tables = []
    for folder, record in trials:
        table = _read(folder)
        _check_columns(folder, record, table.column_names)
        for name in ("fold", "seed"):
            table = table.add_column(0, name, pa.array(np.full(len(table), getattr(record.spec, name))))
        tables.append(table.replace_schema_metadata(None))
    frame: pd.DataFrame = pa.concat_tables(tables, promote_options="default").to_pandas()
    return frame


def read_cases(folder: Path, record: Record) -> pd.DataFrame:
    """A trial's `cases.parquet`.

    Raises:
        BenchError: missing, damaged, or without a column that the record promises.
    """
    cases = read_table(folder)
    _check_columns(folder, record, cases.keys().tolist())
    return cases


def _check_columns(folder: Path, record: Record, columns: Sequence[str]) -> None:
    if lost := lost_columns(record, columns):
        raise BenchError(
            f"{folder / 'cases.parquet'}: has no column {', '.join(lost)}. `usfm-bench score {folder} --update` "
            "computes it."
        )


def lost_columns(record: Record, columns: Iterable[str]) -> list[str]:
    """Columns that a record promises and its cases lack."""
    return sorted(record.definitions.keys() - set(columns)) if TASKS[record.spec.task].per_case else []


def read_table(folder: Path) -> pd.DataFrame:
    """A trial's `cases.parquet`, whatever its columns.

    Raises:
        BenchError: missing or damaged.
    """
    cases: pd.DataFrame = _read(folder).to_pandas()
    return cases


def _read(folder: Path) -> pa.Table:
    path = folder / "cases.parquet"
    try:
        # Threads cost more than they save for a few hundred rows.
        return pq.ParquetFile(path).read(use_threads=False)
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.") from None


def identified(results: ModelResults) -> pd.DataFrame:
    """The rows of the cases with suite, profile, data set and model in front."""
    spec = results.first.spec
    names = {"suite": spec.suite, "profile": spec.profile, "dataset": spec.dataset.name, "model": spec.model}
    return results.cases.assign(**names)[[*names, *results.cases.columns]]
