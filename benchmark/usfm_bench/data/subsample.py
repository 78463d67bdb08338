"""Fewer cases by lot, by whole groups: a class made rare, and parts of a training side that lie within one another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from usfm_bench.core.errors import DataError
from usfm_bench.data.draw import Rows, by_lot, members_of
from usfm_bench.data.groups import group_keys
from usfm_bench.data.sample import Sample
from usfm_bench.specs.dataset import DatasetSpec, TrainingSubset

Seed = int | tuple[int, int]
"""Of the split, or of the split and the trial."""
LEAST, MOST = 0.05, 0.5
"""Between these shares, the number of training cases does not depend on the share of the positive class."""


def thin_out(samples: Sequence[Sample], spec: DatasetSpec) -> tuple[list[Sample], list[str]]:
    """The samples without those that `spec.subsample` leaves out, and what was left out in words.

    Raises:
        DataError: the class is rarer than asked already.
    """
    rule = spec.subsample
    if rule is None:
        return list(samples), []
    rows = np.flatnonzero([sample.case.label == rule.label for sample in samples])
    wanted = rule.prevalence / (1 - rule.prevalence) * (len(samples) - len(rows))
    if wanted > len(rows) + 1e-9:  # 30 of 100 are 30 %, whatever the last bit says
        raise DataError(
            f"Dataset '{spec.name}': {len(rows)} of {len(samples)} cases are '{rule.label}', fewer than "
            f"{rule.prevalence:.1%}. Ask for a smaller `subsample.prevalence`."
        )
    kept = set(_fitting(_by_group(rows, group_keys(samples), rule.seed, "subsample"), wanted))
    out = set(rows.tolist()) - kept
    share = len(kept) / (len(samples) - len(out))
    lot = f"by lot (seed {rule.seed}) and whole groups; {share:.1%} of all are left, {rule.prevalence:.1%} asked for"
    note = f"left out {len(out)} of {len(rows)} images of class '{rule.label}' {lot}"
    return [sample for i, sample in enumerate(samples) if i not in out], [note]


def part_of_training(
    train: Rows,
    rule: TrainingSubset,
    strata: Sequence[str],
    keys: Sequence[str],
    positive: Sequence[bool],
    seed: Seed,
    purpose: str = "part",
) -> Rows:
    """The rows of a training side that a part of it uses, in order.

    Args:
        train: rows of the whole side.
        rule: a fraction of it, or a prevalence.
        strata: (N,) of all cases: a fraction keeps their shares, with one group of each at least.
        keys: (N,) of groups; a fraction takes whole ones.
        positive: (N,) whether a case is of the positive class.
        seed: of the lot; parts drawn with one seed and purpose lie within one another.
        purpose: of the lot.

    Raises:
        DataError: no positive or no other case.
    """
    if rule.fraction is not None:
        return np.sort(np.fromiter(_fraction(train, rule.fraction, strata, keys, seed, purpose), np.int64))
    assert rule.prevalence is not None
    rows = [
        [i for group in _by_group(train[side], keys, seed, purpose) for i in group]
        for side in (np.array(positive)[train], ~np.array(positive)[train])
    ]
    # As many as can be had at both ends, so that every prevalence has the same number of cases.
    n = int(min(len(rows[0]) / MOST, len(rows[1]) / (1 - LEAST)))
    n_positive = round(rule.prevalence * n)
    if n_positive < 1 or n_positive == n:
        raise DataError(f"{len(rows[0])} positive and {len(rows[1])} other training cases are too few.")
    return np.sort(np.array([*rows[0][:n_positive], *rows[1][: n - n_positive]], np.int64))


def _fraction(
    train: Rows, share: float, strata: Sequence[str], keys: Sequence[str], seed: Seed, purpose: str
) -> Iterable[int]:
    members = members_of(train, keys)
    # A group of several classes counts for the one that it has most of.
    class_of = {group: Counter(strata[i] for i in rows).most_common(1)[0][0] for group, rows in members.items()}
    for label in sorted(set(class_of.values())):
        rows = np.array([i for group, of in members.items() if class_of[group] == label for i in of])
        yield from _first(_by_group(rows, keys, seed, purpose), share * len(rows))


def _by_group(rows: Rows, keys: Sequence[str], seed: Seed, purpose: str) -> list[list[int]]:
    """The rows of each group, groups in an order drawn by lot."""
    members = members_of(rows, keys)
    return [members[key] for key in by_lot(members, seed, purpose)]


def _fitting(groups: Sequence[Sequence[int]], wanted: float) -> list[int]:
    """Whole groups in their order, those left aside that are too large for what is wanted; one group at least."""
    taken: list[int] = []
    for group in groups:
        if len(taken) + len(group) / 2 <= wanted:
            taken += group
    smallest: Sequence[int] = min(groups, key=len)
    return taken or list(smallest)


def _first(groups: Iterable[Sequence[int]], wanted: float) -> list[int]:
    """Whole groups from the front until there are `wanted` rows, as nearly as can be; one group at least."""
    taken: list[int] = []
    for group in groups:
        if taken and len(taken) + len(group) / 2 > wanted:
            break
        taken += group
    return taken
