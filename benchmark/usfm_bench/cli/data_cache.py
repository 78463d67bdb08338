"""`usfm-bench data cache`: decoded images that were kept, and how to be rid of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import CacheFolder, TextFormat

EXAMPLES = "Examples: `usfm-bench data cache --cache ~/decoded` · `usfm-bench data cache --cache ~/decoded --clear`"


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove them; other files in the folder stay.")] = False,
    folder: CacheFolder = None,
    form: Annotated[TextFormat, typer.Option("--format", help="How to print.")] = TextFormat.text,
) -> None:
    """Decoded images that are kept in the folder of --cache or USFM_BENCH_CACHE: how large, and when used last."""
    from datetime import UTC, datetime

    from usfm_bench.core import words
    from usfm_bench.data import cache_folder as cached

    place = cached.cache_folder()
    files = [] if place is None else cached.clear(place) if clear else cached.cached_files(place)
    listed: dict[str, object] = {
        file.path.name: f"{words.size(file.size)}, used last on {datetime.fromtimestamp(file.used, UTC):%Y-%m-%d}"
        for file in files
    }
    facts = {
        "folder": None if place is None else str(place),
        "limit GB": cached.cache_limit() / cached.GB,
        "removed GB" if clear else "GB": round(sum(file.size for file in files) / cached.GB, 3),
        "removed" if clear else "files": listed,
    }
    print_facts(facts, form)
    if place is None:
        typer.echo("Decoded images are not kept; --cache DIR or USFM_BENCH_CACHE=DIR keeps them.", err=True)
    # Versions before the cache had to be asked for wrote here.
    former = Path("~/.cache/usfm-bench").expanduser()
    if former != place and former.is_dir() and cached.cached_files(former):
        typer.echo(
            f"An earlier version kept images in {former}: `usfm-bench data cache --cache {former} --clear`.", err=True
        )
