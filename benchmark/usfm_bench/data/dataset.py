"""A data set in memory: decoded once at native size, grouped, hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import DataError, did_you_mean
from usfm_bench.core.settings import content_hash
from usfm_bench.data.cache import Decoded, image_cache
from usfm_bench.data.faults import Fault, standing, strange_exclusions
from usfm_bench.data.group_words import groups_in_words, kind_of
from usfm_bench.data.groups import assign_groups, group_keys, pixel_hash
from usfm_bench.data.patients import patient_faults, patient_notes
from usfm_bench.data.readers import READERS, Reader
from usfm_bench.data.sample import Case, Sample, retold
from usfm_bench.data.sides import assign_sides
from usfm_bench.data.subsample import thin_out
from usfm_bench.specs.dataset import DatasetSpec, GroupKind

_AT_ONCE = 64  # cases decoded before they are written


@dataclass(frozen=True)
class Dataset:
    """Decoded cases of one registry entry, or of one side of a split."""

    spec: DatasetSpec
    samples: tuple[Sample, ...]
    notes: tuple[str, ...] = ()
    """What was found and what was left out, in words."""
    grouped_by: GroupKind = "images"
    """What the groups are."""
    drawn: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Memory of `data.splits` (folds by their settings) and `data.loaders` (the network's grid): a suite of many trials
    makes them once."""
    part_of: tuple[Dataset, tuple[int, ...]] | None = field(default=None, repr=False, compare=False)
    """The data set that this is a side of, and the position of each case in it."""

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order: the entry's, or else those found."""
        found = {sample.case.label for sample in self.samples if sample.case.label is not None}
        return self.spec.classes or tuple(sorted(found))

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of what masks show, in the order of `Sample.structures`; empty where it is one structure."""
        return self.spec.structures

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """(N,) index into `classes`; -1 where a case has no label."""
        index = {name: i for i, name in enumerate(self.classes)}
        return np.array([index.get(sample.case.label or "", -1) for sample in self.samples], dtype=np.int64)

    @cached_property
    def class_counts(self) -> NDArray[np.int64]:
        """(C,) cases of each class; those without a label are in none."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.classes))

    @cached_property
    def groups(self) -> list[str]:
        """(N,) group ids."""
        return [sample.group_id for sample in self.samples]

    @property
    def groups_in_words(self) -> str:
        """How many groups there are, and of what."""
        return groups_in_words(self.grouped_by, self.spec, self.samples)

    @cached_property
    def group_keys(self) -> list[str]:
        """(N,) the least case id of each case's group, by which draws know it."""
        return group_keys(self.samples)

    @cached_property
    def content_hash(self) -> str:
        """sha256 over classes, structures and each case's id, label, group, pixels, mask, spacing, good image."""
        rows = sorted(
            [s.case.case_id, s.case.label, s.group_id, s.pixel_hash, _mask_hash(s), list(s.spacing or ())]
            for s in self.samples
        )
        structures = [list(self.structures)] if self.structures else []
        pairs = sorted([s.case.case_id, pixel_hash(s.good)] for s in self.samples if s.good is not None)
        return content_hash([list(self.classes), rows, *structures, *([pairs] if pairs else [])])

    def under(self, spec: DatasetSpec) -> Dataset:
        """The same cases under the name of another part of their training side."""
        other = replace(self, spec=spec)
        other.__dict__["content_hash"] = self.content_hash  # of the same cases; takes a while for large data sets
        return other

    def subset(self, rows: Iterable[int]) -> Dataset:
        """The cases at these positions, with the same classes."""
        spec = self.spec.model_copy(update={"classes": self.classes})
        at = tuple(int(row) for row in rows)
        return Dataset(spec, tuple(self.samples[i] for i in at), self.notes, self.grouped_by, part_of=(self, at))


def open_dataset(spec: DatasetSpec, data_root: Path) -> Dataset:
    """Find, decode and group every case of a data set.

    Raises:
        DataError: data missing, a file unreadable, a mask that does not fit, a class empty; every fault at once.
    """
    reader = open_reader(spec, data_root)
    found = find_cases(spec, reader)
    cases = [case for case in found if case.case_id not in spec.exclude]
    samples, faults, notes = read_cases(spec, data_root / spec.path, reader, cases, found)
    strange = strange_exclusions(spec, found, reader.faults)
    faults = standing([*reader.faults, *patient_faults(cases), *faults, *unread_structures(spec, samples)], spec)
    if not cases and not faults:
        faults = [f"Dataset '{spec.name}': no case is left of {len(found)} found."]
    if faults:
        raise DataError("\n".join(faults))
    kept, left_out = thin_out(assign_groups(samples, spec), spec)
    kept = assign_sides(kept, spec, data_root / spec.path, {case.case_id for case in found})
    kind = kind_of(spec, kept, reader.grouped_by)
    told = (*_notes(spec, found), *strange, *patient_notes(cases), *notes, *left_out)
    dataset = Dataset(spec, tuple(kept), told, kind)
    if empty := [name for name, n in zip(dataset.classes, dataset.class_counts, strict=True) if n == 0]:
        raise DataError(f"Dataset '{spec.name}': no case of class {', '.join(empty)}.")
    if spec.positive is not None and spec.positive not in dataset.classes:
        near = did_you_mean(spec.positive, dataset.classes)
        raise DataError(
            f"Dataset '{spec.name}': positive: '{spec.positive}' is not one of the classes "
            f"({', '.join(dataset.classes)}).{near}"
        )
    return dataset


def open_reader(spec: DatasetSpec, data_root: Path) -> Reader:
    """The reader of the entry's layout, at its place under `data_root`.

    Raises:
        DataError: the entry's relative path leaves the data root.
    """
    root = data_root / spec.path
    # By name alone: a folder here may well be a link to a larger disk.
    if not Path(spec.path).is_absolute() and Path(os.path.normpath(spec.path)).parts[:1] == (os.pardir,):
        raise DataError(f"Dataset '{spec.name}': path '{spec.path}' leaves the data root.")
    return READERS[spec.layout](spec.model_copy(update={"classes": spec.classes_on_disk}), root)


def find_cases(spec: DatasetSpec, reader: Reader) -> list[Case]:
    """Every case that the reader finds, with the entry's classes.

    Raises:
        DataError: the folder is missing or not of the entry's layout.
    """
    if not spec.relabel:
        return reader.cases()
    return [
        replace(case, label=spec.relabel.get(case.label or "", case.label), stratum=case.label)
        for case in reader.cases()
    ]


def read_cases(
    spec: DatasetSpec, root: Path, reader: Reader, cases: list[Case], found: Sequence[Case]
) -> tuple[list[Sample], list[str], list[str]]:
    """Like `decode`, from the cache of the data set; where there is none yet, it is filled with all that was found.

    Returns:
        Samples, faults, and the reader's notes.

    Raises:
        BenchError: there is no room for the decoded images of a large data set.
    """
    cache = image_cache(spec, root, found)
    known, notes = ({}, []) if cache is None else cache.load(cases)
    before, faults = list(reader.notes), []
    with Decoded(None if known else cache) as decoded:
        for some in _parts([case for case in cases if case.case_id not in known]):
            fresh, wrong = decode(reader, some)
            decoded.take(fresh)
            faults += wrong
            del fresh  # before the next ones are decoded
        if cache is not None and not known:
            wanted = {case.case_id for case in cases}
            for some in _parts([case for case in found if case.case_id not in wanted]):
                decoded.take(decode(reader, some)[0])
        # Files that changed while they were read must not be kept under either state.
        unchanged = cache is not None and not known and image_cache(spec, root, found) == cache
        # What a reader notes while it decodes (masks that it resampled, say) must be said at every start.
        known |= decoded.finish([note for note in reader.notes if note not in before], keep=unchanged)
    samples = [known[case.case_id] for case in cases if case.case_id in known]
    return samples, faults, list(dict.fromkeys([*reader.notes, *notes]))


def _parts(cases: list[Case]) -> Iterator[list[Case]]:
    """A few cases at a time, which bounds the memory that decoding takes."""
    return (cases[start : start + _AT_ONCE] for start in range(0, len(cases), _AT_ONCE))


def decode(reader: Reader, cases: list[Case]) -> tuple[list[Sample], list[str]]:
    """The decodable cases, with their pixel hashes, and the faults of the others, each with its case.

    On all cores: OpenCV decodes and hashlib hashes without the interpreter's lock.
    """

    def load(case: Case) -> Sample | str:
        try:
            sample = reader.load(case)
        except DataError as error:
            return Fault(str(error), case.case_id)
        return retold(sample, pixel_hash=pixel_hash(sample.image))

    with ThreadPoolExecutor(available_cores()) as pool:
        results = list(pool.map(load, cases))
    return [r for r in results if isinstance(r, Sample)], [r for r in results if isinstance(r, str)]


def unread_structures(spec: DatasetSpec, samples: Sequence[Sample]) -> list[str]:
    """A fault where a layout gives another number of masks an image than the entry names structures."""
    odd = {n for s in samples if (n := s.n_masks)}
    if odd <= {len(spec.structures) or 1}:
        return []
    return [
        f"Dataset '{spec.name}': structures: the layout '{spec.layout}' reads one mask an image, and the entry names "
        f"{len(spec.structures)}. Layouts with the option `values` (masks, volumes, manifest, arrays) read several."
    ]


def _notes(spec: DatasetSpec, found: list[Case]) -> list[str]:
    notes = []
    if spec.n_images is not None:
        published = f" of {spec.n_images} published" if len(found) <= spec.n_images else ""
        notes.append(f"found {len(found)}{published} images")
    present = {case.case_id for case in found}
    notes += [f"left out {case_id}: {reason}" for case_id, reason in spec.exclude.items() if case_id in present]
    return notes


def _mask_hash(sample: Sample) -> str | None:
    bits = sample.packed
    return None if bits is None else hashlib.sha256(bits).hexdigest()
