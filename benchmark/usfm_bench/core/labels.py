"""Labels of any kind as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError

Labels = Sequence[str] | Sequence[int] | NDArray[np.int64]


def numbered(labels: Labels) -> NDArray[np.int64]:
    """(N,) labels -> numbers 0, 1, 2 ... in the order in which they first come: whatever groups are called."""
    names = np.asarray(labels)
    if names.dtype.kind == "i" and _in_order(names):
        return names.astype(np.int64)
    _, first, index = np.unique(names, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index], dtype=np.int64)


def _in_order(numbers: NDArray[np.int64]) -> bool:
    """Whether they are what `numbered` makes of them."""
    if not numbers.size or numbers[0] != 0 or numbers.min() < 0:
        return False
    return bool((np.diff(np.maximum.accumulate(numbers)) <= 1).all())


def sorted_numbers(labels: Labels) -> NDArray[np.int64]:
    """(N,) labels -> numbers 0, 1, 2 ... in the order of the labels, as of `np.unique`.

    >>> sorted_numbers([5, 2, 5]).tolist(), sorted_numbers(["b", "a"]).tolist()
    ([1, 0, 1], [1, 0])
    """
    names = np.asarray(labels)
    if names.dtype.kind == "i" and names.size and names.min() >= 0 and names.max() < 4 * names.size:
        there = np.bincount(names) > 0  # numbers already: no need to sort them
        return np.asarray((np.cumsum(there) - 1)[names])
    return np.asarray(np.unique(names, return_inverse=True)[1], dtype=np.int64)


def one_for_each(labels: Labels, n: int, what: str) -> None:
    """Refuse names of groups or folds that do not fit the cases.

    Raises:
        BenchError: there are not as many as cases, or some are missing, which NumPy would take for one group.
    """
    names = np.asarray(labels)
    if names.shape != (n,):
        raise BenchError(f"{what} has {len(names)} names for {n} cases; expected one a case, in their order.")
    missing = [name is None or name != name for name in names] if names.dtype.kind in "fO" else []
    if any(missing):
        raise BenchError(
            f"{what} lacks {sum(missing)} of {n} names; give a case whose patient is not known a name of its own."
        )
