"""Splits: stratified by class, never a group on two sides, drawn by the suite's split seed and the case ids alone.

A split that belongs to the data set (`Case.split`) wins, also where it has groups on two sides: `twins_of` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.core.settings import content_hash
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.draw import Rows, deal
from usfm_bench.data.sides import stratum
from usfm_bench.data.subsample import part_of_training
from usfm_bench.specs.split import TEST, VAL, SplitSpec
from usfm_bench.specs.task import TASKS

_MIN_GROUPS = 3


class Split(NamedTuple):
    """Sorted positions of the cases on each side."""

    train: Rows
    val: Rows
    test: Rows


def split_dataset(dataset: Dataset, split: SplitSpec, fold: int, *, task: str, seed: int | None = None) -> Split:
    """One fold or repeat of `split_folds`; 0 for a single holdout."""
    return split_folds(dataset, split, task=task, seed=seed)[fold]


def split_folds(dataset: Dataset, split: SplitSpec, *, task: str, seed: int | None = None) -> list[Split]:
    """Divide a data set by its classes, or by presence of a lesion where it has none; all folds, or repeats.

    The sides that its cases prescribe come first. Of the training side, only the part is used that the name asks for.

    Args:
        dataset: cases, groups, and what part of the training side is used.
        split: kind and seed.
        task: what the data set is used for.
        seed: of the trial, which draws the lot of the part; None: that of the split draws one.

    Raises:
        DataError: a class has too few groups to be on every side, or the sides prescribed are no holdout.
    """
    if TASKS[task].needs == "label" and (dataset.labels < 0).any():
        raise DataError(f"Dataset '{dataset.spec.name}': {int((dataset.labels < 0).sum())} cases have no class.")
    strata = [stratum(sample) for sample in dataset.samples]
    try:
        if any(sample.case.split for sample in dataset.samples):
            folds = [_prescribed(dataset, strata, split)]
        else:
            key = split.model_dump_json()
            folds = dataset.drawn.get(key) or dataset.drawn.setdefault(key, _drawn(dataset, strata, split))
        # Parts of repeats are drawn apart, as their sides are.
        purposes = [f"part of repeat {k}" if k and split.kind == "holdout" else "part" for k in range(len(folds))]
        return [
            fold._replace(train=_part(dataset, fold.train, strata, split, seed, purpose))
            for fold, purpose in zip(folds, purposes, strict=True)
        ]
    except DataError as error:
        raise DataError(
            "\n".join(f"Dataset '{dataset.spec.name}': {line}" for line in str(error).split("\n"))
        ) from None


def _drawn(dataset: Dataset, strata: Sequence[str], split: SplitSpec) -> list[Split]:
    _check_groups(strata, dataset.groups, max(_MIN_GROUPS, split.folds))
    folds = draw_folds(strata, dataset.group_keys, split)
    if absent := sorted({fault for sides in folds for fault in absent_classes(strata, sides)}):
        raise DataError(
            f"no {split.kind} has every class on every side: {', '.join(absent)} would be lacking. A class has too few "
            "groups (patients or near-duplicates), or one of them is too large. Add cases, or leave the class out."
        )
    return folds


def _by_id(dataset: Dataset) -> Rows:
    return np.array(sorted(range(len(dataset)), key=lambda i: dataset.samples[i].case.case_id), dtype=np.int64)


def _prescribed(dataset: Dataset, strata: Sequence[str], split: SplitSpec) -> Split:
    """The sides that the data set prescribes; validation is drawn from training where they have none."""
    given = [sample.case.split for sample in dataset.samples]
    sides = {name: np.flatnonzero([side == name for side in given]) for name in Split._fields}
    faults = [f"prescribes no {name} side." for name in ("train", "test") if not len(sides[name])]
    if n := given.count(None):
        faults.append(f"prescribes a side of its split for {len(given) - n} cases, and none for {n}.")
    if split.parts > 1:
        faults.append(f"prescribes one split, where {split.parts} {split.part}s are asked for.")
    if faults:
        remedy = "`split: {kind: drawn}` in its registry entry has the suite draw one instead."
        raise DataError("\n".join([*faults, remedy]))
    if not len(sides["val"]):
        sides["val"], sides["train"] = _divide(sides["train"], strata, dataset.group_keys, split.seed)
    return Split(**sides)


def _part(
    dataset: Dataset, train: Rows, strata: Sequence[str], split: SplitSpec, seed: int | None, purpose: str
) -> Rows:
    rule = dataset.spec.training
    if rule is None:
        return train
    by_id = _by_id(dataset)
    positive = [dataset.samples[i].case.label == dataset.spec.positive for i in by_id]
    found = part_of_training(
        np.flatnonzero(np.isin(by_id, train)),
        rule,
        [strata[i] for i in by_id],
        [dataset.group_keys[i] for i in by_id],
        positive,
        split.seed if seed is None or rule.lot == "split" else (split.seed, seed),
        purpose,
    )
    return np.sort(by_id[found])


def absent_classes(strata: Sequence[str], split: Split) -> list[str]:
    """`class 'x' on the test side` for each class that a side lacks."""
    return [
        f"class '{label}' on the {side} side"
        for side, rows in split._asdict().items()
        for label in sorted(set(strata) - {strata[i] for i in rows})
    ]


def draw_folds(strata: Sequence[str], keys: Sequence[str], split: SplitSpec) -> list[Split]:
    """Draw all folds, or repeats, of a grouped, stratified split.

    Args:
        strata: (N,) what is balanced between the sides.
        keys: (N,) of groups: what no two sides may share.
        split: kind and seed.

    Raises:
        DataError: there is too little to divide.
    """
    rows = np.arange(len(strata))
    folds = []
    if split.kind == "holdout":
        for repeat in range(split.repeats):
            purpose = f"holdout {repeat}" if repeat else "holdout"
            test, val, train = deal(rows, strata, keys, (TEST, VAL, 1 - TEST - VAL), split.seed, purpose)
            folds.append(Split(train, val, test))
        return folds
    tests = deal(rows, strata, keys, [1 / split.folds] * split.folds, split.seed, "kfold")
    for fold, test in enumerate(tests):
        val, train = _divide(np.setdiff1d(rows, test), strata, keys, split.seed, fold)
        folds.append(Split(train, val, test))
    return folds


def _divide(rest: Rows, strata: Sequence[str], keys: Sequence[str], seed: int, fold: int = 0) -> list[Rows]:
    """Validation, a tenth of all cases, and training from what is not tested."""
    if (n := len({keys[i] for i in rest})) < 2:
        raise DataError(f"{n} group in {len(rest)} cases cannot be divided into training and validation.")
    share = min(0.5, VAL * len(strata) / len(rest))
    return deal(rest, strata, keys, (share, 1 - share), seed, f"validation of fold {fold}")


def split_hash(dataset: Dataset, split: Split) -> str:
    """Content hash of the case ids on each side."""
    return content_hash([sorted(dataset.samples[i].case.case_id for i in side) for side in split])


class Twins(NamedTuple):
    """Test cases that have a case of their own group (patient, near-duplicate) on another side."""

    train: int
    """In training."""
    elsewhere: int
    """In training or validation."""
    test: int
    """Number of test cases."""

    def __str__(self) -> str:
        or_validation = f", {self.elsewhere} in training or validation" if self.elsewhere > self.train else ""
        return f"{self.train} of {self.test} test images have a twin in training{or_validation}"


def twins_of(groups: Sequence[str], split: Split) -> Twins:
    """How much a split leaks: nothing where it was drawn here."""
    train, val = ({groups[i] for i in side} for side in (split.train, split.val))
    tested = [groups[i] for i in split.test]
    return Twins(sum(g in train for g in tested), sum(g in train | val for g in tested), len(tested))


def shared_groups(groups: Sequence[str], split: Split) -> int:
    """Number of groups that are on more than one side: 0 in every split drawn here."""
    sides = [{groups[i] for i in side} for side in split]
    return len(sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2])


def _check_groups(strata: Sequence[str], groups: Sequence[str], least: int) -> None:
    pairs = set(zip(strata, groups, strict=True))
    counts = {label: sum(s == label for s, _ in pairs) for label in sorted(set(strata))}
    faults = [
        f"class '{label}' has {n} group{'s' * (n != 1)} (patients or near-duplicates); "
        f"this split needs {least} at least, to have it on every side. Add cases, or leave the class out."
        for label, n in counts.items()
        if n < least
    ]
    if faults:
        raise DataError("\n".join(faults))
