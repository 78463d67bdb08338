"""What a terminal or a pipe can take: colours only where they are wanted, and characters that its encoding has."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING

import typer

from usfm_bench.core.pipe_table import printable_lines

if TYPE_CHECKING:
    from rich.console import Console

_ALIKE = {
    **{"×": "x", "±": "+/-", "²": "2", "µ": "u", "μ": "u", "≤": "<=", "≥": ">=", "→": "->", "·": "-", "•": "*"},
    **{"–": "-", "—": "-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " "},
}
_HANDLER = "usfm-bench-alike"


def plain_streams() -> None:
    r"""Let stdout and stderr show what their encoding lacks as something alike, or else as its number, `\u826f`.

    Of UTF-8 that is nothing but the bytes of a file's name that are no UTF-8 themselves.
    """
    codecs.register_error(_HANDLER, _alike)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):  # another program's, such as a notebook's
            continue
        if codecs.lookup(stream.encoding).name != "ascii":
            stream.reconfigure(errors=_HANDLER)
            continue
        buffered = stream.line_buffering
        setattr(sys, name, _Ascii(stream.detach(), "ascii", errors=_HANDLER, line_buffering=buffered))


class _Ascii(io.TextIOWrapper):
    """ASCII by another name: Click takes a stream of that name for a mistake, and writes UTF-8 to it."""

    encoding = "ascii, as it was asked for"


def _alike(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_ALIKE.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost), error.end


def console() -> Console:
    """On stderr, for progress: names are shown as they are."""
    from rich.console import Console  # of no use to commands without progress

    # FORCE_COLOR asks for colours in a file, not for bars that move in it.
    moving = None if sys.stderr.isatty() else False
    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False, force_interactive=moving)


def stdout_console() -> Console:
    """On stdout, for tables that fit the terminal."""
    from rich.console import Console

    return Console(highlight=False, emoji=False, markup=False)


def say_error(text: str) -> None:
    """A fault on stderr, in red where colours are wanted."""
    typer.secho(f"error: {printable_lines(text)}", fg="red", err=True, color=_coloured())


def _coloured() -> bool | None:
    """No with NO_COLOR, yes with FORCE_COLOR, no with TERM=dumb; None: where it is a terminal.

    Reference: https://no-color.org, https://force-color.org.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None
