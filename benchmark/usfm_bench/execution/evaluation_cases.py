"""The cases of an evaluation: opened once, with the classes that the model knows, and compared with its training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import BenchError
from usfm_bench.data.alike import alike
from usfm_bench.data.audit.overlap import Comparison, Overlap
from usfm_bench.data.corruptions import corrupt_sample
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.sample import Sample, retold
from usfm_bench.execution.evaluation_jobs import Job
from usfm_bench.pipeline import Sides
from usfm_bench.results.evaluation import Seen
from usfm_bench.results.record import Record
from usfm_bench.specs.condition import Condition
from usfm_bench.specs.dataset import DatasetSpec, find_dataset
from usfm_bench.specs.task import TASKS

_CLASSLESS = "(no class)"


class _Overlaps(NamedTuple):
    """Which cases a trial's data set shows too."""

    trained: Overlap
    """On its training and validation side."""
    whole: Overlap
    """On any side."""


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
    """What a job scores.

    Args:
        job: one trial on one data set.
        sources: data sets in memory.
        allow_seen: score cases that the trial's data set shows, too.
    """

    def __init__(self, job: Job, sources: Sources, *, allow_seen: bool = False) -> None:
        self._job, self._sources, self._allow_seen = job, sources, allow_seen

    @cached_property
    def whole(self) -> Dataset:
        """All cases of the data set."""
        if self._job.dataset is None:
            return self._sources.trained_on(self._job.record).whole
        return self._sources.open(self._job.dataset)

    def check_classes(self) -> None:
        """Raise a BenchError where the data set has no class that the model knows."""
        if self._job.dataset is not None and not self._known_classes:
            raise BenchError(self._no_class())

    @cached_property
    def scored(self) -> Dataset:
        """The test cases; of another data set those of a class that the model knows, without cases that are known.

        Raises:
            BenchError: nothing is left.
        """
        if self._job.dataset is None:
            return self._sources.trained_on(self._job.record).test
        rows = [i for i in self._known_classes if self._allow_seen or i not in self._met]
        if not rows:
            raise BenchError(
                f"'{self._job.name}' has no case that '{self._job.record.spec.dataset.name}' does not show too, so "
                "that none is new to this model. --allow-seen scores them all, and marks the results."
            )
        if len(rows) == len(self.whole) and TASKS[self._job.record.spec.task].needs != "label":
            return self.whole
        known = self._job.record.classes
        cases = self.whole.subset(rows)
        if TASKS[self._job.record.spec.task].needs != "label":
            return cases
        spec = self.whole.spec.model_copy(update={"classes": known})
        return Dataset(spec, tuple(map(self._named, cases.samples)), self.whole.notes, self.whole.grouped_by)

    @cached_property
    def _known_classes(self) -> list[int]:
        """Positions of the cases of a class that the model knows; of all where its task needs no class."""
        samples = self.whole.samples
        if TASKS[self._job.record.spec.task].needs != "label":
            return list(range(len(samples)))
        known = self._job.record.classes
        return [i for i, sample in enumerate(samples) if self._named(sample).case.label in known]

    def _named(self, sample: Sample) -> Sample:
        """The case under the model's name of its class: `relabel` of the model's data set maps those of others too."""
        record = self._job.record
        label = sample.case.label
        if label in record.classes or (named := record.spec.dataset.relabel.get(label or "")) is None:
            return sample
        return retold(sample, case=replace(sample.case, label=named))

    @property
    def pictures(self) -> Dataset:
        """The scored cases as the network sees them: under the job's condition, made once for neighbouring jobs."""
        condition = self._job.condition
        return self.scored if condition is None else self._sources.corrupted(self.scored, condition)

    @property
    def left_out(self) -> dict[str, int]:
        """Class that the model does not know -> number of cases."""
        if self._job.dataset is None:
            return {}
        known = set(self._known_classes)
        others = (s.case.label or _CLASSLESS for i, s in enumerate(self.whole.samples) if i not in known)
        return dict(Counter(others).most_common())

    @property
    def known_left_out(self) -> int:
        """Cases left out since the data set that was trained on shows them, or nearly the same picture, too."""
        return 0 if self._job.dataset is None or self._allow_seen else len(self._met.intersection(self._known_classes))

    @property
    def _met(self) -> frozenset[int]:
        """Positions of cases that the trial's data set shows on any side: all its folds leave out the same ones."""
        return self._overlaps.whole.all if self._overlaps is not None else frozenset()

    @cached_property
    def _overlaps(self) -> _Overlaps | None:
        """None where the cases that were trained on are not here."""
        assert self._job.dataset is not None
        record = self._job.record
        try:
            sides = self._sources.trained_on(record)
        except BenchError as error:
            if _base(record.spec.dataset.name) != self._job.dataset.name:
                first = str(error).splitlines()[0]
                what = f"whether models of '{record.spec.dataset.name}' were trained on '{self._job.name}' is not known"
                self._sources.say_once(f"{what}: {first}")
            return None
        comparison = self._sources.comparison(sides.whole, self.whole)
        trained = comparison.overlap([*sides.split.train, *sides.split.val])
        return _Overlaps(trained, comparison.overlap(range(len(sides.whole))))

    @cached_property
    def seen(self) -> Seen | None:
        """Which cases of the data set the trial was trained on; None where that cannot be found out."""
        if self._job.dataset is None:
            return Seen(n=len(self.scored), same_dataset=False, pixels=0, groups=0, near_duplicates=0)
        same = _base(self._job.record.spec.dataset.name) == self._job.dataset.name
        if self._overlaps is None:
            return Seen(n=len(self.whole), same_dataset=True, pixels=0, groups=0, near_duplicates=0) if same else None
        counts = {name: len(rows) for name, rows in self._overlaps.trained._asdict().items()}
        return Seen(n=len(self.whole), same_dataset=same, **counts)

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
