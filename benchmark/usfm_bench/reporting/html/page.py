"""The page: one file that needs no other, and that nothing a user named can run in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from usfm_bench import __version__
from usfm_bench.atomic import check_writable, write_text
from usfm_bench.metrics.definitions import known_definitions
from usfm_bench.metrics.measures import Missed
from usfm_bench.pipe_table import Grid, marked
from usfm_bench.reporting.decisions import DECISIONS
from usfm_bench.reporting.figures.group import groups_of
from usfm_bench.reporting.figures.style import PAGE
from usfm_bench.reporting.html.cases import Browser, browser_of
from usfm_bench.reporting.html.plots import Plot, diagram_of, plots_of
from usfm_bench.reporting.html.provenance import Source, sources_of
from usfm_bench.reporting.html.summary import Finding, Gap, findings, gaps, limits
from usfm_bench.reporting.html.tables import Table, table_of
from usfm_bench.reporting.markdown import AGAINST, TITLES, TableGrids, caption, table_grids
from usfm_bench.reporting.method import definitions_grid
from usfm_bench.reporting.prevalence_tables import prevalence_sections
from usfm_bench.reporting.readable import ReadableStore
from usfm_bench.reporting.report import LEAKS, Report, definitions_of, leaking
from usfm_bench.reporting.statistics import comparisons, ranked, ranking_title, spread_grid, spread_notes
from usfm_bench.results.store import Store

_HERE = Path(__file__).parent
_NOT_MEASURED = "no finished trial"
Links = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Block:
    """One table of the paper and what belongs to it."""

    ident: str
    title: str
    tables: list[Table]
    diagrams: list[Plot]


@dataclass(frozen=True)
class Section:
    """One report."""

    ident: str
    suite: str
    profile: str
    findings: list[Finding]
    limits: list[str]
    left_out: list[str]
    blocks: list[Block]
    plots: list[Plot]
    browsers: list[Browser]
    sources: list[Source]
    definitions: list[Table]
    notes: list[str]


def write_html(
    runs: Path,
    suites: Sequence[str],
    folder: Path,
    *,
    profile: str | None = None,
    missed: Missed = "diagonal",
    data_root: Path | None = None,
) -> Path:
    """Write `index.html`, which holds everything: it opens from disk and asks nothing of a network.

    Args:
        runs: folder of the results.
        suites: their names.
        folder: where the page is written.
        profile: None: the only one that is there.
        missed: what a missed lesion's distances get.
        data_root: where the data lie, for the images of cases; None: contours alone.

    Returns:
        The page.

    Raises:
        BenchError: nothing is finished, several profiles are and none is chosen, or the folder cannot be written.
    """
    check_writable(folder)
    store = ReadableStore(runs)
    sections = []
    for i, suite in enumerate(suites):
        report = store.report(suite, profile, missed)
        sections.append(_section(report, store, f"s{i}", data_root))
    page = folder / "index.html"
    write_text(page, _render(sections))
    return page


def _section(report: Report, store: ReadableStore, ident: str, data_root: Path | None) -> Section:
    sources = sources_of(report, store, ident)
    links = {(source.dataset, source.model): source.ident for source in sources}
    missing = gaps(report)
    lacking = [f"{gap.dataset}, {gap.model}: {_NOT_MEASURED}." for gap in missing]
    return Section(
        ident=ident,
        suite=report.suite,
        profile=report.profile,
        findings=findings(report),
        limits=limits(report),
        left_out=[*lacking, *report.notes],
        blocks=[
            _block(report, table, grids, links, [g for g in missing if g.table == table], f"{ident}-table-{i}")
            for i, (table, grids) in enumerate(table_grids(report))
        ],
        plots=list(plots_of(report, store)),
        browsers=_browsers(report, store, ident, links, data_root),
        sources=sources,
        definitions=list(_definitions(report, f"{ident}-definitions")),
        notes=caption(report)[: -len(report.notes) or None],
    )


def _block(
    report: Report, table: str | None, grids: TableGrids, links: Links, missing: Sequence[Gap], ident: str
) -> Block:
    means = "Mean [95 % interval] over seeds and cases, in the unit of the column."
    leaks = leaking(report)
    main = _with_gaps(grids.main, missing)
    tables = [table_of(main, f"{ident}-main", "", f"{means} Reported rows are as published.", links=links)]
    if grids.against:
        title = "Against the published values"
        tables.append(table_of(grids.against, f"{ident}-against", title, f"{AGAINST}.", links=links, folded=True))
    if grids.more:
        caption = f"Further metrics of the same predictions. {means}"
        tables.append(table_of(grids.more, f"{ident}-more", "Further metrics", caption, links=links, folded=True))
    if grids.classes:
        caption = f"One class against the rest. {means} Predicted as: cases, mean over seeds."
        tables.append(table_of(grids.classes, f"{ident}-classes", "By class", caption, links=links, folded=True))
    if grids.decisions:
        caption = f"Of the positive class. {means}"
        tables.append(table_of(grids.decisions, f"{ident}-decisions", DECISIONS, caption, links=links, folded=True))
    for i, section in enumerate(prevalence_sections(report, table)):
        ident_of, caption = f"{ident}-prevalence-{i}", f"One line a model and prevalence of the test cases. {means}"
        tables.append(table_of(section.grid, ident_of, section.title, caption, notes=section.notes, links=links))
    if compared := [c for c in report.comparisons if c.table == table]:
        grid, notes = comparisons(compared)
        caption = "Pairs of models, on the same cases."
        tables.append(table_of(marked(grid, leaks, LEAKS), f"{ident}-pairs", "Comparisons", caption, notes=notes))
    rankings = [each for each in report.rankings if each.table == table]
    for i, each in enumerate(rankings):
        grid, notes = ranked(each)
        grid = marked(grid, leaks, LEAKS)
        tables.append(table_of(grid, f"{ident}-rank-{i}", ranking_title(each), "1 is best.", notes=notes))
    if spread := [s for s in report.spreads if s.table == table]:
        title, caption = "Where the spread comes from", "What makes the intervals as wide as they are."
        grid, notes = marked(spread_grid(spread), leaks, LEAKS), spread_notes(spread)
        tables.append(table_of(grid, f"{ident}-spread", title, caption, notes=notes, links=links, folded=True))
    return Block(ident, TITLES[table], tables, [plot for each in rankings if (plot := diagram_of(each)) is not None])


def _with_gaps(grid: Grid, missing: Sequence[Gap]) -> Grid:
    lines = [[g.dataset, f"{g.model} ({_NOT_MEASURED})", *["n/a"] * (len(grid.header) - 2)] for g in missing]
    return Grid(grid.header, [*grid.body, *lines], (*grid.of, *[None] * len(lines)))


def _browsers(report: Report, store: Store, ident: str, links: Links, data_root: Path | None) -> list[Browser]:
    groups = enumerate(groups_of(report, store, PAGE, None))
    return [browser_of(group, f"{ident}-cases-{i}", links, data_root) for i, group in groups]


def _definitions(report: Report, ident: str) -> Iterator[Table]:
    """One table a task."""
    used = known_definitions(definitions_of(report.rows))
    caption = "What each metric is. A number is comparable with another only where the id is the same."
    for task in dict.fromkeys(d.task for d in used):
        grid = definitions_grid([d for d in used if d.task == task])
        yield table_of(grid, f"{ident}-{task}", task.capitalize(), caption, words=grid.header)


def _render(sections: Sequence[Section]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assets = {name: _asset(name) for name in ("page.css", "dataTables.min.js", "page.js")}
    browsers = [browser for section in sections for browser in section.browsers]
    return environment.get_template("page.html.j2").render(
        sections=sections,
        version=__version__,
        style=assets["page.css"],
        scripts=[assets["dataTables.min.js"], assets["page.js"]],
        policy=_policy([assets["page.css"]], [assets["dataTables.min.js"], assets["page.js"]]),
        synthetic=_names([b for b in browsers if b.synthetic]),
        patients=_names([b for b in browsers if b.has_images and not b.synthetic]),
    )


def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Only these styles and scripts, and images that are in the page; nothing is fetched, whatever is injected."""
    of_styles, of_scripts = (
        " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
        for texts in (styles, scripts)
    )
    return (
        f"default-src 'none'; script-src {of_scripts}; style-src {of_styles}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _names(browsers: Sequence[Browser]) -> list[str]:
    return list(dict.fromkeys(browser.dataset for browser in browsers))
