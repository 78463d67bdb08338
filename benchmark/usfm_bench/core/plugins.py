"""What other packages add: the entry points of the group `usfm_bench.plugins`, imported before names are looked up."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import entry_points

from usfm_bench.core.pipe_table import printable

GROUP = "usfm_bench.plugins"
_LONGEST = 300  # characters of a reason
_loaded: list[str] | None = None


def load_plugins() -> tuple[str, ...]:
    """Import every plug-in once; each registers what it adds.

    A plug-in that cannot be imported is one warning line on stderr, and all else goes on.

    Returns:
        Names of the plug-ins that were imported.
    """
    global _loaded
    if _loaded is None:
        _loaded = []  # before the imports, which may look names up themselves
        for name, module in sorted({(point.name, point.module) for point in entry_points(group=GROUP)}):
            try:
                import_module(module)
            except (Exception, SystemExit) as error:  # a plug-in may raise anything
                reason = printable(" ".join(str(error).split()))[:_LONGEST] or "no reason given"
                sys.stderr.write(f"warning: plug-in '{name}' is left out: {type(error).__name__}: {reason}\n")
                continue
            _loaded.append(name)
    return tuple(_loaded)
