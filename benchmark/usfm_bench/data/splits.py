"""Splits: stratified by class, never a group on two sides, drawn by the suite's split seed alone.

A split that belongs to the data set (`Case.split`) wins, also where it has groups on two sides: `twins_of` counts them.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from usfm_bench.config import SplitSpec, Task, content_hash
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.sides import stratum
from usfm_bench.data.subsample import part_of_training
from usfm_bench.errors import DataError

Rows = NDArray[np.int64]
_TENTHS = 10  # a holdout is seven tenths for training, one for validation, two for the test
_MIN_GROUPS = 3
_DRAWS, _SEED_STEP = 20, 1_000_003


class Split(NamedTuple):
    """Sorted positions of the cases on each side."""

    train: Rows
    val: Rows
    test: Rows


def split_dataset(dataset: Dataset, split: SplitSpec, fold: int, *, task: Task, seed: int | None = None) -> Split:
    """One fold of `split_folds`; 0 for a holdout."""
    return split_folds(dataset, split, task=task, seed=seed)[fold]


def split_folds(dataset: Dataset, split: SplitSpec, *, task: Task, seed: int | None = None) -> list[Split]:
    """Divide a data set by its classes, or by presence of a lesion where it has none; all folds.

    The sides that its cases prescribe come first. Of the training side, only the part is used that the name asks for.

    Args:
        dataset: cases, groups, and what part of the training side is used.
        split: kind and seed.
        task: what the data set is used for.
        seed: of the trial, which draws the lot of the part; None: that of the split draws one.

    Raises:
        DataError: a class has too few groups to be on every side, or the sides prescribed are no holdout.
    """
    if task == "classification" and (dataset.labels < 0).any():
        raise DataError(f"Dataset '{dataset.spec.name}': {int((dataset.labels < 0).sum())} cases have no class.")
    strata = [stratum(sample) for sample in dataset.samples]
    try:
        if any(sample.case.split for sample in dataset.samples):
            folds = [_prescribed(dataset, strata, split)]
        else:
            key = split.model_dump_json()
            folds = dataset.drawn.get(key) or dataset.drawn.setdefault(key, _drawn(dataset, strata, split))
        return [fold._replace(train=_part(dataset, fold.train, strata, split, seed)) for fold in folds]
    except DataError as error:
        raise DataError(
            "\n".join(f"Dataset '{dataset.spec.name}': {line}" for line in str(error).split("\n"))
        ) from None


def _drawn(dataset: Dataset, strata: Sequence[str], split: SplitSpec) -> list[Split]:
    _check_groups(strata, dataset.groups, max(_MIN_GROUPS, split.folds))
    # Drawn over the cases in the order of their ids, so that the order of reading does not matter.
    by_id = _by_id(dataset)
    folds = _draw_complete([strata[i] for i in by_id], [dataset.groups[i] for i in by_id], split)
    return [Split(*(np.sort(by_id[side]) for side in drawn)) for drawn in folds]


def _by_id(dataset: Dataset) -> Rows:
    return np.array(sorted(range(len(dataset)), key=lambda i: dataset.samples[i].case.case_id), dtype=np.int64)


def _prescribed(dataset: Dataset, strata: Sequence[str], split: SplitSpec) -> Split:
    """The sides that the data set prescribes; validation is drawn from training where they have none."""
    given = [sample.case.split for sample in dataset.samples]
    sides = {name: np.flatnonzero([side == name for side in given]) for name in Split._fields}
    faults = [f"prescribes no {name} side." for name in ("train", "test") if not len(sides[name])]
    if n := given.count(None):
        faults.append(f"prescribes a side of its split for {len(given) - n} cases, and none for {n}.")
    if split.kind != "holdout":
        faults.append(f"prescribes one split, where the suite wants {split.folds} folds.")
    if faults:
        remedy = "`split: {kind: drawn}` in its registry entry has the suite draw one instead."
        raise DataError("\n".join([*faults, remedy]))
    if not len(sides["val"]):
        by_id = _by_id(dataset)
        rest = by_id[np.isin(by_id, sides["train"])]
        n_parts = max(2, round(len(rest) / (len(dataset) / _TENTHS)))
        sides["val"] = np.sort(_parts(rest, strata, dataset.groups, n_parts, split.seed)[0])
        sides["train"] = np.setdiff1d(rest, sides["val"])
    return Split(**sides)


def _part(dataset: Dataset, train: Rows, strata: Sequence[str], split: SplitSpec, seed: int | None) -> Rows:
    rule = dataset.spec.training
    if rule is None:
        return train
    by_id = _by_id(dataset)
    positive = [dataset.samples[i].case.label == dataset.spec.positive for i in by_id]
    found = part_of_training(
        np.flatnonzero(np.isin(by_id, train)),
        rule,
        [strata[i] for i in by_id],
        [dataset.groups[i] for i in by_id],
        positive,
        split.seed if seed is None or rule.lot == "split" else (split.seed, seed),
    )
    return np.sort(by_id[found])


def _draw_complete(strata: Sequence[str], groups: Sequence[str], split: SplitSpec) -> list[Split]:
    """All folds of the first draw in which every class is on every side; rare classes may need several."""
    for draw in range(_DRAWS):
        seeded = split.model_copy(update={"seed": split.seed + draw * _SEED_STEP})
        folds = _complete_folds(strata, groups, seeded)
        if folds:
            return folds
    if split.kind == "holdout":
        dealt = _deal_groups(strata, groups, split.seed)
        if not absent_classes(strata, dealt):
            return [dealt]
    raise DataError(
        f"no {split.kind} has every class on every side. A class has too few groups (patients or near-duplicates), "
        "or one of them is too large. Add cases, or leave the class out."
    )


def _complete_folds(strata: Sequence[str], groups: Sequence[str], split: SplitSpec) -> list[Split]:
    """All folds of one draw; none when a class is missing on a side, or when there is too little to divide."""
    folds = []
    try:
        for sides in _draw_folds(strata, groups, split):
            if absent_classes(strata, sides):
                return []
            folds.append(sides)
    except DataError:
        return []
    return folds


def _deal_groups(strata: Sequence[str], groups: Sequence[str], seed: int) -> Split:
    """For small data: each class's groups are dealt out by themselves, one to the test and validation side at least."""
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    by_class: dict[str, list[str]] = {}
    for group, rows in sorted(members.items()):
        by_class.setdefault(Counter(strata[i] for i in rows).most_common(1)[0][0], []).append(group)
    test, val = [], []
    for _, names in sorted(by_class.items()):
        order = [names[i] for i in rng.permutation(len(names))]
        n_test, n_val = max(1, round(2 * len(order) / _TENTHS)), max(1, round(len(order) / _TENTHS))
        test += [row for group in order[:n_test] for row in members[group]]
        val += [row for group in order[n_test : n_test + n_val] for row in members[group]]
    return _sides(np.arange(len(strata)), test=test, val=val)


def absent_classes(strata: Sequence[str], split: Split) -> list[str]:
    """`class 'x' on the test side` for each class that a side lacks."""
    return [
        f"class '{label}' on the {side} side"
        for side, rows in split._asdict().items()
        for label in sorted(set(strata) - {strata[i] for i in rows})
    ]


def draw_split(strata: Sequence[str], groups: Sequence[str], split: SplitSpec, fold: int) -> Split:
    """Draw a grouped, stratified split.

    Args:
        strata: (N,) what is balanced between the sides.
        groups: (N,) what no two sides may share.
        split: kind and seed.
        fold: which fold is the test set; 0 for a holdout.
    """
    return next(islice(_draw_folds(strata, groups, split), fold, None))


def _draw_folds(strata: Sequence[str], groups: Sequence[str], split: SplitSpec) -> Iterator[Split]:
    rows = np.arange(len(strata))
    if split.kind == "holdout":
        tenths = _parts(rows, strata, groups, _TENTHS, split.seed)
        yield _sides(rows, test=np.concatenate(tenths[:2]), val=tenths[2])
        return
    for test in _parts(rows, strata, groups, split.folds, split.seed):
        rest = np.setdiff1d(rows, test)
        # Validation is a tenth of all cases, whatever the number of folds.
        n_parts = max(2, round(len(rest) / (len(rows) / _TENTHS)))
        yield _sides(rows, test=test, val=_parts(rest, strata, groups, n_parts, split.seed)[0])


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


def _parts(rows: Rows, strata: Sequence[str], groups: Sequence[str], n_parts: int, seed: int) -> list[Rows]:
    folds = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed)
    y, g = np.array([strata[i] for i in rows]), np.array([groups[i] for i in rows])
    if (n := len(set(g))) < n_parts or np.unique(y, return_counts=True)[1].max() < n_parts:
        raise DataError(f"{n} groups in {len(rows)} cases are too few to divide into {n_parts} parts.")
    with warnings.catch_warnings():
        # A class with fewer cases than parts is legal here: `_draw_complete` judges the result.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return [rows[test] for _, test in folds.split(rows, y, g)]


def _sides(rows: Rows, *, test: Iterable[int], val: Iterable[int]) -> Split:
    test, val = np.sort(np.fromiter(test, np.int64)), np.sort(np.fromiter(val, np.int64))
    return Split(np.setdiff1d(rows, np.concatenate([test, val])), val, test)


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
