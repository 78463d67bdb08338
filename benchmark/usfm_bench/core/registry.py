"""One registry type for everything that has a name: readers, models, metrics, decoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from usfm_bench.core.errors import unknown

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Names to things. A second use of a name raises; a lookup of an unknown one suggests the nearest.

    >>> SHAPES: Registry[int] = Registry("shape")
    >>> _ = SHAPES.register("square")(4)
    >>> SHAPES["square"]
    4
    """

    def __init__(self, kind: str, hint: str = "") -> None:
        self._kind = kind
        self._hint = hint
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters what it is put above under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown(self._kind, name, self._entries, hint=self._hint)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
