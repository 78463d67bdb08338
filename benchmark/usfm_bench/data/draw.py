"""Drawing by lot, so that a benchmark's splits depend on no library's version, no pixel and no order of reading.

A lot is the sha256 of a seed, a purpose and a group's key, which is its least case id. Whole groups are dealt to parts,
stratified by class, as `deal` says. What happens to one group moves few others: another image more or a pair that is
none any more changes how many groups each part takes by one or two, and with it the cases at the border alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def by_lot(keys: Iterable[str], seed: int | tuple[int, int], purpose: str) -> list[str]:
    """Keys in an order drawn by lot: the same key has the same lot, whatever else there is."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{purpose}\n{seed}\n{key}".encode()).digest())


def members_of(rows: Rows, keys: Sequence[str]) -> dict[str, list[int]]:
    """Key -> those of the rows that have it."""
    members: dict[str, list[int]] = {}
    for i in rows.tolist():
        members.setdefault(keys[i], []).append(i)
    return members


@dataclass
class _Part:
    """One side while it is dealt."""

    share: float
    rows: list[int] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    """Class -> cases held."""

    def cost(self, kind: Counter[str], totals: Counter[str]) -> tuple[float, float]:
        """Growth of the squared distance from the part's share of each class, then of all cases, relative to it."""
        classes = sum(
            n * (2 * (self.held[label] - self.share * totals[label]) + n) / (self.share * totals[label])
            for label, n in sorted(kind.items())
        )
        size, wanted = kind.total(), self.share * totals.total()
        return classes + size * (2 * (self.held.total() - wanted) + size) / wanted, -self.share


def deal(
    rows: Rows, strata: Sequence[str], keys: Sequence[str], shares: Sequence[float], seed: int, purpose: str
) -> list[Rows]:
    """Deal whole groups to parts of these shares, balanced by class.

    Groups of one composition (so many cases of each class) are alike, so it is decided first how many of them each part
    takes: the largest compositions first, each group where it brings the parts nearest to their shares of its classes
    and of all cases. A class's last groups go to parts that have none of it. The lot then decides which group is which.

    Args:
        rows: what is dealt, of the N cases.
        strata: (N,) classes.
        keys: (N,) of each case's group; equal keys stay together.
        shares: of the parts; they sum to 1.
        seed: of the lot.
        purpose: of the lot: draws of two purposes have nothing in common.

    Returns:
        Sorted rows of each part.
    """
    kinds: dict[tuple[tuple[str, int], ...], list[str]] = {}
    members = members_of(rows, keys)
    for key, cases in members.items():
        kinds.setdefault(tuple(sorted(Counter(strata[i] for i in cases).items())), []).append(key)
    totals = Counter(strata[i] for i in rows.tolist())
    left = Counter(label for kind, names in kinds.items() for label, _ in kind for _ in names)
    parts = [_Part(share) for share in shares]
    for kind, names in sorted(kinds.items(), key=lambda item: (-sum(n for _, n in item[0]), item[0])):
        places = sorted(_place(parts, Counter(dict(kind)), totals, left) for _ in names)
        for place, name in zip(places, by_lot(names, seed, purpose), strict=True):
            parts[place].rows += members[name]
    return [np.sort(np.array(part.rows, np.int64)) for part in parts]


def _place(parts: Sequence[_Part], kind: Counter[str], totals: Counter[str], left: Counter[str]) -> int:
    """The part that the next group of this composition goes to, which then holds it."""
    owed = [0] * len(parts)
    for label in kind:
        lacking = [i for i, part in enumerate(parts) if not part.held[label]]
        if left[label] <= len(lacking):
            for i in lacking:
                owed[i] += 1
    place = min(range(len(parts)), key=lambda i: (-owed[i], parts[i].cost(kind, totals), i))
    parts[place].held += kind
    left.subtract(kind.keys())
    return place
