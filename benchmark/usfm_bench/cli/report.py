"""`usfm-bench report`: tables of finished trials."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.options import RUNS, RunsFolder

EXAMPLES = (
    "Examples: `usfm-bench report --suite demo` · `usfm-bench report --suite busi-seg --suite busi-cls "
    "--format json` · `usfm-bench report --suite busi-seg --profile quick --format csv --out busi-seg.csv`"
)


class Format(StrEnum):
    """How a report is written."""

    markdown = "markdown"
    json = "json"
    csv = "csv"


class MissedPolicy(StrEnum):
    """What a missed lesion's distances get."""

    diagonal = "diagonal"
    exclude = "exclude"


def report(
    suite: Annotated[list[str], typer.Option(help="Suite to report; may be given several times.")],
    profile: Annotated[
        str | None, typer.Option(help="Which profile's trials, where the runs folder holds several.")
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="markdown shows percent; json and csv hold fractions.")
    ] = Format.markdown,
    missed: Annotated[
        MissedPolicy,
        typer.Option(help="Distances of a missed lesion: the image diagonal, or left out and counted."),
    ] = MissedPolicy.diagonal,
    runs: RunsFolder = RUNS,
    out: Annotated[Path | None, typer.Option(help="File to write instead of the screen.")] = None,
) -> None:
    """Tables 1 and 2 of the paper for finished trials, with intervals over seeds and cases."""
    from usfm_bench.atomic import write_text
    from usfm_bench.reporting import build_report, render
    from usfm_bench.results.store import Store

    store = Store(runs)
    text = render(
        [build_report(store, name, profile, missed=missed.value) for name in dict.fromkeys(suite)], form.value
    )
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(f"Wrote {out}", err=True)
