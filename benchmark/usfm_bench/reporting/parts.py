"""What of a report each data set gives by itself, by several processes where there are many trials."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.comparisons import Compared, compare_pairs
from usfm_bench.reporting.rows import Row, measured_rows
from usfm_bench.results.frames import ModelResults, load_results
from usfm_bench.results.store import Store
from usfm_bench.results.trials import UnfinishedError
from usfm_bench.stats.headline import headlines

MANY = 1000
"""Trials from which on a second process saves more than it takes to start: about 2 s (docs/clusters.md)."""


@dataclass(frozen=True)
class Part:
    """One data set of a report."""

    results: tuple[ModelResults, ...]
    """Of each model: those that its task puts first, then the others; both in path order."""
    unfinished: tuple[str, ...]
    """What is not finished, in words."""
    rows: tuple[tuple[Row, ...], ...]
    """Of each entry of `results`."""
    pairs: tuple[Compared, ...]
    """Of its models, before any correction for how many there are."""
    left_out: dict[str, str]
    """Records that cannot be read, and why (`Store.left_out`)."""


def parts_of(store: Store, suite: str, profile: str, missed: Missed, workers: int = 1) -> list[Part]:
    """One for each data set with a finished trial, in path order; the same whatever the number of processes.

    Args:
        store: of the trials.
        suite: its name.
        profile: one that is there.
        missed: what a missed lesion's distances get.
        workers: processes, where there are 1000 trials or more. They import the main module anew: only a command, or
            a script that guards its own start, may ask for more than one.

    Raises:
        BenchError: trials of one model cannot share a row, or nothing is finished.
    """
    counts = store.trials_by_dataset(suite, profile)
    of_dataset = partial(_part, store, suite, profile, missed)
    several = workers > 1 and len(counts) > 1 and sum(counts.values()) >= MANY
    parts = _spread(of_dataset, list(counts), workers) if several else list(map(of_dataset, counts))
    for part in parts:
        store.left_out |= part.left_out  # of another process
    if not any(part.results for part in parts) and (unfinished := [line for p in parts for line in p.unfinished]):
        raise UnfinishedError("\n".join(f"{line}." for line in unfinished))
    return parts


def _part(store: Store, suite: str, profile: str, missed: Missed, dataset: str) -> Part:
    results, unfinished = load_results(store, suite, profile, dataset=dataset)
    results.sort(key=lambda r: r.first.spec.model not in r.task.first)
    rows = tuple(tuple(measured_rows(r, missed=missed)) for r in results)
    pairs = tuple(compare_pairs(headlines(results, missed)))
    return Part(tuple(results), tuple(unfinished), rows, pairs, store.left_out)


def _spread(of_dataset: partial[Part], datasets: Sequence[str], workers: int) -> list[Part]:
    # A forked process would inherit locks of threads that it does not have.
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(min(workers, len(datasets)), mp_context=context) as pool:
            return list(pool.map(of_dataset, datasets))
    except BrokenProcessPool:  # as where memory is short for two: one after the other takes less
        return list(map(of_dataset, datasets))
