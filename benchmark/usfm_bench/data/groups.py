"""Groups: cases that no split may separate, because they show the same patient or nearly the same picture."""

from __future__ import annotations

import csv
import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from usfm_bench.core.errors import BenchError
from usfm_bench.data.patients import patient_key
from usfm_bench.data.sample import Image, Sample, retold
from usfm_bench.specs.dataset import DatasetSpec

_FOLDER = Path(__file__).parent / "group_files"


def pixel_hash(image: Image) -> str:
    """16 hex digits of the sha256 over shape and grey pixels.

    Colour images depend on how luminance is rounded; 16 of BUSI's images have channels that differ. Were another
    OpenCV to round them otherwise, they would still be in their groups by their case ids.
    """
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:16]


def assign_groups(samples: Sequence[Sample], spec: DatasetSpec) -> list[Sample]:
    """Give every sample its pixel hash and group id.

    Two cases share a group when they share a patient (see `data.patients`), are listed as near-duplicates, or have
    equal pixels, or when a chain of such pairs joins them. Ids are made from pixels: no patient identifier can be
    guessed from them.
    """
    hashes = [sample.pixel_hash or pixel_hash(sample.image) for sample in samples]
    by_pixels, by_id = near_duplicate_groups(spec), _groups_by_case_id(spec)
    # One grey level more or less is another hash: a case of the list stays in its group by its id.
    listed = [by_pixels.get(h) or by_id.get(s.case.case_id) for s, h in zip(samples, hashes, strict=True)]
    keys = [
        [f"pixels {h}"]
        + ([f"listed {group}"] if group else [])
        + ([f"patient {patient}"] if (patient := patient_key(sample.case.patient)) else [])
        for sample, h, group in zip(samples, hashes, listed, strict=True)
    ]
    component = _components(keys)
    names: dict[int, str] = {}
    for index, h, group in zip(component, hashes, listed, strict=True):
        # "listed" comes first, so that a listed group keeps its id in a partial copy of the data.
        name = f"listed {group}" if group else f"pixels {h}"
        names[index] = min(names.get(index, name), name)
    ids = {index: hashlib.sha256(name.encode()).hexdigest()[:12] for index, name in names.items()}
    return [
        retold(sample, pixel_hash=h, group_id=ids[index])
        for sample, h, index in zip(samples, hashes, component, strict=True)
    ]


def group_keys(samples: Sequence[Sample]) -> list[str]:
    """The least case id of each case's group: what draws know a group by.

    Unlike group ids, it depends on no pixel; and it is the same whether a file system composes accents or not.
    """
    names = [unicodedata.normalize("NFC", sample.case.case_id) for sample in samples]
    least: dict[str, str] = {}
    for name, sample in zip(names, samples, strict=True):
        least[sample.group_id] = min(least.get(sample.group_id, name), name)
    return [least[sample.group_id] for sample in samples]


def near_duplicate_groups(spec: DatasetSpec) -> dict[str, str]:
    """Pixel hash -> group, from the file that the entry names; empty where it names none."""
    return {row["pixel_hash"]: row["group"] for row in _group_file(spec)}


def _groups_by_case_id(spec: DatasetSpec) -> dict[str, str]:
    return {case_id: row["group"] for row in _group_file(spec) if (case_id := row.get("case_id"))}


def _group_file(spec: DatasetSpec) -> list[dict[str, str]]:
    if spec.groups is None:
        return []
    path = _FOLDER / Path(spec.groups).name
    if not path.is_file():
        raise BenchError(f"{spec.name}: groups: '{spec.groups}' is not in data/group_files.")
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _components(keys: Sequence[Sequence[str]]) -> list[int]:
    """Number of the connected component of each case, where cases that share a key are joined."""
    nodes = {key: len(keys) + i for i, key in enumerate(dict.fromkeys(k for ks in keys for k in ks))}
    pairs = [(i, nodes[key]) for i, case_keys in enumerate(keys) for key in case_keys]
    rows, columns = np.array(pairs).T
    size = len(keys) + len(nodes)
    graph = coo_array((np.ones(len(pairs), np.int8), (rows, columns)), shape=(size, size))
    labels: list[int] = connected_components(graph, directed=False)[1][: len(keys)].tolist()
    return labels
