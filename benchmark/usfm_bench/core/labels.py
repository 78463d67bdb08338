"""Labels of any kind as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError

Labels = Sequence[str] | Sequence[int] | NDArray[np.int64]


def numbered(labels: Labels) -> NDArray[np.int64]:
    """(N,) labels -> numbers 0, 1, 2 ... in the order in which they first come: whatever groups are called."""
    _, first, index = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index], dtype=np.int64)


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
