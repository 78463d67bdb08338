"""`usfm-bench report`: tables of finished trials."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usfm_bench.cli.options import DATA_ROOT, RUNS, AnyRuns, CacheFolder, DataRoot, RegistryFile, split_names
from usfm_bench.core.errors import BenchError

if TYPE_CHECKING:
    from usfm_bench.reporting import Report
    from usfm_bench.results.store import Store

EXAMPLES = (
    "Examples: `usfm-bench report --suite demo` · `usfm-bench report --suite demo --sections comparisons,costs` · "
    "`usfm-bench report --suite busi-seg --suite busi-cls "
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
        Format | None,
        typer.Option(
            "--format",
            help="markdown, latex and html, a page to browse, show percent; json and csv hold fractions. Without: "
            "tables that fit a terminal, and Markdown in a pipe or a file.",
        ),
    ] = None,
    sections: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Of the terminal, Markdown and LaTeX: sections to show, or `all`. Without: a summary, Tables 1 and 2, "
            "and the notes that change how they are read. json, csv and html have everything.",
        ),
    ] = None,
    missed: Annotated[
        MissedPolicy,
        typer.Option(help="Distances of a missed lesion: the image diagonal, or left out and counted."),
    ] = MissedPolicy.diagonal,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Compare every model with this one alone, chosen beforehand; Holm is then over fewer comparisons. "
            "Without: every pair.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN,...",
            help="Subgroups: `size` (of lesions, in fifths), `class`, or columns of the data set's own table, such as "
            "BIRADS,Device, which is looked for under --data-root.",
        ),
    ] = None,
    prevalence: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Prevalence, such as 0.02, for which predictive values on other data sets are given beside those of "
            "their own; 0.1 when not given.",
        ),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder to draw figures into, as SVG and PNG; contours, never images.")
    ] = None,
    runs: AnyRuns = RUNS,
    out: Annotated[
        Path | None, typer.Option(help="File to write instead of the screen; html: or the folder of its index.html.")
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    cache: CacheFolder = None,
    registry: RegistryFile = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="html: contours alone, without the images of patients or phantoms.")
    ] = False,
) -> None:
    """Tables 1 and 2 of the paper for finished trials, with intervals over seeds and cases."""
    from usfm_bench.suites.plan import suite_name

    suites = list(dict.fromkeys(map(suite_name, suite)))
    names = _names(sections, form)
    further = _subgroups(by, data_root, registry), _stated(prevalence)

    def extended(report: Report) -> Report:
        for extend in further:
            report = extend(report)
        return report

    if form is Format.html:
        _page(suites, profile, missed, against, runs, out, None if no_images else data_root, extended)
        return
    from usfm_bench.core.cores import available_cores
    from usfm_bench.core.files import write_text
    from usfm_bench.reporting import render
    from usfm_bench.reporting.readable import ReadableStore

    store = ReadableStore(runs)
    reports = [extended(store.report(name, profile, missed.value, against, available_cores())) for name in suites]
    if form is None and out is None and sys.stdout.isatty():
        _show(reports, names)
    elif out is None:
        typer.echo(render(reports, (form or Format.markdown).value, names), nl=False)
    else:
        write_text(out, render(reports, (form or Format.markdown).value, names))
        typer.echo(f"Wrote {out}", err=True)
    if figures is not None:
        _draw(reports, store, figures)


def _subgroups(by: str | None, data_root: Path, registry: Path | None) -> Callable[[Report], Report]:
    """What adds the subgroups that were asked for to a report."""
    columns = list(dict.fromkeys(split_names(by)))
    if by is not None and not columns:
        raise BenchError("--by names no column. `--by size,class` shows lesions by size, and classes.")
    if not columns:
        return lambda report: report
    from usfm_bench.reporting.subgroups import with_subgroups
    from usfm_bench.specs.dataset import load_registry

    known = load_registry(registry)
    return lambda report: with_subgroups(report, columns, known, data_root)


def _stated(prevalence: float | None) -> Callable[[Report], Report]:
    """What gives predictive values at another prevalence."""
    if prevalence is None:
        return lambda report: report
    if not 0 < prevalence < 1:
        raise BenchError(f"--prevalence is {prevalence}; expected a share of positive cases above 0 and below 1.")

    def stated(report: Report) -> Report:
        from dataclasses import replace

        import numpy as np

        from usfm_bench.reporting.travel import travel_of

        return replace(report, travel=travel_of(report.results, report.targets, np.random.default_rng(0), prevalence))

    return stated


def _names(sections: str | None, form: Format | None) -> list[str]:
    """The sections that were asked for; an unknown one is told before anything is computed."""
    if sections is None:
        return []
    if form in (Format.json, Format.csv, Format.html):
        raise BenchError(f"--sections does not go with --format {form.value}, which has everything.")
    from usfm_bench.reporting.sections.base import check_names

    names = [name.strip() for name in sections.split(",") if name.strip()]
    if not names:
        raise BenchError("--sections names none. `--sections all` shows every section.")
    check_names(names)
    return names


def _show(reports: list[Report], names: list[str]) -> None:
    from usfm_bench.cli.output import stdout_console
    from usfm_bench.reporting.writers.terminal import draw

    console = stdout_console()
    for report in reports:
        draw(report, console, names)


def _draw(reports: list[Report], store: Store, folder: Path) -> None:
    """Figures of each suite, in a folder of its own where there are several."""
    from usfm_bench.core.file_names import encode_name
    from usfm_bench.reporting.figures import draw_all, write_figures

    for report in reports:
        place = folder / encode_name(report.suite) if len(reports) > 1 else folder
        written = write_figures(place, draw_all(report, store))
        typer.echo(f"Wrote {len(written)} figures to {place}", err=True)


def _page(
    suites: list[str],
    profile: str | None,
    missed: MissedPolicy,
    against: str | None,
    runs: Path,
    out: Path | None,
    data_root: Path | None,
    extended: Callable[[Report], Report],
) -> None:
    from usfm_bench.core.cores import available_cores
    from usfm_bench.reporting.writers.html import write_html

    if out is None:
        raise BenchError("--format html writes a page; name it with --out page.html, or its folder with --out DIR.")
    page = write_html(
        *(runs, suites, out),
        profile=profile,
        missed=missed.value,
        against=against,
        data_root=data_root,
        extended=extended,
        workers=available_cores(),
    )
    typer.echo(f"Wrote {page}", err=True)
