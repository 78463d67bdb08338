"""The headline metrics of one model on one data set, by seed and case, read without pandas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.results.record import Record
from usfm_bench.results.trials import Trials
from usfm_bench.specs.task import PROBABILITY, TASKS, Task
from usfm_bench.stats.contributions import Contributions, class_contributions

Columns = Mapping[str, NDArray[Any]]
Read = Callable[[Path, Record, Sequence[str]], Columns]


class Scores(NamedTuple):
    """Of all complete seeds."""

    seeds: tuple[int, ...]
    case_ids: tuple[str, ...]
    """Those that are scored: with a lesion, in segmentation."""
    metrics: dict[str, Contributions | None]
    """Definition id -> what each case or group adds; None where the jackknife does not exist."""


def read_columns(folder: Path, record: Record, columns: Sequence[str]) -> Columns:
    """Columns of a trial's `cases.parquet`.

    Raises:
        BenchError: missing, damaged, or without one of the columns.
    """
    path = folder / "cases.parquet"
    try:
        table = pq.ParquetFile(path).read(columns=list(columns))  # read_table would import pandas
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.") from None
    if lost := sorted(set(columns) - set(table.column_names)):
        raise BenchError(f"{path}: has no column {', '.join(lost)}. `usfm-bench score RUNS --update` computes it.")
    return {name: _array(table.column(name)) for name in columns}


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    # Its own to_numpy would import pandas.
    dtype = np.float64 if pa.types.is_floating(column.type) else None
    return np.array(column.to_pylist(), dtype=dtype)


def read_scores(trials: Trials, read: Read = read_columns) -> Scores:
    """Headline metrics of all complete seeds; cases in the order of their ids.

    Args:
        trials: of one model on one data set.
        read: gives columns of each trial's cases.

    Raises:
        BenchError: scored by other definitions than the headline ones.
    """
    record = trials.first
    task = TASKS[record.spec.task]
    names = _columns(task, record) if task.per_case else [PROBABILITY + name for name in record.classes]
    shared = ["case_id", "group_id", *task.shared]
    by_seed = [_of_seed(parts, [*shared, *names], read) for parts in trials.by_seed.values()]
    _check_seeds(record, dict(zip(trials.by_seed, by_seed, strict=True)), [*shared, "fold"], names)
    who = by_seed[0]
    matrices = {name: np.stack([columns[name] for columns in by_seed]).astype(np.float64) for name in names}
    groups, folds = np.unique(who["group_id"].astype(str), return_inverse=True)[1].astype(np.int64), who["fold"]
    metrics: dict[str, Contributions | None] = {}
    used = np.ones(len(groups), bool)
    if task.per_case:
        for definition in task.headline(record.spec.dataset):
            used = used & task.counted(who, definition) & ~np.isnan(matrices[definition.column]).any(axis=0)
        for definition in task.headline(record.spec.dataset):
            scores = matrices[definition.column][:, used]
            metrics[definition.id] = Contributions(scores, groups[used], folds[used])
    else:
        probabilities = np.stack([matrices[name] for name in names], axis=-1)  # (S, N, C)
        labels = who["label"].astype(np.int64)
        for definition in task.headline(record.spec.dataset):
            repeats = folds if record.spec.split.kind == "holdout" and len(set(folds.tolist())) > 1 else None
            metrics[definition.id] = class_contributions(definition, probabilities, labels, groups, folds, repeats)
    return Scores(tuple(trials.by_seed), tuple(who["case_id"][used].astype(str).tolist()), metrics)


def _check_seeds(record: Record, by_seed: Mapping[int, Columns], shared: Sequence[str], scored: Sequence[str]) -> None:
    """Every seed has the same cases, once each, with the same groups and labels, and numbers for scores."""
    first, faults = next(iter(by_seed.values())), []
    for seed, columns in by_seed.items():
        ids = columns["case_id"].astype(str)
        apart = columns["fold"] if record.spec.split.kind == "holdout" else np.zeros(len(ids))  # repeats share cases
        n_once = len(set(zip(ids.tolist(), apart.tolist(), strict=True)))
        if not len(ids) or n_once < len(ids):
            faults.append(f"seed {seed}: {len(ids)} cases, of which {len(ids) - n_once} twice.")
        if other := [n for n in shared if columns[n].tolist() != first[n].tolist()]:
            faults.append(f"seed {seed}: other {', '.join(other)} than the first seed ({len(ids)} cases).")
        faults += [
            f"seed {seed}: {name} holds what is no number, as of a training that diverged."
            for name in scored
            if not _are_numbers(columns[name], undefined=TASKS[record.spec.task].per_case)
        ]
    if "label" in first and not set(first["label"].tolist()) <= set(range(len(record.classes))):
        faults.append(f"label: expected numbers of the {len(record.classes)} classes.")
    if faults:
        raise BenchError("\n".join(faults))


def _are_numbers(column: NDArray[Any], *, undefined: bool) -> bool:
    """`undefined`: a score of a case may be NaN; a probability may not."""
    if column.dtype.kind not in "fiub":
        return False
    values = column.astype(np.float64)
    return not np.isinf(values).any() and (undefined or not np.isnan(values).any())


def _columns(task: Task, record: Record) -> list[str]:
    wanted = task.headline(record.spec.dataset)
    if others := [d.id for d in wanted if record.definitions.get(d.column) != d.id]:
        raise BenchError(
            f"{record.spec.label}: was not scored by {', '.join(others)}. `usfm-bench score RUNS --update` does, from "
            "kept predictions."
        )
    return [d.column for d in wanted]


def _of_seed(parts: Sequence[tuple[Path, Record]], columns: Sequence[str], read: Read) -> dict[str, NDArray[Any]]:
    """Columns of one seed's folds together, and `fold`, in the order of the case ids, then of the folds."""
    each = [read(folder, record, columns) for folder, record in parts]
    whole = {name: np.concatenate([table[name] for table in each]) for name in columns}
    folds = [np.full(len(table["case_id"]), record.spec.fold) for table, (_, record) in zip(each, parts, strict=True)]
    whole["fold"] = np.concatenate(folds)
    order = np.lexsort((whole["fold"], whole["case_id"].astype(str)))
    return {name: column[order] for name, column in whole.items()}
