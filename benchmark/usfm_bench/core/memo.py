"""What was computed from an array, so that many metrics of it share their parts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, TypeVar

from numpy.typing import NDArray

T = TypeVar("T")
_ARRAYS = 8  # a model's probabilities, those after temperature scaling, and decisions of a rule


def remembered(array: NDArray[Any], key: Hashable, compute: Callable[[], T]) -> T:
    """What `compute` gives, or gave before for the same array and key; nobody may change it.

    An array that may be written to could hold other values by then, so that its parts are computed each time.

    Args:
        array: what is computed from, the very same one each time; of the last few there is a memory.
        key: what is computed, with everything else that decides it.
        compute: gives it.
    """
    if array.flags.writeable or not array.flags.owndata:
        return compute()
    known = _known(_Identity(array))
    if key not in known:
        known[key] = compute()
    found: T = known[key]
    return found


class _Identity:
    """An array as a key of its own; equal values elsewhere are another."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array

    def __hash__(self) -> int:
        return id(self.array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.array is other.array


@lru_cache(maxsize=_ARRAYS)
def _known(array: _Identity) -> dict[Hashable, Any]:
    return {}
