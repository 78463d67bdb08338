"""`data audit`: what could make a data set's results look better, or worse, than they are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import DataError
from usfm_bench.data.audit.burned_in import MIN_PIXELS, stroke_pixels
from usfm_bench.data.audit.findings import Audit, CasePair, ClassCount, Lesions, Overlap, SplitCheck
from usfm_bench.data.audit.near_duplicates import Fingerprints, components, fingerprints, near_pairs
from usfm_bench.data.dataset import Dataset, find_cases, open_reader, read_cases
from usfm_bench.data.faults import standing
from usfm_bench.data.groups import assign_groups
from usfm_bench.data.patients import patient_faults
from usfm_bench.data.sample import Image, Sample
from usfm_bench.data.sides import assign_sides
from usfm_bench.data.splits import shared_groups, split_folds, twins_of
from usfm_bench.data.subsample import thin_out
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.split import SplitSpec

SPLITS = {"holdout of split seed 0": SplitSpec(), "5 folds of split seed 0": SplitSpec(kind="kfold", folds=5)}
OWN_SPLIT = {"split that the data set brings along": SplitSpec()}
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True)
class Images:
    """Every image of a data set, those that its entry leaves out last, and what they are compared by."""

    spec: DatasetSpec
    dataset: Dataset
    """Without the cases that are left out."""
    left_out: tuple[Sample, ...]
    prints: Fingerprints
    """Of `samples`."""

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Kept and left-out cases."""
        return (*self.dataset.samples, *self.left_out)

    def by_id(self) -> dict[str, Image]:
        """Case id -> (H, W) grey levels."""
        return {sample.case.case_id: sample.image for sample in self.samples}


def read_images(spec: DatasetSpec, data_root: Path) -> Images:
    """Decode every case, also those left out, from the cache where it has them.

    Raises:
        DataError: data missing or a file unreadable, of a case that is not left out; every fault at once.
    """
    reader = open_reader(spec, data_root)
    cases = find_cases(spec, reader)
    samples, faults, _ = read_cases(spec, data_root / spec.path, reader, cases, cases)
    wanted = [case for case in cases if case.case_id not in spec.exclude]
    if faults := standing([*reader.faults, *patient_faults(wanted), *faults], spec):
        raise DataError("\n".join(faults))
    kept = [sample for sample in samples if sample.case.case_id not in spec.exclude]
    left_out = tuple(sample for sample in samples if sample.case.case_id in spec.exclude)
    if not kept:
        raise DataError(f"Dataset '{spec.name}': no case is left of {len(samples)} found.")
    kept, _ = thin_out(assign_groups(kept, spec), spec)
    dataset = Dataset(spec, tuple(assign_sides(kept, spec, data_root / spec.path, {case.case_id for case in cases})))
    return Images(spec, dataset, left_out, fingerprints(s.image for s in (*dataset.samples, *left_out)))


def audit_images(images: Images, others: Sequence[Images] = ()) -> Audit:
    """Look for duplicates, leaks, contradictions and shortcuts in a data set, and for what it shares with others."""
    spec = images.spec
    pairs = find_pairs(images)
    flagged = find_burned_in(images.dataset)
    splits = OWN_SPLIT if any(sample.case.split for sample in images.dataset.samples) else SPLITS
    return Audit(
        dataset=spec.name,
        version=spec.version,
        content_hash=images.dataset.content_hash,
        images=len(images.samples),
        left_out={s.case.case_id: spec.exclude[s.case.case_id] for s in images.left_out},
        pairs=pairs,
        near_groups=find_groups(pairs),
        splits=tuple(check_split(images.dataset, pairs, name, split) for name, split in splits.items()),
        overlaps=tuple(find_overlap(images, other) for other in others),
        classes=count_classes(images.dataset, flagged),
        lesions=measure_lesions(images.dataset),
        burned_in=tuple(s.case.case_id for s, drawn in zip(images.dataset.samples, flagged, strict=True) if drawn),
        synthetic=spec.synthetic,
    )


def find_pairs(images: Images) -> tuple[CasePair, ...]:
    """Exact and near duplicates among all images, also those that are left out."""
    samples, out = images.samples, set(images.spec.exclude)
    found = []
    for i, j, correlation, bits, mirrored in near_pairs(images.prints):
        one, other = samples[i], samples[j]
        grouped = bool(one.group_id) and one.group_id == other.group_id
        left_out = bool(out & {one.case.case_id, other.case.case_id})
        found.append(_pair(one, other, correlation, bits, mirrored, grouped=grouped, left_out=left_out))
    return tuple(sorted(found, key=lambda pair: (not pair.exact, -pair.correlation)))


def find_groups(pairs: Sequence[CasePair]) -> tuple[tuple[str, ...], ...]:
    """Case ids that chains of pairs join, the largest group first."""
    ids = list(dict.fromkeys(case_id for pair in pairs for case_id in (pair.first, pair.second)))
    place = {case_id: i for i, case_id in enumerate(ids)}
    members: dict[int, list[str]] = {}
    for case_id, part in zip(
        ids, components(len(ids), [(place[p.first], place[p.second]) for p in pairs]), strict=True
    ):
        members.setdefault(part, []).append(case_id)
    return tuple(sorted(map(tuple, members.values()), key=lambda group: -len(group)))


def check_split(dataset: Dataset, pairs: Sequence[CasePair], name: str, split: SplitSpec) -> SplitCheck:
    """Groups and duplicates on two sides, over all folds of a split."""
    if not dataset.spec.tasks:
        return SplitCheck(name, None, None, "none: the entry has no task")
    place = {sample.case.case_id: i for i, sample in enumerate(dataset.samples)}
    kept = [(place[p.first], place[p.second]) for p in pairs if not p.left_out]
    try:
        folds = split_folds(dataset, split, task=dataset.spec.tasks[-1])
    except DataError as error:
        return SplitCheck(name, None, None, str(error))
    shared = parted = leaked = tested = 0
    for sides in folds:
        side_of = np.zeros(len(dataset), np.int64)
        side_of[sides.val], side_of[sides.test] = 1, 2
        shared += shared_groups(dataset.groups, sides)
        parted += sum(bool(side_of[i] != side_of[j]) for i, j in kept)
        leak = twins_of(dataset.groups, sides)
        leaked, tested = leaked + leak.train, tested + leak.test
    return SplitCheck(name, shared, parted, twins=leaked, tested=tested)


def find_overlap(images: Images, other: Images) -> Overlap:
    """Exact and near duplicates between two data sets, the cases that they leave out aside."""
    n, m = len(images.dataset), len(other.dataset)
    found = tuple(
        _pair(images.samples[i], other.samples[j], correlation, bits, mirrored)
        for i, j, correlation, bits, mirrored in near_pairs(images.prints, other.prints)
        if i < n and j < m
    )
    simulated = images.spec.synthetic and other.spec.synthetic
    leaks = any(pair.exact for pair in found) if simulated else bool(found)
    return Overlap(other.spec.name, m, found, leaks)


def count_classes(dataset: Dataset, flagged: Sequence[bool]) -> tuple[ClassCount, ...]:
    """Images, groups and images with drawn-in text of each class, in label order, those without a label last."""
    labels = [*enumerate(dataset.classes), *([(-1, "no label")] if (dataset.labels < 0).any() else [])]
    rows = [(label, np.flatnonzero(dataset.labels == index).tolist()) for index, label in labels]
    return tuple(
        ClassCount(label, len(of), len({dataset.groups[i] for i in of}), sum(flagged[i] for i in of))
        for label, of in rows
    )


def measure_lesions(dataset: Dataset) -> Lesions | None:
    """Areas of the lesions, and masks that are empty, full or cut by the edge."""
    masked = [(s, s.mask) for s in dataset.samples if s.mask is not None]
    if not masked:
        return None
    lesions = [(s, mask) for s, mask in masked if mask.any()]
    areas = np.array([mask.sum() for _, mask in lesions], dtype=np.float64)
    pixel_mm2 = np.array([s.spacing.y * s.spacing.x if s.spacing else np.nan for s, _ in lesions])
    edges = [mask[[0, -1]].any() or mask[:, [0, -1]].any() for _, mask in lesions]
    return Lesions(
        masks=len(masked),
        empty=len(masked) - len(lesions),
        full=sum(bool(mask.all()) for _, mask in lesions),
        at_border=sum(map(bool, edges)),
        quantiles=_QUANTILES,
        area_px=_quantiles(areas),
        area_share=_quantiles(areas / np.array([mask.size for _, mask in lesions])),
        area_mm2=_quantiles((areas * pixel_mm2)[np.isfinite(pixel_mm2)]),
    )


def find_burned_in(dataset: Dataset) -> list[bool]:
    """(N,) whether an image seems to have drawn-in text or calipers; see `data.burned_in`."""
    with ThreadPoolExecutor(available_cores()) as pool:
        return [n >= MIN_PIXELS for n in pool.map(lambda s: stroke_pixels(s.image), dataset.samples)]


def _pair(
    one: Sample,
    other: Sample,
    correlation: float,
    bits: int,
    mirrored: bool,
    *,
    grouped: bool = False,
    left_out: bool = False,
) -> CasePair:
    labels = one.case.label, other.case.label
    exact = one.pixel_hash == other.pixel_hash
    return CasePair(one.case.case_id, other.case.case_id, labels, exact, correlation, bits, mirrored, grouped, left_out)


def _quantiles(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(q) for q in np.quantile(values, _QUANTILES)) if len(values) else ()
