"""A board as a site: pages that hold all they need, open from disk, and in which nothing that a user named can run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from usfm_bench import __version__
from usfm_bench.board.entries import COMPARED, Line, Table, read_board
from usfm_bench.board.published import claimed_rows
from usfm_bench.core.csv_cells import guarded_frame
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import check_writable, write_atomic, write_text
from usfm_bench.core.words import duration, p_value, quantity, with_interval
from usfm_bench.reporting.comparisons import Compared
from usfm_bench.reporting.sections.cells import cell
from usfm_bench.reporting.writers.html.page import page_policy, page_style
from usfm_bench.specs.seen import VERDICTS
from usfm_bench.suites.plan import known_suite

_HERE = Path(__file__).parent
TIERS = {
    "re-run": "somebody else trained it again, and the gate finds it no worse",
    "re-scored": "every prediction was scored again, on the suite's own test cases and references",
    "claimed": "a published number, or a submission that nobody has verified yet",
}


def build_site(board: Path, out: Path) -> tuple[Path, list[str]]:
    """Write the site.

    Args:
        board: folder of submissions.
        out: folder of the site; pages of an earlier one are overwritten.

    Returns:
        Its first page; and which submissions were left out, in words.

    Raises:
        BenchError: the board is no folder or has nothing to show, or the site cannot be written.
    """
    tables, notes = read_board(board)
    claimed = claimed_rows(board)
    if not tables and not claimed:
        raise BenchError("\n".join([f"'{board}' has no submission to show.", *notes]))
    check_writable(out)
    lines = [line for table in tables for line in table.lines]
    write = _Writer(out)
    write.page("index.html", "index", "Leaderboard", tables=tables, claimed=claimed, tiers=TIERS, notes=notes)
    for suite in dict.fromkeys(t.suite for t in tables):
        own, plan = [t for t in tables if t.suite == suite], known_suite(suite)
        write.page(
            suite_page(suite),
            "suite",
            suite,
            suite=suite,
            title_of=plan.title if plan else "",
            tables=own,
            claimed=[c for t in own for c in claimed if c.stands_beside(t.lines[0].results.first.spec)],
            compared=COMPARED,
            script=True,
        )
    for model in dict.fromkeys(line.submission.model for line in lines):
        own_lines = [line for line in lines if line.submission.model == model]
        write.page(model_page(model), "model", model, model=model, lines=own_lines)
    for name in dict.fromkeys(t.dataset for t in tables):
        first = next(t for t in tables if t.dataset == name).lines[0]
        of = [t for t in tables if t.dataset == name]
        write.page(
            data_page(name), "data", name, spec=first.results.first.spec.dataset, record=first.results.first, tables=of
        )
    _downloads(out, tables)
    return out / "index.html", notes


class _Writer:
    """Pages from templates; what they share."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.style = page_style() + (_HERE / "assets" / "board.css").read_text(encoding="utf-8")
        self.script = (_HERE / "assets" / "board.js").read_text(encoding="utf-8")
        self.environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.globals.update(
            suite_page=suite_page, model_page=model_page, data_page=data_page, cell=cell, shown=shown, order=order,
            pairs_of=pairs_of, anchor=anchor, duration=duration, quantity=quantity, version=__version__, seen=seen,
            device=device, verdicts=VERDICTS,
        )  # fmt: skip

    def page(self, name: str, template: str, title: str, *, script: bool = False, **content: Any) -> None:
        scripts = [self.script] if script else []
        text = self.environment.get_template(f"{template}.html.j2").render(
            title=title,
            style=self.style,
            scripts=scripts,
            policy=page_policy([self.style], scripts),
            **content,
        )
        write_text(self.out / name, text)


def _slug(kind: str, name: str) -> str:
    """A file's name that is the same in a URL: readable, and unlike that of any other name."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{kind}-{plain}-{digest}.html"


def suite_page(name: str) -> str:
    """File of a suite's page."""
    return _slug("suite", name)


def model_page(name: str) -> str:
    """File of a model's page."""
    return _slug("model", name)


def data_page(name: str) -> str:
    """File of a data set's page."""
    return _slug("data", name)


def anchor(*names: str) -> str:
    """An element's id, which a link can keep."""
    return "row-" + hashlib.sha256("\n".join(names).encode(errors="surrogatepass")).hexdigest()[:10]


def order(line: Line, metric: str) -> str:
    """What a cell is sorted by; empty where there is no figure."""
    row = next((r for r in line.rows if r.metric == metric), None)
    return "" if row is None or row.mean is None else repr(row.mean)


def shown(pair: Compared) -> str:
    """A difference with its interval."""
    return with_interval(pair.difference, pair.ci_low, pair.ci_high, pair.unit, signed=True)


def pairs_of(table: Table) -> list[dict[str, Any]]:
    """For the page's script: models by their place in the table, numbers as text."""
    place = {line.label: i for i, line in enumerate(table.lines)}
    return [
        {
            "a": place[p.a],
            "b": place[p.b],
            "metric": p.metric,
            "difference": shown(p) if p.difference is not None else p.reason,
            "unit": "points" if p.unit == "fraction" else p.unit,
            "p": p_value(p.p_value),
            "holm": p_value(p.p_holm),
            "apart": p.p_holm is not None and p.p_holm <= 0.05,
            "family": p.family,
            "n": f"{p.n_seeds} seeds, {p.n_cases} cases or groups",
        }
        for p in table.pairs
    ]


def seen(line: Line) -> tuple[str, str]:
    """Whether the weights saw the data set, and why."""
    found = line.submission.contamination.get(line.results.first.spec.dataset.name)
    return (found.verdict, found.why) if found else ("unknown", "")


def device(line: Line) -> str:
    """What it ran on."""
    about = line.results.first.environment
    return str(about.get("device") or about.get("gpu") or "not recorded")


def _downloads(out: Path, tables: Sequence[Table]) -> None:
    """Everything as CSV and Parquet; numbers as fractions."""
    rows = [_flat(line, row, table.suite) for table in tables for line in table.lines for row in line.rows]
    pairs = [{"suite": table.suite, **asdict(pair)} for table in tables for pair in table.pairs]
    for name, content in (("board", rows), ("pairs", pairs)):
        frame = pd.DataFrame(content)
        write_atomic(out / f"{name}.csv", partial(_write_csv, frame))
        write_atomic(out / f"{name}.parquet", partial(frame.to_parquet, index=False))


def _write_csv(frame: pd.DataFrame, stream: IO[bytes]) -> None:
    guarded_frame(frame).to_csv(stream, index=False)


def _flat(line: Line, row: Any, suite: str) -> dict[str, Any]:
    record, submission = line.results.first, line.submission
    return {
        "suite": suite,
        "model": submission.model,
        "profile": submission.profile,
        "revision": submission.revision,
        "tier": line.tier,
        "group": line.letters.get(row.metric, ""),
        **{k: v for k, v in asdict(row).items() if k not in {"model", "source", "printed", "arithmetic", "standing"}},
        "task": record.spec.task,
        "organ": record.spec.dataset.organ,
        "adaptation": submission.adaptation,
        "contamination": seen(line)[0],
        "licence": submission.licence,
        "parameters": record.cost.parameters,
        "trained_parameters": record.cost.trained_parameters,
        "wall_s": line.wall_s,
        "device": device(line),
        "created": submission.created,
        "contact": submission.contact,
        "digest": submission.digest,
    }
