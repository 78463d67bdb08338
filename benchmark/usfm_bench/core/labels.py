"""Labels of any kind as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Labels = Sequence[str] | Sequence[int] | NDArray[np.int64]


def numbered(labels: Labels) -> NDArray[np.int64]:
    """(N,) labels -> numbers 0, 1, 2 ... in the order in which they first come: whatever groups are called."""
    _, first, index = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index], dtype=np.int64)
