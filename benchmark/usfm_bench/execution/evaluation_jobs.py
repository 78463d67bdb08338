"""Which finished trials are evaluated on which cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from usfm_bench.core.errors import BenchError, unknown
from usfm_bench.data.corruptions import CORRUPTIONS, SEVERITIES, chosen
from usfm_bench.results.record import Record
from usfm_bench.results.trials import Trial
from usfm_bench.specs.condition import Condition
from usfm_bench.specs.dataset import DatasetSpec, find_dataset
from usfm_bench.suites.plan import Suite


class Job(NamedTuple):
    """One trial on one set of cases."""

    folder: Path
    """Of the trial."""
    record: Record
    dataset: DatasetSpec | None
    """Whose cases; None: the trial's own test cases."""
    condition: Condition | None = None
    """What is done to their images."""

    @property
    def name(self) -> str:
        """Of the evaluation."""
        cases = f"{self.record.spec.dataset.name}@test" if self.dataset is None else self.dataset.name
        return cases if self.condition is None else f"{cases}.{self.condition.label}"

    @property
    def label(self) -> str:
        """How it is called in messages."""
        return f"{self.record.spec.label} on {self.name}"


def plan_conditions(names: Sequence[str], severities: Sequence[str]) -> list[Condition]:
    """Each corruption in each severity; without severities in all five.

    Raises:
        BenchError: unknown ones, all at once.
    """
    faults = [f"--severities: '{each}' is none of 1 to 5." for each in severities if each not in map(str, SEVERITIES)]
    try:
        corruptions = chosen(names)
    except BenchError as error:
        corruptions = []
        faults.append(str(error))
    if severities and not names:
        faults.append("--severities needs --conditions: `all`, or names such as gain,shadow.")
    if faults:
        raise BenchError("\n".join(faults))
    levels = sorted({int(each) for each in severities} or SEVERITIES)
    return [
        Condition(corruption=name, severity=level, version=CORRUPTIONS[name].version)
        for name in corruptions
        for level in levels
    ]


def plan_jobs(
    trials: Sequence[Trial],
    on: Sequence[str],
    models: Sequence[str],
    registry: Mapping[str, DatasetSpec],
    conditions: Sequence[Condition] = (),
) -> list[Job]:
    """Every trial on each data set of its task, or, without `on`, on its own test cases; under each condition.

    Other data sets are also scored as they are, since a condition is compared with that; of a trial's own test cases
    the trial itself has that score. Jobs on the same cases are neighbours.

    Raises:
        BenchError: an unknown data set or model, or a data set that is for no task of the trials; all faults at once.
    """
    finished = {record.spec.model for _, record in trials}
    faults = [str(unknown("model", name, finished)) for name in models if name not in finished]
    chosen = [trial for trial in trials if not models or trial[1].spec.model in models]
    tasks = {record.spec.task for _, record in chosen}
    datasets = []
    for name in on:
        try:
            dataset = find_dataset(name, dict(registry))
        except BenchError as error:
            faults.append(str(error))
            continue
        datasets.append(dataset)
        if dataset.training is not None:
            faults.append(f"'{name}' is a part of a training side. All cases are scored: --on {name.partition('@')[0]}")
        elif chosen and not tasks & set(dataset.tasks):
            is_for = " and ".join(dataset.tasks) or "no task"
            faults.append(f"Dataset '{name}' is for {is_for}, these trials are of {' and '.join(sorted(tasks))}.")
        elif chosen and not any(_fits(record, dataset) for _, record in chosen):
            known = dict.fromkeys(", ".join(r.spec.dataset.structures) or "one structure" for _, r in chosen)
            shown = ", ".join(dataset.structures) or "one structure"
            faults.append(f"Dataset '{name}' shows {shown}, these trials were trained on {'; '.join(known)}.")
    if faults:
        raise BenchError("\n".join(faults))
    states: list[Condition | None] = list(conditions) if conditions and not on else [None, *conditions]
    if not on:
        own = sorted(chosen, key=lambda trial: (trial[1].spec.dataset.name, trial[1].spec.fold))
        cases = [list(same) for _, same in groupby(own, lambda trial: (trial[1].spec.dataset.name, trial[1].spec.fold))]
        return [Job(*trial, None, state) for same in cases for state in states for trial in same]
    return [
        Job(*trial, dataset, state)
        for dataset in datasets
        for state in states
        for trial in chosen
        if _fits(trial[1], dataset)
    ]


def plan_suite_jobs(
    trials: Sequence[Trial], suite: Suite, models: Sequence[str], registry: Mapping[str, DatasetSpec]
) -> list[Job]:
    """What the parts of a suite say under `evaluate`: each trial on the part's other data sets, under its conditions.

    A data set that is read from the same place as the trial's own is left out.

    Raises:
        BenchError: as `plan_jobs`, or the suite says nothing.
    """
    jobs: list[Job] = []
    for part in suite.parts:
        if (wanted := part.evaluate) is None:
            continue
        alone = sum(other.task == part.task for other in suite.parts) == 1  # takes what --datasets put in its place too
        named = part.datasets
        own = [
            (folder, record)
            for folder, record in trials
            if record.spec.task == part.task and (alone or record.spec.dataset.name.partition("@")[0] in named)
        ]
        if not own:
            continue
        states = plan_conditions(wanted.conditions, [str(level) for level in wanted.severities])
        of_part = [name for name in models if any(record.spec.model == name for _, record in own)]
        if models and not of_part:
            continue
        found = plan_jobs(own, wanted.datasets, of_part, registry, states)
        jobs += [job for job in found if job.dataset is None or not _same_place(job.record.spec.dataset, job.dataset)]
    return jobs


def _same_place(one: DatasetSpec, other: DatasetSpec) -> bool:
    return one.name.partition("@")[0] == other.name or bool(other.path and other.path == one.path)


def _fits(record: Record, dataset: DatasetSpec) -> bool:
    """Whether a data set has what a trial's network answers: its task, and the same structures in the same order."""
    return record.spec.task in dataset.tasks and record.spec.dataset.structures == dataset.structures
