"""What a data set's groups are, said in words on every table: patients, or what stands in for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from usfm_bench.data.patients import patient_key
from usfm_bench.data.sample import Sample
from usfm_bench.specs.dataset import DatasetSpec, GroupKind

_UNKNOWN = "which images share a patient is not published"
_ONE = "one a patient as published; equal pixels together"
_MEANINGS: dict[GroupKind, str] = {
    "patients": "patients",
    "examinations": "examinations; which share a patient is not published",
    "recordings": "recordings; which share a patient is not published",
    "videos": "videos; which share a patient is not published",
    "near-duplicates": f"near-duplicates alone; {_UNKNOWN}",
    "images": f"images alone, equal pixels together; {_UNKNOWN}",
    "simulated": "simulated images",
}


def kind_of(spec: DatasetSpec, samples: Sequence[Sample], found: GroupKind | None = None) -> GroupKind:
    """What the groups of these samples are.

    Args:
        spec: their entry.
        samples: its cases.
        found: what its reader saw that they are, which wins over the entry.
    """
    if any(patient_key(sample.case.patient) for sample in samples):
        return found or spec.grouped_by or "patients"
    if spec.synthetic:
        return "simulated"
    return "near-duplicates" if spec.groups else "images"


def stated_kind(spec: DatasetSpec) -> GroupKind | None:
    """What the groups will be, by the entry alone; None where only the data say whether patients are known."""
    if spec.grouped_by:
        return spec.grouped_by
    if spec.synthetic:
        return "simulated"
    if _names_patients(spec.options):
        return "patients"
    return "near-duplicates" if spec.groups else None


def _names_patients(options: dict[str, Any]) -> bool:
    tables = options.get("label_from")
    listed = tables if isinstance(tables, list) else [tables]
    return (
        "patient" in options
        or "{patient}" in str(options.get("images", ""))
        or any("patient" in table for table in listed if isinstance(table, dict))
    )


def _one_a_patient(spec: DatasetSpec) -> bool:
    return spec.n_images is not None and spec.n_images == spec.n_patients


def stated_groups(spec: DatasetSpec) -> str:
    """What the groups are, for people who look at the entry."""
    kind = stated_kind(spec)
    if kind == "images" and _one_a_patient(spec):
        return f"images, {_ONE}"
    meaning = _MEANINGS[kind] if kind else "patients where the data name them, or else images alone"
    return "; ".join(filter(None, (meaning, spec.groups_note)))


def groups_in_words(kind: GroupKind, spec: DatasetSpec, samples: Sequence[Sample]) -> str:
    """How many groups there are, and of what, such as `38 recordings of 11 published patients`."""
    n = len({sample.group_id for sample in samples})
    if kind == "patients":
        patients = len({patient_key(sample.case.patient) for sample in samples} - {None})
        said = f"{n} patients" if n == patients else f"{n} groups of {patients} patients"
    elif kind == "simulated":
        said = f"{n} simulated images"
    elif kind == "images" and _one_a_patient(spec):
        said = f"{n} images, {_ONE}"
    elif kind in ("near-duplicates", "images"):
        what = "near-duplicates" if kind == "near-duplicates" else "equal pixels"
        unknown = f"which share one of the {spec.n_patients} published patients is not" if spec.n_patients else ""
        said = f"{n} groups of {what} among {len(samples)} images; {unknown or 'which share a patient is not'} known"
    else:
        said = f"{n} {kind}" if kind == spec.grouped_by else f"{n} groups by {kind}"
        said += f" of {spec.n_patients} published patients" if spec.n_patients else ""
        said += "; which share a patient is not known"
    return "; ".join(filter(None, (said, spec.groups_note)))
