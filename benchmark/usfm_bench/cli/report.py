"""`usfm-bench report`: tables of finished trials."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usfm_bench.cli.options import DATA_ROOT, RUNS, CacheFolder, DataRoot, RunsFolder
from usfm_bench.core.errors import BenchError

if TYPE_CHECKING:
    from usfm_bench.reporting import Report
    from usfm_bench.results.store import Store

EXAMPLES = (
    "Examples: `usfm-bench report --suite demo` · `usfm-bench report --suite busi-seg --suite busi-cls "
    "--format json` · `usfm-bench report --suite busi-seg --profile quick --format csv --out busi-seg.csv` · "
    "`usfm-bench report --suite busi-seg --format html --out page --data-root data`"
)


class Format(StrEnum):
    """How a report is written."""

    markdown = "markdown"
    latex = "latex"
    json = "json"
    csv = "csv"
    html = "html"


class MissedPolicy(StrEnum):
    """What a missed lesion's distances get."""

    diagonal = "diagonal"
    exclude = "exclude"


def report(
    suite: Annotated[list[str], typer.Option(help="Suite, or a YAML file of your own; may be given several times.")],
    profile: Annotated[
        str | None, typer.Option(help="Which profile's trials, where the runs folder holds several.")
    ] = None,
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="markdown, latex and html, a page to browse, show percent; json and csv hold fractions."
        ),
    ] = Format.markdown,
    missed: Annotated[
        MissedPolicy,
        typer.Option(help="Distances of a missed lesion: the image diagonal, or left out and counted."),
    ] = MissedPolicy.diagonal,
    figures: Annotated[
        Path | None, typer.Option(help="Folder to draw figures into, as SVG and PNG; contours, never images.")
    ] = None,
    runs: RunsFolder = RUNS,
    out: Annotated[
        Path | None, typer.Option(help="File to write instead of the screen; html: folder of the page.")
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    cache: CacheFolder = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="html: contours alone, without the images of patients or phantoms.")
    ] = False,
) -> None:
    """Tables 1 and 2 of the paper for finished trials, with intervals over seeds and cases."""
    from usfm_bench.suites.plan import suite_name

    suites = list(dict.fromkeys(map(suite_name, suite)))
    if form is Format.html:
        _page(suites, profile, missed, runs, out, None if no_images else data_root)
        return
    from usfm_bench.core.files import write_text
    from usfm_bench.reporting import render
    from usfm_bench.reporting.readable import ReadableStore

    store = ReadableStore(runs)
    reports = [store.report(name, profile, missed.value) for name in suites]
    text = render(reports, form.value)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(f"Wrote {out}", err=True)
    if figures is not None:
        _draw(reports, store, figures)


def _draw(reports: list[Report], store: Store, folder: Path) -> None:
    """Figures of each suite, in a folder of its own where there are several."""
    from usfm_bench.core.file_names import encode_name
    from usfm_bench.reporting.figures import draw_all, write_figures

    for report in reports:
        place = folder / encode_name(report.suite) if len(reports) > 1 else folder
        written = write_figures(place, draw_all(report, store))
        typer.echo(f"Wrote {len(written)} figures to {place}", err=True)


def _page(
    suites: list[str], profile: str | None, missed: MissedPolicy, runs: Path, out: Path | None, data_root: Path | None
) -> None:
    from usfm_bench.reporting.html import write_html

    if out is None:
        raise BenchError("--format html writes a page into a folder; name it with --out DIR.")
    page = write_html(runs, suites, out, profile=profile, missed=missed.value, data_root=data_root)
    typer.echo(f"Wrote {page}", err=True)
