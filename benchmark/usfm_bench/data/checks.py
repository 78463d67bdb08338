"""`data verify`: what lies on disk, held against the registry entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from usfm_bench.config import SplitSpec
from usfm_bench.data.dataset import Dataset, decode, open_reader
from usfm_bench.data.groups import assign_groups
from usfm_bench.data.sample import Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.data.splits import split_dataset
from usfm_bench.errors import DataError


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
        cases = reader.cases()
    except DataError as error:
        if "is not at" in str(error):
            raise
        report.faults = str(error).split("\n")
        return report
    samples, faults = decode(reader, cases)
    samples = assign_groups(samples, spec) if samples else []
    report.faults += [*reader.faults, *faults]
    if "segmentation" in spec.tasks:
        report.faults += [f"{s.case.case_id}: has no mask, not even an empty one." for s in samples if s.mask is None]
    excluded = [case.case_id for case in cases if case.case_id in spec.exclude]
    report.facts = {
        "images found": len(cases),
        "images published": spec.n_images,
        "images by class": dict(sorted(Counter(case.label or "none" for case in cases).items())),
        "left out by name": {case_id: spec.exclude[case_id] for case_id in excluded},
        **_picture_facts(samples),
        "notes": list(reader.notes),
    }
    kept = [sample for sample in samples if sample.case.case_id not in spec.exclude]
    report.faults += _contradictions(kept)
    if kept and not report.faults:
        _check_split(spec, kept, report)
    return report


def _check_split(spec: DatasetSpec, kept: Sequence[Sample], report: Report) -> None:
    dataset = Dataset(spec, tuple(kept))
    patients = {sample.case.patient for sample in kept if sample.case.patient}
    report.facts["patients"] = len(patients) or "not given"
    try:
        sides = split_dataset(dataset, SplitSpec(), 0, task=spec.tasks[-1])
    except DataError as error:
        # Nothing is wrong with the files, but no suite can use them yet.
        report.facts["training, validation, test"] = str(error)
        return
    report.facts["training, validation, test"] = ", ".join(
        f"{len(rows)} images in {len({dataset.groups[i] for i in rows})} groups" for rows in sides
    )


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
        "images with several masks": sum(len(sample.case.masks) > 1 for sample in samples),
        "images without a lesion": sum(not s.mask.any() for s in masked if s.mask is not None),
        "images with pixel spacing": sum(sample.spacing is not None for sample in samples),
        "groups": len(sizes),
        "images in groups of two or more": sum(n for n in sizes.values() if n > 1),
        "largest group": max(sizes.values()),
    }


def _contradictions(samples: Sequence[Sample]) -> list[str]:
    by_pixels: dict[str, list[Sample]] = {}
    for sample in samples:
        by_pixels.setdefault(sample.pixel_hash, []).append(sample)
    return [
        f"Same pixels, different labels: {', '.join(s.case.case_id for s in twins)}. Exclude them by name."
        for twins in by_pixels.values()
        if len({s.case.label for s in twins}) > 1
    ]
