"""`data verify`: what lies on disk, held against the registry entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import DataError, listed
from usfm_bench.core.files import file_sha256
from usfm_bench.data.dataset import Dataset, decode, find_cases, open_reader, unread_structures
from usfm_bench.data.faults import standing, strange_exclusions
from usfm_bench.data.group_words import groups_in_words, kind_of
from usfm_bench.data.groups import assign_groups
from usfm_bench.data.mask_likeness import unlikely_masks
from usfm_bench.data.patients import patient_faults, patient_key, patient_notes
from usfm_bench.data.readers.decode import read_pixels, states_orientation, to_grey
from usfm_bench.data.readers.mask_values import without_alpha
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.sides import assign_sides
from usfm_bench.data.splits import split_dataset, twins_of
from usfm_bench.data.subsample import thin_out
from usfm_bench.specs.dataset import DatasetSpec, GroupKind
from usfm_bench.specs.split import SplitSpec

_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".xz", ".7z", ".rar"}


@dataclass
class Report:
    """Facts found, and faults that stop the data set from being used."""

    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def verify_dataset(spec: DatasetSpec, data_root: Path) -> Report:
    """Read every file of a data set and report what is there; faults are collected, not raised.

    Raises:
        DataError: the folder is missing altogether.
    """
    report = Report()
    reader = open_reader(spec, data_root)
    try:
        cases = find_cases(spec, reader)
    except DataError as error:
        if "is not at" in str(error):
            raise
        report.faults = str(error).split("\n")
        return report
    samples, faults = decode(reader, cases)
    samples = assign_groups(samples, spec) if samples else []
    kept = [sample for sample in samples if sample.case.case_id not in spec.exclude]
    kept_cases = [case for case in cases if case.case_id not in spec.exclude]
    all_faults = [*reader.faults, *patient_faults(kept_cases), *faults]
    report.faults += standing(all_faults, spec)
    report.faults += unread_structures(spec, kept)
    if spec.needs("mask"):
        report.faults += [f"{s.case.case_id}: has no mask, not even an empty one." for s in kept if s.mask is None]
    excluded = [case.case_id for case in cases if case.case_id in spec.exclude]
    report.facts = {
        "images found": len(cases),
        "images published": spec.n_images,
        "images by class": dict(sorted(Counter(case.label or "none" for case in cases).items())),
        "left out by name": {case_id: spec.exclude[case_id] for case_id in excluded},
        **_picture_facts(samples),
        **_structure_facts(spec, samples),
        "notes": [*strange_exclusions(spec, cases, all_faults), *patient_notes(kept_cases), *reader.notes],
        **mask_values([path for case in cases for path in case.masks]),
        **_orientation(cases),
        **_checksum(spec, data_root),
    }
    if kept and not report.faults:
        _check_split(spec, kept, data_root / spec.path, report, reader.grouped_by)
    report.faults += contradictions(kept)
    unlikely = unlikely_masks(kept)
    if unlikely.most:
        report.faults += unlikely.say()
    else:
        report.facts["notes"] += unlikely.say()
    return report


def _check_split(
    spec: DatasetSpec, samples: Sequence[Sample], root: Path, report: Report, found: GroupKind | None
) -> None:
    try:
        kept, left_out = thin_out(samples, spec)
        others = {*spec.exclude, *(sample.case.case_id for sample in samples)}
        dataset = Dataset(spec, tuple(assign_sides(kept, spec, root, others)), tuple(left_out))
    except DataError as error:
        report.faults.append(str(error))
        return
    patients = {key for sample in kept if (key := patient_key(sample.case.patient))}
    report.facts["patients"] = len(patients) or "not given"
    report.facts["a group is"] = groups_in_words(kind_of(spec, kept, found), spec, kept)
    if not spec.tasks:
        report.facts["training, validation, test"] = "none: the entry has no task"
        return
    try:
        sides = split_dataset(dataset, SplitSpec(), 0, task=spec.tasks[-1])
    except DataError as error:
        # Nothing is wrong with the files, but no suite can use them yet.
        report.facts["training, validation, test"] = str(error)
        return
    report.facts["training, validation, test"] = ", ".join(
        f"{len(rows)} images in {len({dataset.groups[i] for i in rows})} groups" for rows in sides
    )
    report.facts["test images with a twin in training"] = twins_of(dataset.groups, sides).train
    report.facts["left out by lot"] = list(dataset.notes)


def _picture_facts(samples: Sequence[Sample]) -> dict[str, Any]:
    if not samples:
        return {}
    shapes = [sample.image.shape for sample in samples]
    sizes = Counter(sample.group_id for sample in samples)
    masked = [sample for sample in samples if sample.mask is not None]
    return {
        "distinct sizes": len(set(shapes)),
        "square images": sum(h == w for h, w in shapes),
        "width": [min(w for _, w in shapes), max(w for _, w in shapes)],
        "height": [min(h for h, _ in shapes), max(h for h, _ in shapes)],
        "median width and height": [median(w for _, w in shapes), median(h for h, _ in shapes)],
        "images with several masks": sum(len(sample.case.masks) > 1 for sample in samples),
        "images without a lesion": sum(not s.mask.any() for s in masked if s.mask is not None),
        "images with pixel spacing": sum(sample.spacing is not None for sample in samples),
        "groups": len(sizes),
        "images in groups of two or more": sum(n for n in sizes.values() if n > 1),
        "largest group": max(sizes.values()),
    }


def _structure_facts(spec: DatasetSpec, samples: Sequence[Sample]) -> dict[str, Any]:
    """How many images show each structure, and in how many two share pixels."""
    masks = [sample.structures for sample in samples if sample.structures is not None]
    if not masks:
        return {}
    shown = {name: sum(bool(each[k].any()) for each in masks) for k, name in enumerate(spec.structures)}
    overlapping = sum(bool((each.sum(axis=0) > 1).any()) for each in masks)
    return {"images with each structure": shown, "images with structures that overlap": overlapping}


def mask_values(paths: Sequence[Path]) -> dict[str, str]:
    """Which grey levels the mask files have: 0 and 255 as a rule; others tell of lossy copies or of several labels."""

    def levels(path: Path) -> tuple[int, ...]:
        try:
            return tuple(np.unique(to_grey(without_alpha(path, read_pixels(path)))).tolist())
        except DataError:  # told among the faults, or no picture
            return ()

    with ThreadPoolExecutor(available_cores()) as pool:
        found = [values for values in pool.map(levels, dict.fromkeys(paths)) if values]
    others = [values for values in found if not set(values) <= {0, 255}]
    if not found:
        return {}
    strange = sorted({level for values in others for level in values} - {0, 255})
    tail = f"; {len(others)} with {len(strange)} other values, {strange[0]} to {strange[-1]}" if others else ""
    return {"mask values": f"0 and 255 alone in {len(found) - len(others)} of {len(found)} files{tail}"}


def _orientation(cases: Sequence[Case]) -> dict[str, str]:
    """How many images and masks state an orientation, by which they are turned; a mask without one may lie wrongly."""
    turned = [case for case in cases if case.image is not None and states_orientation(case.image)]
    masks = [path for case in turned for path in case.masks]
    upright = sum(not states_orientation(path) for path in masks)
    doubt = f"; {upright} of their {len(masks)} masks state none: see that they fit" if upright else ""
    return {"turned by their orientation": f"{len(turned)} images{doubt}"} if turned else {}


def _checksum(spec: DatasetSpec, data_root: Path) -> dict[str, str]:
    """Whether the published archive lies beside the data, by the registry's sha256; it is not needed for anything."""
    if spec.checksum is None:
        return {}
    folder = (data_root / spec.path).parent
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in _ARCHIVES and p.is_file()):
        if file_sha256(path) == spec.checksum.lower():
            return {"checksum": f"that of {path.name}"}
    return {"checksum": f"no archive in '{folder}' has the registry's; the files themselves are not covered by it"}


def contradictions(samples: Sequence[Sample]) -> list[str]:
    """Images with the same pixels and different labels, in words."""
    by_pixels: dict[str, list[Sample]] = {}
    for sample in samples:
        by_pixels.setdefault(sample.pixel_hash, []).append(sample)
    return [
        f"Same pixels, different labels: {listed([s.case.case_id for s in twins])}. Exclude them by name."
        for twins in by_pixels.values()
        if len({s.case.label for s in twins}) > 1
    ]
