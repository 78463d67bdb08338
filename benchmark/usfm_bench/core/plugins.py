"""What other packages add: the entry points of the group `usfm_bench.plugins`, imported before names are looked up."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

GROUP = "usfm_bench.plugins"


@cache
def load_plugins() -> tuple[str, ...]:
    """Import every plug-in once; each registers what it adds.

    A plug-in that cannot be imported is one warning line on stderr, and all else goes on.

    Returns:
        Names of the plug-ins that were imported.
    """
    loaded = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            import_module(point.module)
        except Exception as error:  # a plug-in may raise anything
            reason = " ".join(str(error).split()) or "no reason given"
            sys.stderr.write(f"warning: plug-in '{point.name}' is left out: {type(error).__name__}: {reason}\n")
            continue
        loaded.append(point.name)
    return tuple(loaded)
