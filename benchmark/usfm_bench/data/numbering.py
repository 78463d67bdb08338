"""Numbers for groups, whatever they are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def numbered(labels: Sequence[object] | NDArray[np.generic]) -> NDArray[np.int64]:
    """(N,) labels -> numbers 0, 1, 2 ... in the order in which they first come: whatever groups are called."""
    _, first, index = np.unique(np.asarray(labels), return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[index], dtype=np.int64)
