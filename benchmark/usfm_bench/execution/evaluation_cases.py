"""The cases of an evaluation: opened once, with the classes that the model knows, and compared with its training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import BenchError
from usfm_bench.data.alike import alike
from usfm_bench.data.audit.overlap import Comparison
from usfm_bench.data.corruptions import corrupt_sample
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.execution.evaluation_jobs import Job
from usfm_bench.pipeline import Sides
from usfm_bench.results.evaluation import Seen
from usfm_bench.results.record import Record
from usfm_bench.specs.condition import Condition
from usfm_bench.specs.dataset import DatasetSpec, find_dataset
from usfm_bench.specs.task import TASKS

_CLASSLESS = "(no class)"


class Sources:
    """Data sets in memory.

    Args:
        registry: all data sets.
        data_root: where their paths are resolved.
        say: told, in words, what a user should know.
    """

    def __init__(self, registry: Mapping[str, DatasetSpec], data_root: Path, say: Callable[[str], None]) -> None:
        self._registry, self._data_root, self._say = dict(registry), data_root, say
        self._said: set[str] = set()
        self._opened: dict[str, Dataset | BenchError] = {}
        self._compared: dict[tuple[int, int], Comparison] = {}
        self._corrupted: tuple[Any, Dataset] | None = None

    def say_once(self, text: str) -> None:
        """Tell the user, unless they were told before."""
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def open(self, spec: DatasetSpec) -> Dataset:
        """A data set, decoded once.

        Raises:
            DataError: it cannot be used.
        """
        key = spec.model_dump_json(exclude={"name", "training"})
        if key not in self._opened:
            try:
                self._opened[key] = open_dataset(spec, self._data_root)
            except BenchError as error:
                self._opened[key] = error
        if isinstance(found := self._opened[key], BenchError):
            raise found
        return found.under(spec) if spec.name != found.spec.name else found

    def trained_on(self, record: Record) -> Sides:
        """The cases that a trial was trained and tested on.

        Raises:
            BenchError: they are not here, or not those of the record.
        """
        spec = record.spec
        entry = find_dataset(spec.dataset.name, self._registry)
        here = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"path": entry.path})})
        sides = Sides(here, self.open(here.dataset))
        if changed := [name for name, found in sides.hashes.items() if found != getattr(record, name)]:
            raise BenchError(
                f"Dataset '{spec.dataset.name}' has changed since the trial was run ({', '.join(changed)}). Put the "
                "old files back, or run the trial again with --fresh."
            )
        return sides

    def corrupted(self, cases: Dataset, condition: Condition) -> Dataset:
        """Cases under a condition, on all cores; the last ones stay in memory."""
        key = tuple(map(id, cases.samples)), condition
        if self._corrupted is None or self._corrupted[0] != key:
            self._corrupted = None  # before the next ones take their place
            change = partial(corrupt_sample, name=condition.corruption, severity=condition.severity)
            with ThreadPoolExecutor(available_cores()) as pool:
                self._corrupted = key, replace(cases, samples=tuple(pool.map(change, cases.samples)))
        return self._corrupted[1]

    def comparison(self, known: Dataset, cases: Dataset) -> Comparison:
        """Of two data sets that stay in memory, made once."""
        key = id(known.samples), id(cases.samples)
        if key not in self._compared:
            self._compared[key] = Comparison(known, cases)
        return self._compared[key]


class Cases:
    """What a job scores."""

    def __init__(self, job: Job, sources: Sources) -> None:
        self._job, self._sources = job, sources

    @cached_property
    def whole(self) -> Dataset:
        """All cases of the data set."""
        if self._job.dataset is None:
            return self._sources.trained_on(self._job.record).whole
        return self._sources.open(self._job.dataset)

    @cached_property
    def scored(self) -> Dataset:
        """The test cases, or those of a class that the model knows.

        Raises:
            BenchError: the data set has no class that the model knows.
        """
        if self._job.dataset is None:
            return self._sources.trained_on(self._job.record).test
        if TASKS[self._job.record.spec.task].needs != "label":
            return self.whole
        known = self._job.record.classes
        rows = [i for i, sample in enumerate(self.whole.samples) if sample.case.label in known]
        if not rows:
            raise BenchError(self._no_class())
        spec = self.whole.spec.model_copy(update={"classes": known})
        return Dataset(spec, tuple(self.whole.samples[i] for i in rows), self.whole.notes, self.whole.grouped_by)

    @property
    def pictures(self) -> Dataset:
        """The scored cases as the network sees them: under the job's condition, made once for neighbouring jobs."""
        condition = self._job.condition
        return self.scored if condition is None else self._sources.corrupted(self.scored, condition)

    @property
    def left_out(self) -> dict[str, int]:
        """Class that the model does not know -> number of cases."""
        ids = {sample.case.case_id for sample in self.scored.samples}
        if self._job.dataset is None:
            return {}
        return dict(
            Counter(s.case.label or _CLASSLESS for s in self.whole.samples if s.case.case_id not in ids).most_common()
        )

    @cached_property
    def seen(self) -> Seen | None:
        """Which of the scored cases the trial was trained on; None where that cannot be found out."""
        if self._job.dataset is None:
            return Seen(n=len(self.scored), same_dataset=False, pixels=0, groups=0, near_duplicates=0)
        record = self._job.record
        same = _base(record.spec.dataset.name) == self._job.dataset.name
        try:
            sides = self._sources.trained_on(record)
        except BenchError as error:
            if same:
                return Seen(n=len(self.whole), same_dataset=True, pixels=0, groups=0, near_duplicates=0)
            first = str(error).splitlines()[0]
            what = f"whether models of '{record.spec.dataset.name}' were trained on '{self._job.name}' is not known"
            self._sources.say_once(f"{what}: {first}")
            return None
        met = [*sides.split.train, *sides.split.val]
        overlap = self._sources.comparison(sides.whole, self.whole).overlap(met)
        return Seen(n=len(self.whole), same_dataset=same, **overlap._asdict())

    def _no_class(self) -> str:
        known, there = self._job.record.classes, self.whole.classes
        near = [f"'{a}' and '{b}'" for a in there for b in known if alike(a) == alike(b)]
        hint = f" {', '.join(near)} are written differently." if near else ""
        return (
            f"Dataset '{self.whole.spec.name}' has no class that the model knows: it has {', '.join(there) or 'none'}, "
            f"the model {', '.join(known)}.{hint} `relabel` in its registry entry maps classes by name."
        )


def _base(name: str) -> str:
    return name.partition("@")[0]
