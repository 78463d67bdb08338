"""A baseline: a small JSON of what a suite scored, by seed and case, and of everything that the scores depend on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, ValidationError, model_validator

from usfm_bench.core.environment import now
from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import Settings
from usfm_bench.core.validation import in_words
from usfm_bench.regression.scores import Scores, read_scores
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store
from usfm_bench.results.trials import Trials, by_model, gather_trials
from usfm_bench.stats.contributions import Contributions

SCHEMA_VERSION = 1
KIND = "usfm-bench baseline"
_ENVIRONMENT = ("versions", "python", "system", "device", "precision", "threads")


class MetricScores(Settings):
    """One metric of one model on one data set."""

    definition: str
    values: tuple[tuple[FiniteFloat, ...], ...] = ()
    """(S, U) of each case, or the jackknife's pseudo-values of groups; empty where the jackknife does not exist."""
    groups: tuple[int, ...] = ()
    """(U,)."""
    folds: tuple[int, ...] = ()
    """(U,)."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> MetricScores:
        lengths = {len(of_seed) for of_seed in self.values} | {len(self.groups), len(self.folds)}
        if self.values and len(lengths) > 1:
            raise ValueError(f"{self.definition}: values, groups and folds are of different lengths: {sorted(lengths)}")
        return self

    @property
    def contributions(self) -> Contributions | None:
        """As arrays."""
        if not self.values:
            return None
        return Contributions(np.array(self.values), np.array(self.groups), np.array(self.folds))


class CostSummary(Settings):
    """Over the trials of one model on one data set."""

    wall_s: FiniteFloat = Field(ge=0)
    """Median, in seconds."""
    peak_memory_mb: FiniteFloat = Field(ge=0)
    """Largest, in MiB."""
    train_images_per_s: FiniteFloat | None = Field(ge=0)
    """Median."""


class Entry(Settings):
    """One model on one data set."""

    dataset: str
    model: str
    task: str
    settings: dict[str, Any]
    """Of `TrialSpec.identity`, without seed and fold."""
    data_hash: str
    split_hashes: dict[int, str]
    """By fold."""
    weight_hash: str | None
    seeds: tuple[int, ...]
    cases: tuple[str, ...]
    """Digests of the scored cases' ids, which may be file names of private data, in the order of the ids."""
    trained: dict[int, str] = Field(default_factory=dict)
    """Seed -> digest of its trained weights; without those of records that do not know it."""
    metrics: tuple[MetricScores, ...]
    bits: dict[str, str]
    """Definition id -> digest of the scores of all seeds and cases, for `check --exact`."""
    cost: CostSummary
    environment: dict[str, Any]

    @model_validator(mode="after")
    def _metrics_fit_seeds(self) -> Entry:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"{self.label}: seeds are {self.seeds}; expected at least one, each once")
        names = [metric.definition for metric in self.metrics]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"{self.label}: metrics are {names}; expected at least one, each once")
        if odd := [m.definition for m in self.metrics if m.values and len(m.values) != len(self.seeds)]:
            raise ValueError(f"{self.label}: {', '.join(odd)} has not one row a seed")
        return self

    @property
    def label(self) -> str:
        """How messages call it."""
        return f"{self.dataset} / {self.model}"


class Baseline(Settings):
    """Content of the file."""

    kind: Literal["usfm-bench baseline"] = "usfm-bench baseline"
    schema_version: int = SCHEMA_VERSION
    suite: str
    profile: str
    created: str
    """UTC, ISO 8601."""
    entries: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _entries_once(self) -> Baseline:
        labels = [entry.label for entry in self.entries]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"entries: {', '.join(twice)} is there twice")
        return self


def make_baseline(store: Store, suite: str, profile: str) -> tuple[Baseline, list[str]]:
    """The baseline of what is finished, and what a user should know of it, in words.

    Raises:
        BenchError: nothing is finished, or trials of one model do not belong together.
    """
    from usfm_bench.regression.bits import stored_bits

    entries, notes = [], []
    for trials in by_model(store.finished(suite, profile)).values():
        found = gather_trials(trials)
        label = f"{found.first.spec.dataset.name} / {found.first.spec.model}"
        notes += [f"{label}: {note}" for note in found.notes]
        if len(found.by_seed) == 1:
            notes.append(
                f"{label}: one seed. How much another training differs is not known then, so `check` can find scores "
                "unchanged, but never a regression. Run the suite with --seeds 3 or more."
            )
        entries.append(_entry(found, read_scores(found), stored_bits(found)))
    return Baseline(suite=suite, profile=profile, created=now(), entries=tuple(entries)), notes


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        BenchError: missing, not a baseline, damaged, or of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot be read as a baseline ({error}).") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise BenchError(f"{path}: is not a baseline. `usfm-bench baseline --suite NAME --out FILE` writes one.")
    if content.get("schema_version") != SCHEMA_VERSION:
        raise BenchError(
            f"{path}: schema_version is {content.get('schema_version')}, this usfm-bench reads {SCHEMA_VERSION}. Write "
            "the baseline anew with `usfm-bench baseline`."
        )
    try:
        return Baseline.model_validate(content)
    except ValidationError as error:
        raise BenchError("\n".join(in_words(error, Baseline, content, str(path)))) from None


def to_json(baseline: Baseline) -> str:
    """One line a list of numbers, so that a diff in a code review is short."""
    content = baseline.model_dump(mode="json")
    entries = content.pop("entries")
    head = json.dumps(content, indent=1, ensure_ascii=False)[:-2]
    return head + ',\n "entries": [\n' + ",\n".join(_entry_json(e) for e in entries) + "\n ]\n}\n"


def _entry_json(entry: dict[str, Any]) -> str:
    metrics = ",\n".join(f"   {json.dumps(metric)}" for metric in entry.pop("metrics"))
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items()]
    return "{\n" + ",\n".join([*lines, f'  "metrics": [\n{metrics}\n  ]']) + "\n }"


def _entry(trials: Trials, scores: Scores, bits: dict[str, str]) -> Entry:
    record = trials.first
    return Entry(
        dataset=record.spec.dataset.name,
        model=record.spec.model,
        task=record.spec.task,
        settings=settings_of(record),
        data_hash=record.data_hash,
        split_hashes=splits_of(trials),
        weight_hash=record.weight_hash,
        seeds=scores.seeds,
        cases=digests(scores.case_ids),
        trained=trained_of(trials),
        metrics=tuple(metric_scores(ident, of_cases) for ident, of_cases in scores.metrics.items()),
        bits=bits,
        cost=cost_of(trials),
        environment=environment_of(record),
    )


def metric_scores(ident: str, of_cases: Contributions | None) -> MetricScores:
    """As the file holds it."""
    if of_cases is None:
        return MetricScores(definition=ident)
    return MetricScores(
        definition=ident,
        values=tuple(map(tuple, of_cases.values.tolist())),
        groups=tuple(of_cases.groups.tolist()),
        folds=tuple(of_cases.folds.tolist()),
    )


def digests(case_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Twelve hex digits for each id."""
    return tuple(hashlib.sha256(case_id.encode()).hexdigest()[:12] for case_id in case_ids)


def settings_of(record: Record) -> dict[str, Any]:
    """The settings that decide the result, but for seed and fold; cases that are left out stand in it by digests."""
    settings = {name: value for name, value in record.spec.identity.items() if name not in {"seed", "fold"}}
    settings["dataset"]["exclude"] = sorted(digests(tuple(settings["dataset"]["exclude"])))
    return settings


def splits_of(trials: Trials) -> dict[int, str]:
    """Fold -> hash of the case ids on each side."""
    return {record.spec.fold: record.split_hash for record in trials.records}


def trained_of(trials: Trials) -> dict[int, str]:
    """Seed -> digest of its networks' trained weights, where every record knows them."""
    found = {}
    for seed, parts in trials.by_seed.items():
        hashes = {record.spec.fold: record.trained_hash for _, record in parts}
        if None not in hashes.values():
            found[seed] = hashlib.sha256(json.dumps(sorted(hashes.items())).encode()).hexdigest()[:16]
    return found


def environment_of(record: Record) -> dict[str, Any]:
    """Versions and device, without times and commits."""
    return {name: record.environment[name] for name in _ENVIRONMENT if name in record.environment}


def cost_of(trials: Trials) -> CostSummary:
    """What the trials took."""
    costs = [record.cost for record in trials.records]
    speeds = [cost.train_images_per_s for cost in costs if cost.train_images_per_s is not None]
    return CostSummary(
        wall_s=median(cost.wall_s for cost in costs),
        peak_memory_mb=max(cost.peak_memory_mb for cost in costs),
        train_images_per_s=median(speeds) if speeds else None,
    )
