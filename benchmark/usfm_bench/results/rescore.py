"""Finished trials scored again from their kept predictions, without the model, the data set or torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from usfm_bench.core.environment import code_version, now
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic, write_text
from usfm_bench.core.locks import LockHeldError, holder, locked
from usfm_bench.metrics.definitions import Definition
from usfm_bench.metrics.operating import Tuned
from usfm_bench.results.evaluation import EVALUATIONS
from usfm_bench.results.frames import ModelResults, gather, lost_columns, read_table
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.record import Record
from usfm_bench.results.store import lock_path, read_record
from usfm_bench.results.trials import Trial, by_model
from usfm_bench.specs.task import TASKS, Predictions
from usfm_bench.tasks.scoring import score_cases

PREDICTIONS = "predictions.npz"


def find_trials(path: Path) -> list[Trial]:
    """Every finished trial under a runs folder, or under any folder of it, in path order.

    Raises:
        BenchError: no such folder, or no finished trial in it.
    """
    if not path.is_dir():
        raise BenchError(f"'{path}' is not a folder; expected a runs folder, or a folder in one.")
    found = [p for p in sorted(path.rglob("record.json")) if _is_of_trial(p.resolve())]
    if not found:
        raise BenchError(f"No finished trial (record.json) in '{path}'. `usfm-bench run` makes them.")
    return [(record.parent, read_record(record)) for record in found]


def _is_of_trial(record: Path) -> bool:
    # A data set, and so an evaluation on it, may be called `seed-1` too.
    return bool(re.fullmatch(r"seed-\d+", record.parent.name)) and record.parent.parent.name != EVALUATIONS


def rescore(
    trials: Sequence[Trial], definitions: Sequence[Definition] | None = None
) -> tuple[list[ModelResults], list[str]]:
    """The trials with `cases` computed anew.

    Args:
        trials: of `find_trials`.
        definitions: None: the primary ones, which are compared with what the trials store.

    Returns:
        One entry a (suite, profile, data set, model); and, in words, what could not be scored, and which stored
        columns differ although their definition is the same.

    Raises:
        BenchError: nothing could be scored.
    """
    frames: dict[Path, pd.DataFrame] = {}
    faults: list[str] = []
    for folder, record in trials:
        try:
            predictions, stored = load_predictions(folder / PREDICTIONS), read_table(folder)
            chosen = None if definitions is None else [d for d in definitions if d.of == TASKS[record.spec.task].of]
            task = TASKS[record.spec.task]
            tuned = task.tune(predictions, record.spec.dataset.positive)
            frames[folder] = score_cases(task, predictions, stored, chosen, tuned=tuned)
        except BenchError as error:
            faults.append(f"skipped: {folder}: {error}")
            continue
        if definitions is None:
            names = _differing(record, predictions, stored, frames[folder])
            faults += [f"differs from what is stored: {folder}: {name}" for name in names]
    results = []
    for each in by_model(t for t in trials if t[0] in frames).values():
        try:
            results.append(gather(each, lambda of: _together(of, frames), rescored=True))
        except BenchError as error:
            faults.append(f"skipped: {error}")
    if not results:
        raise BenchError("\n".join(faults))
    return results, faults


def _together(trials: Sequence[Trial], frames: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    each = [frames[folder].assign(seed=record.spec.seed, fold=record.spec.fold) for folder, record in trials]
    whole = pd.concat(each, ignore_index=True)
    return whole[["seed", "fold", *whole.columns.drop(["seed", "fold"])]]


def _differing(record: Record, predictions: Predictions, stored: pd.DataFrame, again: pd.DataFrame) -> list[str]:
    """Columns that are defined as before and have other values."""
    defined = TASKS[record.spec.task].definitions(predictions)
    changed = {name for name, ident in record.definitions.items() if defined.get(name) != ident}
    ordered = stored.set_index("case_id").loc[again["case_id"]].reset_index()
    return [
        name
        for name in again.columns.astype(str)
        if name in stored and name not in changed and not _equal(ordered[name], again[name])
    ]


def update_trial(folder: Path, record: Record) -> bool:
    """Bring a trial's stored scores to today's primary definitions; False where they are already.

    `record.json` is written last, and says when and by which version.

    Raises:
        BenchError: predictions or cases are damaged, or another process has the trial in hand.
    """
    try:
        with locked(lock_path(folder)):
            return _update(folder, record)
    except LockHeldError:
        raise BenchError(f"{folder}: is in the hands of another process{holder(lock_path(folder))}.") from None


def _update(folder: Path, record: Record) -> bool:
    predictions, stored = load_predictions(folder / PREDICTIONS), read_table(folder)
    task = TASKS[record.spec.task]
    definitions, tuned = task.definitions(predictions), task.tune(predictions, record.spec.dataset.positive)
    same = definitions == record.definitions and _version(tuned) == _version(record.tuned)
    if same and not lost_columns(record, stored.columns):
        return False
    cases = score_cases(task, predictions, stored, tuned=tuned)
    rescored = record.model_copy(
        update={
            "definitions": definitions,
            "scores": task.summarise(cases, definitions, record.classes),
            "tuned": tuned,
            "environment": record.environment | {"rescored": {"code": code_version(), "finished": now()}},
        }
    )
    write_atomic(folder / "cases.parquet", lambda stream: cases.to_parquet(stream, index=False))
    write_text(folder / "record.json", rescored.model_dump_json(indent=1))
    return True


def _version(tuned: Tuned | None) -> int | None:
    return None if tuned is None else tuned.version


def _equal(stored: pd.Series, again: pd.Series) -> bool:
    if stored.dtype.kind != "f":
        return bool((stored.astype(object) == again.astype(object)).all() or stored.equals(again))
    # A sum may end in another last bit on another machine.
    return bool(np.allclose(stored, again, rtol=1e-9, atol=0, equal_nan=True))
