"""One registry type for everything that has a name: tasks, readers, model families, metrics, methods, engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

from usfm_bench.core.errors import unknown
from usfm_bench.core.plugins import load_plugins, registered

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Names to things. A second use of a name raises; a lookup of an unknown one suggests the nearest.

    Args:
        kind: what its entries are, for messages.
        hint: where to see all, for messages.
        home: module that registers the shipped entries; it and all plug-ins are imported before the first lookup.

    >>> SHAPES: Registry[int] = Registry("shape")
    >>> _ = SHAPES.register("square")(4)
    >>> SHAPES["square"]
    4
    """

    def __init__(self, kind: str, hint: str = "", home: str = "") -> None:
        self._kind = kind
        self.hint = hint
        self._home = home
        self._entries: dict[str, T] = {}
        self._complete = not home

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters what it is put above under `name`."""
        if self._home:
            import_module(self._home)  # shipped names are taken before those of plug-ins

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self._kind} '{name}' is registered twice")
            self._entries[name] = entry
            registered(lambda: self._entries.pop(name, None))
            return entry

        return enter

    def _all(self) -> dict[str, T]:
        if not self._complete:
            self._complete = True  # before the import, which may look names up itself
            import_module(self._home)
            load_plugins()
        return self._entries

    def __getitem__(self, name: str) -> T:
        entries = self._all()
        if name not in entries:
            raise unknown(self._kind, name, entries, hint=self.hint)
        return entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all()))

    def __len__(self) -> int:
        return len(self._all())
