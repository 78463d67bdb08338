"""Groups: cases that no split may separate, because they show the same patient or nearly the same picture."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from usfm_bench.data.patients import patient_key
from usfm_bench.data.sample import Image, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import BenchError

_FOLDER = Path(__file__).parent / "group_files"


def pixel_hash(image: Image) -> str:
    """16 hex digits of the sha256 over shape and grey pixels.

    Colour images depend on how luminance is rounded; 16 of BUSI's images have channels that differ. Were another
    OpenCV to round them otherwise, they would fall back to groups of their own.
    """
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:16]


def assign_groups(samples: Sequence[Sample], spec: DatasetSpec) -> list[Sample]:
    """Give every sample its pixel hash and group id.

    Two cases share a group when they share a patient (see `data.patients`), are listed as near-duplicates, or have
    equal pixels, or when a chain of such pairs joins them. Ids are made from pixels: no patient identifier can be
    guessed from them.
    """
    hashes = [sample.pixel_hash or pixel_hash(sample.image) for sample in samples]
    listed = near_duplicate_groups(spec)
    keys = [
        [f"pixels {h}"]
        + ([f"listed {listed[h]}"] if h in listed else [])
        + ([f"patient {patient}"] if (patient := patient_key(sample.case.patient)) else [])
        for sample, h in zip(samples, hashes, strict=True)
    ]
    component = _components(keys)
    names: dict[int, str] = {}
    for index, h in zip(component, hashes, strict=True):
        # "listed" comes first, so that a listed group keeps its id in a partial copy of the data.
        name = f"listed {listed[h]}" if h in listed else f"pixels {h}"
        names[index] = min(names.get(index, name), name)
    ids = {index: hashlib.sha256(name.encode()).hexdigest()[:12] for index, name in names.items()}
    return [
        replace(sample, pixel_hash=h, group_id=ids[index])
        for sample, h, index in zip(samples, hashes, component, strict=True)
    ]


def near_duplicate_groups(spec: DatasetSpec) -> dict[str, str]:
    """Pixel hash -> group, from the file that the entry names; empty where it names none."""
    if spec.groups is None:
        return {}
    path = _FOLDER / Path(spec.groups).name
    if not path.is_file():
        raise BenchError(f"{spec.name}: groups: '{spec.groups}' is not in data/group_files.")
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["pixel_hash"]: row["group"] for row in csv.DictReader(stream)}


def _components(keys: Sequence[Sequence[str]]) -> list[int]:
    """Number of the connected component of each case, where cases that share a key are joined."""
    nodes = {key: len(keys) + i for i, key in enumerate(dict.fromkeys(k for ks in keys for k in ks))}
    pairs = [(i, nodes[key]) for i, case_keys in enumerate(keys) for key in case_keys]
    rows, columns = np.array(pairs).T
    size = len(keys) + len(nodes)
    graph = coo_array((np.ones(len(pairs), np.int8), (rows, columns)), shape=(size, size))
    labels: list[int] = connected_components(graph, directed=False)[1][: len(keys)].tolist()
    return labels
