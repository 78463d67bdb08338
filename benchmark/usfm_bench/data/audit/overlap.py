"""Which cases of one data set a model has met in another one: equal pixels, shared groups, near-duplicates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from usfm_bench.data.audit.near_duplicates import fingerprints, near_pairs
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.patients import patient_key


class Overlap(NamedTuple):
    """Positions of the cases that are known."""

    pixels: frozenset[int]
    """With the pixels of a known case."""
    groups: frozenset[int]
    """In a group with such a case, or of its patient; those with the same pixels are among them."""
    near_duplicates: frozenset[int]
    """Nearly the same picture as a known case, those with the same pixels included."""

    @property
    def all(self) -> frozenset[int]:
        """Known in any of these ways."""
        return self.pixels | self.groups | self.near_duplicates


class Comparison:
    """Two data sets, compared once for all sides of the first.

    Args:
        known: what a model was trained on, whole.
        cases: others.
    """

    def __init__(self, known: Dataset, cases: Dataset) -> None:
        self._known, self._cases = known, cases
        pairs = near_pairs(*(fingerprints(sample.image for sample in data.samples) for data in (known, cases)))
        self._pairs = np.array([pair[:2] for pair in pairs], dtype=np.int64).reshape(-1, 2)

    def overlap(self, rows: Iterable[int]) -> Overlap:
        """Which of the cases are known to a model that met these positions of the first data set."""
        met = np.array(sorted(rows), dtype=np.int64)
        near = np.unique(self._pairs[np.isin(self._pairs[:, 0], met), 1])
        known, cases = self._known.samples, self._cases.samples
        pixels = {known[i].pixel_hash for i in met}
        group_ids = {known[i].group_id for i in met}
        met_pixels = pixels | {sample.pixel_hash for sample in known if sample.group_id in group_ids}
        patients = self._patients(met)
        groups = group_ids | {
            case.group_id
            for case in cases
            if case.pixel_hash in met_pixels or patient_key(case.case.patient) in patients
        }
        return Overlap(
            frozenset(i for i, case in enumerate(cases) if case.pixel_hash in pixels),
            frozenset(i for i, case in enumerate(cases) if case.group_id in groups),
            frozenset(near.tolist()),
        )

    def _patients(self, rows: Iterable[int]) -> set[str]:
        """Keys of patients, where both data sets are read from one place: elsewhere `P01` is another person."""
        if not self._known.spec.path or self._known.spec.path != self._cases.spec.path:
            return set()
        keys = {patient_key(self._known.samples[i].case.patient) for i in rows}
        return {key for key in keys if key}
