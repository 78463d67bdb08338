"""The page: one file that needs no other, and that nothing a user named can run in."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from usfm_bench import __version__
from usfm_bench.core.files import check_writable, write_text
from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.figures.group import groups_of
from usfm_bench.reporting.figures.style import PAGE
from usfm_bench.reporting.readable import ReadableStore
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import ALL, Section, kinds, sections
from usfm_bench.reporting.writers.html.cases import Browser, browser_of
from usfm_bench.reporting.writers.html.hard import hard_lists
from usfm_bench.reporting.writers.html.plots import Plot, plot_of, plots_of
from usfm_bench.reporting.writers.html.provenance import Source, sources_of
from usfm_bench.reporting.writers.html.tables import Table, table_of
from usfm_bench.results.store import Store

_HERE = Path(__file__).parent
Links = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Part:
    """What stands under one heading of the page."""

    ident: str
    title: str
    tables: list[Table]
    lists: list[Section]
    """Notes alone."""
    diagrams: list[Plot]


@dataclass(frozen=True)
class Shown:
    """One report."""

    ident: str
    suite: str
    profile: str
    top: list[Section]
    parts: list[Part]
    """The tables of the paper with what belongs to them, and then what every reader must know."""
    plots: list[Plot]
    browsers: list[Browser]
    sources: list[Source]
    method: Part


def write_html(
    runs: Path,
    suites: Sequence[str],
    out: Path,
    *,
    profile: str | None = None,
    missed: Missed = "diagonal",
    against: str | None = None,
    data_root: Path | None = None,
    extended: Callable[[Report], Report] = lambda report: report,
    workers: int = 1,
) -> Path:
    """Write one HTML file, which holds everything: it opens from disk and asks nothing of a network.

    Args:
        runs: folder of the results.
        suites: their names.
        out: the page, a name that ends in .html; of any other name, the folder whose index.html it becomes.
        profile: None: the only one that is there.
        missed: what a missed lesion's distances get.
        against: as of `build_report`.
        data_root: where the data lie, for the images of cases; None: contours alone.
        extended: adds to each report, such as `with_subgroups`.
        workers: as of `build_report`.

    Returns:
        The page.

    Raises:
        BenchError: nothing is finished, several profiles are and none is chosen, or the page cannot be written.
    """
    page = out if out.suffix.lower() in (".html", ".htm") and not out.is_dir() else out / "index.html"
    check_writable(page.parent)
    store = ReadableStore(runs)
    shown = []
    for i, suite in enumerate(suites):
        report = extended(store.report(suite, profile, missed, against, workers))
        shown.append(_shown(report, store, f"s{i}", data_root))
    write_text(page, _render(shown))
    return page


def _shown(report: Report, store: ReadableStore, ident: str, data_root: Path | None) -> Shown:
    sources = sources_of(report, store, ident)
    links = {(source.dataset, source.model): source.ident for source in sources}
    found = sections(report, [ALL])
    first = {kind.name for kind in kinds() if kind.shown}
    notes = [s for s in found if s.place == "end" and s.name in first]
    rest = [s for s in found if s.place == "end" and s.name not in first]
    return Shown(
        ident=ident,
        suite=report.suite,
        profile=report.profile,
        top=[s for s in found if s.place == "top"],
        parts=[*_tables(found, links, ident), _part(notes, links, f"{ident}-notes", "Notes")],
        plots=list(plots_of(report, store)),
        browsers=_browsers(report, store, ident, links, data_root),
        sources=sources,
        method=_part(rest, links, f"{ident}-method", "Definitions"),
    )


def _tables(found: Sequence[Section], links: Links, ident: str) -> Iterator[Part]:
    """One a table of the paper; the first of its sections gives the heading."""
    of_tables = [s for s in found if s.place == "table"]
    for i, table in enumerate(dict.fromkeys(s.table for s in of_tables)):
        own = [s for s in of_tables if s.table == table]
        yield _part(own, links, f"{ident}-table-{i}", own[0].full_title)


def _part(own: Sequence[Section], links: Links, ident: str, title: str) -> Part:
    return Part(
        ident,
        title,
        [
            table_of(s, f"{ident}-{_anchor(s, i)}", "" if s.full_title == title else s.title, links)
            for i, s in enumerate(own)
            if s.grid
        ],
        [s for s in own if not s.grid],
        [plot_of(s.title, "", s.figure()) for s in own if s.figure],
    )


def _anchor(section: Section, i: int) -> str:
    """The end of an element's id; names that users give may hold what an id must not."""
    ident = section.ident or "main"
    return ident if re.fullmatch(r"[A-Za-z0-9-]+", ident) else f"{section.name}-{i}"


def _browsers(report: Report, store: Store, ident: str, links: Links, data_root: Path | None) -> list[Browser]:
    browsers = []
    # By their first record: a group's results of repeats are averaged, and so other objects.
    corrupted = {id(r.first): found for r, found in zip(report.results, report.corrupted, strict=True)}
    for i, group in enumerate(groups_of(report, store, PAGE, None)):
        own = f"{ident}-cases-{i}"
        hard = tuple(hard_lists(group, own, [corrupted[id(r.first)] for r in group.results]))
        browsers.append(replace(browser_of(group, own, links, data_root), hard=hard))
    return browsers


def _render(shown: Sequence[Shown]) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    assets = {name: _asset(name) for name in ("page.css", "dataTables.min.js", "page.js")}
    browsers = [browser for each in shown for browser in each.browsers]
    return environment.get_template("page.html.j2").render(
        sections=shown,
        version=__version__,
        style=assets["page.css"],
        scripts=[assets["dataTables.min.js"], assets["page.js"]],
        policy=page_policy([assets["page.css"]], [assets["dataTables.min.js"], assets["page.js"]]),
        synthetic=_names([b for b in browsers if b.synthetic]),
        patients=_names([b for b in browsers if b.has_images and not b.synthetic]),
    )


def page_style() -> str:
    """The page's style, for pages of other writers."""
    return _asset("page.css")


def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")


def page_policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
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
