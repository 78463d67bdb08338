"""Digests of all scores to the last bit, for changes of metric code. Imports pandas and scikit-learn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from usfm_bench.regression.scores import Columns
from usfm_bench.results.frames import read_cases
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.record import Record
from usfm_bench.results.trials import Trials
from usfm_bench.specs.task import TASKS
from usfm_bench.tasks.scoring import score_cases

PREDICTIONS = "predictions.npz"


def stored_bits(trials: Trials) -> dict[str, str]:
    """Definition id -> digest of what the trials store."""
    return _bits(trials, read_cases, lambda record: record.definitions)


def recomputed_bits(trials: Trials) -> dict[str, str]:
    """Definition id -> digest of what today's metric code gives for the kept predictions.

    Raises:
        BenchError: predictions are missing or damaged.
    """
    first, record = next(iter(trials.by_seed.values()))[0]
    defined = TASKS[record.spec.task].definitions(load_predictions(first / PREDICTIONS))
    return _bits(trials, recomputed_cases, lambda record: defined)


def recomputed_cases(folder: Path, record: Record) -> pd.DataFrame:
    """A trial's cases, scored anew."""
    return score_cases(TASKS[record.spec.task], load_predictions(folder / PREDICTIONS), read_cases(folder, record))


def recomputed_columns(folder: Path, record: Record, columns: Sequence[str]) -> Columns:
    """Columns of a trial's cases, scored anew."""
    cases = recomputed_cases(folder, record)
    return {name: cases[name].to_numpy() for name in columns}


def _bits(
    trials: Trials,
    read: Callable[[Path, Record], pd.DataFrame],
    defined: Callable[[Record], dict[str, str]],
) -> dict[str, str]:
    digests: dict[str, hashlib._Hash] = {}
    for parts in trials.by_seed.values():
        for folder, record in parts:
            cases = read(folder, record).sort_values("case_id", ignore_index=True)
            ids = defined(record)
            task = TASKS[record.spec.task]
            if task.per_case:
                scores = {ident: cases[column].to_numpy(np.float64) for column, ident in ids.items()}
            else:
                means = task.summarise(cases, ids, record.classes)
                scores = {ident: np.array([np.nan if means[n] is None else means[n]]) for n, ident in ids.items()}
            for ident, values in scores.items():
                digests.setdefault(ident, hashlib.sha256()).update(values.tobytes())
    return {ident: digest.hexdigest()[:16] for ident, digest in digests.items()}
