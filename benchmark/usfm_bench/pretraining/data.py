"""Unlabelled images for pre-training: the training side of each data set, decoded and resized once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.resize import resize_image
from usfm_bench.data.sample import Sample
from usfm_bench.data.scratch import scratch_array
from usfm_bench.data.splits import split_dataset
from usfm_bench.specs.dataset import DatasetSpec, find_dataset
from usfm_bench.specs.pretraining import WhichImages
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.task import TASKS


class Images(Protocol):
    """Grey levels by row: an array in memory, or a file that is read when it is asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """(B, S, S) at (B,) rows."""


@dataclass(frozen=True)
class PretrainImages:
    """Everything that a pre-training sees."""

    images: Images
    """(N, S, S) grey levels."""
    organs: tuple[str, ...]
    """(N,) organ of each."""
    pixel_hashes: tuple[str, ...]
    """(N,) hash of each image's own pixels, by which `run` finds out whether a test image was seen."""
    sources: dict[str, dict[str, Any]]
    """Data set -> content hash, number of images seen, and which side they are of."""


class Gathered(NamedTuple):
    """The images that a pre-training sees, as they lie in their data sets."""

    samples: list[Sample]
    organs: list[str]
    sources: dict[str, dict[str, Any]]
    """As of `PretrainImages`."""

    @property
    def pixel_hashes(self) -> list[str]:
        """As of `PretrainImages`."""
        return [sample.pixel_hash for sample in self.samples]


def gather(which: WhichImages, registry: Mapping[str, DatasetSpec], data_root: Path) -> Gathered:
    """Open every data set and keep the side that may be seen.

    Raises:
        BenchError: unknown data sets, data that cannot be read, or no image at all; every fault at once.
    """
    found = Gathered([], [], {})
    faults = []
    for name in dict.fromkeys(which.datasets):
        try:
            dataset = open_dataset(find_dataset(name, dict(registry)), data_root)
            seen, side = _seen(dataset, which, registry, data_root)
        except BenchError as error:
            faults.append(str(error))
            continue
        found.samples.extend(seen)
        found.organs.extend(sample.case.organ or dataset.spec.organ for sample in seen)
        found.sources[name] = {"data_hash": dataset.content_hash, "images": len(seen), "side": side}
    if faults:
        raise BenchError("\n".join(faults))
    if not found.samples:
        raise DataError(f"No image to pre-train on in {', '.join(which.datasets)}.")
    return found


def load_images(which: WhichImages, registry: Mapping[str, DatasetSpec], data_root: Path) -> PretrainImages:
    """Decode every data set, keep the side that may be seen, resize; in memory, or where they are many in a file.

    Raises:
        BenchError: as `gather`, or no room for the file.
    """
    seen = gather(which, registry, data_root)
    images = scratch_array((len(seen.samples), which.image_size, which.image_size), np.uint8)
    for row, sample in zip(images, seen.samples, strict=True):
        row[:] = resize_image(sample.image, which.image_size)
    return PretrainImages(images, tuple(seen.organs), tuple(seen.pixel_hashes), seen.sources)


def _seen(
    dataset: Dataset, which: WhichImages, registry: Mapping[str, DatasetSpec], data_root: Path
) -> tuple[Sequence[Sample], str]:
    if which.all_images:
        return dataset.samples, "all images"
    split = SplitSpec(seed=which.split_seed)
    train = dataset
    if dataset.spec.tasks:  # no suite tests on data without a task
        train = dataset.subset(split_dataset(dataset, split, 0, task=_task(dataset.spec)).train)
    # Other entries select other cases of the same files and so have other holdouts: busi and busi-lesion, for one.
    tested: set[str] = set()
    for other in registry.values():
        # The test sides of published protocols hold nearly every image together; a trial on them says what was seen.
        is_protocol = other.split is not None and other.split.kind == "random"
        same_files = (other.layout, other.path, other.options) == _place(dataset.spec)
        if same_files and other.name != dataset.spec.name and other.tasks and not is_protocol:
            sibling = open_dataset(other, data_root)
            rows = split_dataset(sibling, split, 0, task=_task(other)).test
            tested |= {sibling.groups[i] for i in rows}
    kept = [sample for sample in train.samples if sample.group_id not in tested]
    side = f"training side of the holdout of split seed {which.split_seed}" if dataset.spec.tasks else "all images"
    return kept, f"{side}, less what related data sets test on"


def _place(spec: DatasetSpec) -> tuple[str, str, dict[str, Any]]:
    return spec.layout, spec.path, spec.options


def _task(spec: DatasetSpec) -> str:
    """One that needs labels, where there is one: splits are then checked for them."""
    return min(spec.tasks, key=lambda name: TASKS[name].needs != "label")
