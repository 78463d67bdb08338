"""Images that are known by their pixels: a public data set in other folders keeps its groups of near-duplicates."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from usfm_bench.data.audit.near_duplicates import fingerprints, near_pairs
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.groups import assign_groups
from usfm_bench.data.sample import Sample
from usfm_bench.specs.dataset import load_registry

_FOLDER = Path(__file__).parent / "group_files"
_MOST_COMPARED = 3000


class Known(NamedTuple):
    """A registered data set that images are of."""

    groups: str
    """File in `data/group_files/`."""
    name: str
    """Of its registry entry."""
    images: int
    """Number of images that are known by their pixels."""


def recognise(samples: Sequence[Sample]) -> Known | None:
    """The registered data set with listed near-duplicates that most of these images are of, by pixel hash."""
    found = []
    for path in sorted(_FOLDER.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            listed = {row["pixel_hash"] for row in csv.DictReader(stream)}
        if n := sum(sample.pixel_hash in listed for sample in samples):
            name = next((spec.name for spec in load_registry().values() if spec.groups == path.name), path.stem)
            found.append(Known(path.name, name, n))
    return max(found, key=lambda known: known.images, default=None)


def regroup(dataset: Dataset, groups: str | None, exclude: dict[str, str]) -> Dataset:
    """The data set as an entry with this group file and these exclusions opens it."""
    spec = dataset.spec.model_copy(update={"groups": groups, "exclude": exclude})
    kept = [sample for sample in dataset.samples if sample.case.case_id not in exclude]
    return replace(dataset, spec=spec, samples=tuple(assign_groups(kept, spec)), drawn={})


def loose_pairs(dataset: Dataset) -> int:
    """Near-duplicates in different groups, which a split can part; 0 for data sets too large to compare at once."""
    if len(dataset) > _MOST_COMPARED:
        return 0
    pairs = near_pairs(fingerprints(sample.image for sample in dataset.samples))
    return sum(dataset.groups[pair.first] != dataset.groups[pair.second] for pair in pairs)
