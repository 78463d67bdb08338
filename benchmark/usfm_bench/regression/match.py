"""The trials that stand against a baseline's entries, and what differs besides their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import differing_fields
from usfm_bench.regression.baseline import Baseline, Entry, digests, environment_of, settings_of, splits_of, trained_of
from usfm_bench.regression.scores import Read, Scores, read_scores
from usfm_bench.results.store import Store
from usfm_bench.results.trials import Trial, Trials, by_model, gather_trials
from usfm_bench.stats.contributions import Contributions


class Matched(NamedTuple):
    """A baseline's entry and the same model's new trials, of the baseline's seeds."""

    entry: Entry
    trials: Trials
    scores: Scores
    same_networks: bool = False
    """The trained weights of every seed are the baseline's; only what was done with them can differ."""


def match(baseline: Baseline, store: Store, read: Read) -> tuple[list[Matched], list[str]]:
    """Every entry with its trials; and what of the runs was not looked at, in words.

    Raises:
        BenchError: trials are missing, or of other data, splits, seeds, cases or definitions; all in one message.
    """
    finished = by_model(store.finished(baseline.suite, baseline.profile))
    if not finished:
        raise BenchError(_nothing(baseline, store))
    pairs, faults = [], []
    for entry in baseline.entries:
        key = (baseline.suite, baseline.profile, entry.dataset, entry.model)
        try:
            pairs.append(_pair(entry, finished.pop(key, []), read))
        except BenchError as error:
            faults += [f"{entry.label}: {fault}" for fault in str(error).split("\n")]
    if faults:
        raise BenchError("\n".join(["The runs cannot be compared with the baseline:", *faults]))
    remarks = [f"not in the baseline, not checked: {dataset} / {model}" for _, _, dataset, model in sorted(finished)]
    for entry, trials, *_ in pairs:
        remarks += [f"{entry.label}: {note}" for note in trials.notes]
    return pairs, remarks


def _nothing(baseline: Baseline, store: Store) -> str:
    suite, profile = baseline.suite, baseline.profile
    has = [f"suite {name}, profile {each}" for name in store.suites() for each in store.profiles(name)]
    return (
        f"'{store.root}' has no finished trial of the baseline's suite '{suite}', profile '{profile}'"
        + (f"; it has {'; '.join(has)}. " if has else ", nor of any other. ")
        + f"`usfm-bench run --suite {suite} --profile {profile} --runs {store.root}` makes them."
    )


def _pair(entry: Entry, trials: Sequence[Trial], read: Read) -> Matched:
    if not trials:
        raise BenchError("no trial is finished.")
    found = gather_trials(trials)
    if faults := _faults(entry, found):
        raise BenchError("\n".join(faults))
    more = sorted(set(found.by_seed) - set(entry.seeds))
    notes = (*found.notes, *([f"seed {', '.join(map(str, more))}: not in the baseline, not checked"] if more else ()))
    chosen = Trials({seed: found.by_seed[seed] for seed in entry.seeds}, notes)
    scores = read_scores(chosen, read)
    _check_cases(entry, scores)
    return Matched(entry, chosen, scores, bool(entry.trained) and trained_of(chosen) == entry.trained)


def _faults(entry: Entry, trials: Trials) -> list[str]:
    """Why trials cannot be compared with an entry; other data come first, since the rest follows from them."""
    faults = []
    if trials.first.spec.task != entry.task:
        faults.append(f"the baseline is of {entry.task}, the runs of {trials.first.spec.task}.")
    if trials.first.data_hash != entry.data_hash:
        why = differing_fields(entry.settings.get("dataset", {}), settings_of(trials.first)["dataset"])
        hashes = f"{entry.data_hash[:8]} -> {trials.first.data_hash[:8]}"
        faults.append(f"the data changed ({'; '.join([hashes, *why])}). Write a new baseline.")
    elif splits_of(trials) != entry.split_hashes:
        faults.append("the split changed, so the test cases are others. Write a new baseline.")
    if missing := sorted(set(entry.seeds) - set(trials.by_seed)):
        faults.append(f"seed {', '.join(map(str, missing))} of the baseline is not finished.")
    return faults


def _check_cases(entry: Entry, scores: Scores) -> None:
    names = digests(scores.case_ids)
    if names != entry.cases:
        lost, new = len(set(entry.cases) - set(names)), len(set(names) - set(entry.cases))
        raise BenchError(
            f"other cases than the baseline's: {lost} of its {len(entry.cases)} are not scored, {new} are new. "
            "Write a new baseline."
        )
    held = {metric.definition for metric in entry.metrics}
    if held != scores.metrics.keys():
        raise BenchError(
            f"the baseline holds {', '.join(sorted(held))}; this usfm-bench guards {', '.join(scores.metrics)}. "
            "Write a new baseline."
        )
    for metric in entry.metrics:
        old, new_one = metric.contributions, scores.metrics[metric.definition]
        if old is not None and new_one is not None and not _alike(old, new_one):
            raise BenchError(f"{metric.definition}: cases are grouped or folded in another way. Write a new baseline.")


def _alike(old: Contributions, new: Contributions) -> bool:
    return np.array_equal(old.groups, new.groups) and np.array_equal(old.folds, new.folds)


def changes(pairs: Sequence[Matched]) -> dict[str, tuple[str, ...]]:
    """Every change that may be the cause -> where; settings before weights before versions and device."""
    found: dict[str, list[str]] = {}
    for entry, trials, *_ in pairs:
        record = trials.first
        lines = differing_fields(entry.settings, settings_of(record))
        if entry.weight_hash != record.weight_hash:
            lines.append(f"weights: {_short(entry.weight_hash)} -> {_short(record.weight_hash)}")
        lines += differing_fields(entry.environment, environment_of(record))
        for line in lines:
            found.setdefault(line, []).append(entry.label)
    return {line: tuple(labels) for line, labels in found.items()}


def _short(weight_hash: str | None) -> str:
    return "none" if weight_hash is None else weight_hash[:8]
