"""What other packages add: the entry points of the group `usfm_bench.plugins`, imported before names are looked up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points

from usfm_bench.core.pipe_table import printable

GROUP = "usfm_bench.plugins"
_LONGEST = 300  # characters of a reason
_OURS = __name__.partition(".")[0]
_loaded: list[str] | None = None
_undo: list[tuple[str, Callable[[], object]]] = []
"""Of the plug-in that is being imported: which of its modules registered a name, and what takes the name out again."""


def load_plugins() -> tuple[str, ...]:
    """Import every plug-in once; each registers what it adds.

    A plug-in that cannot be imported is one warning line on stderr, adds nothing, and all else goes on.

    Returns:
        Names of the plug-ins that were imported.
    """
    global _loaded
    if _loaded is None:
        _loaded = []  # before the imports, which may look names up themselves
        for name, module in sorted({(point.name, point.module) for point in entry_points(group=GROUP)}):
            _undo.clear()
            try:
                import_module(module)
            except (Exception, SystemExit) as error:  # a plug-in may raise anything
                _take_out()
                reason = printable(" ".join(str(error).split()))[:_LONGEST] or "no reason given"
                sys.stderr.write(f"warning: plug-in '{name}' is left out: {type(error).__name__}: {reason}\n")
                continue
            _loaded.append(name)
        _undo.clear()
    return tuple(_loaded)


def registered(undo: Callable[[], object]) -> None:
    """Note that a name was registered, and how it is taken out should the plug-in that did it fail to import."""
    module = _module_in_import()
    if module.partition(".")[0] != _OURS:  # shipped modules that a plug-in imports first keep their names
        _undo.append((module, undo))


def _module_in_import() -> str:
    """Name of the module whose own lines are running, the innermost one; empty where there is none."""
    frame = sys._getframe()
    while frame.f_code.co_name != "<module>":
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", ""))


def _take_out() -> None:
    for module, undo in _undo:
        undo()
        sys.modules.pop(module, None)  # another plug-in that needs it runs it again, and so registers its names
    _undo.clear()
