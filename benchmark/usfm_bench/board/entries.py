"""What a board shows: every submission's rows with their intervals, groups that are not told apart, and the pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TypeVar

import numpy as np

from usfm_bench.board.guard import content_faults, folder_faults, list_faults
from usfm_bench.board.submission import Submission, find_submissions, read_submission, store_of
from usfm_bench.board.verdicts import Verdict, read_verdicts
from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.definitions import known_definitions
from usfm_bench.reporting.comparisons import Compared, compare_models, groups_not_told_apart
from usfm_bench.reporting.rows import Row, case_row, set_rows
from usfm_bench.results.frames import ModelResults, load_results
from usfm_bench.stats.contributions import Contributions
from usfm_bench.stats.headline import Headline, Unit, headlines

COMPARED = 40
"""Rows of one table, by the first metric, of which all pairs are tested; each further one is paired with the first."""
_PROCESSES = 2
_FEW = 8  # submissions that one process reads sooner than two start


Kept = tuple[str, Contributions | None, tuple[Unit, ...]]
"""Id of the definition, which itself does not travel between processes; contributions; and of what they are."""


@dataclass
class Line:
    """One submission on one data set."""

    submission: Submission
    results: ModelResults
    rows: list[Row]
    """Of the headline metrics, in their order."""
    kept: list[Kept]
    """Of each headline metric, what pairs are tested by."""
    tier: str
    checked: str
    """When and how it was verified."""
    label: str = ""
    """The model, with its profile where the table has several."""
    letters: dict[str, str] = field(default_factory=dict)
    """Metric -> groups that it is in."""

    @property
    def headlines(self) -> list[Headline]:
        """As comparisons take them."""
        return [Headline(self.results, known_definitions([ident])[0], of, units) for ident, of, units in self.kept]

    @property
    def wall_s(self) -> float:
        """Median over trials."""
        return median(record.cost.wall_s for record in self.results.records)


@dataclass(frozen=True)
class Table:
    """All that was submitted to one suite on one data set, the best first."""

    suite: str
    lines: list[Line]
    pairs: list[Compared]

    @property
    def dataset(self) -> str:
        """Its name."""
        return self.lines[0].results.first.spec.dataset.name


def read_board(board: Path) -> tuple[list[Table], list[str]]:
    """Tables of the newest revision of each model and profile; and what was left out, in words.

    Raises:
        BenchError: there is no such folder.
    """
    verdicts = read_verdicts(board)
    notes: list[str] = []
    newest: dict[tuple[str, str, str], tuple[Path, Submission]] = {}
    folders = find_submissions(board)
    for folder, found in zip(folders, _each(partial(_statement, known=frozenset(verdicts)), folders), strict=True):
        if isinstance(found, str):
            notes.append(found)
            continue
        key = (found.suite, found.model, found.profile)
        if key not in newest or newest[key][1].revision < found.revision:
            newest[key] = (folder, found)
    jobs = [(folder, submission, verdicts.get(submission.digest)) for folder, submission in newest.values()]
    tables: dict[tuple[str, str], list[Line]] = {}
    for read in _each(_lines, jobs):
        if isinstance(read, str):
            notes.append(read)
            continue
        for line in read:
            tables.setdefault((line.submission.suite, line.results.first.spec.dataset.name), []).append(line)
    return [_table(suite, lines) for (suite, _), lines in sorted(tables.items())], notes


A = TypeVar("A")
B = TypeVar("B")
Job = tuple[Path, Submission, Verdict | None]


def _each(work: Callable[[A], B], jobs: Sequence[A]) -> Iterator[B]:
    if len(jobs) < _FEW:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(_PROCESSES) as pool:
        yield from pool.map(work, jobs, chunksize=8)


def _statement(folder: Path, known: frozenset[str]) -> Submission | str:
    """Files as they were packed; those of a submission that nobody verified are looked into as well."""
    try:
        if faults := folder_faults(folder):
            return f"left out: {folder}: {faults[0]}"
        submission = read_submission(folder)
        faults = list_faults(submission, folder)
        if not faults and submission.digest not in known:
            faults = list(content_faults(folder))
        return f"left out: {folder}: {faults[0]}" if faults else submission
    except (BenchError, RecursionError) as error:
        return f"left out: {folder}: {str(error).splitlines()[0]}"


def _lines(job: Job) -> list[Line] | str:
    folder, submission, verdict = job
    try:
        found, _ = load_results(store_of(folder), submission.suite, submission.profile)
    except BenchError as error:
        return f"left out: {folder}: {str(error).splitlines()[0]}"
    return [_line(submission, verdict, results) for results in found]


def _line(submission: Submission, verdict: Verdict | None, results: ModelResults) -> Line:
    wanted = results.task.headline(results.first.spec.dataset)
    if results.task.per_case:
        rows = [case_row(results, d) for d in wanted if results.definitions.get(d.column) == d.id]
    else:
        rows = [row for d in wanted for row in set_rows(results, d)]
    slim = replace(results, cases=results.cases[["seed"]])  # what is left travels between processes
    found = [(h.definition.id, h.contributions, h.units) for h in headlines([results], "diagonal")]
    tier, checked = (verdict.tier, verdict.by) if verdict else ("claimed", "not verified yet")
    return Line(submission, slim, rows, found, tier, checked)


def _table(suite: str, lines: list[Line]) -> Table:
    several = len({line.submission.profile for line in lines}) > 1
    for line in lines:
        line.label = line.submission.model + (f" ({line.submission.profile})" if several else "")
        line.results = _called(line.results, line.label)
    lines = sorted(lines, key=_worth, reverse=True)
    pairs = compare_models([h for line in lines[:COMPARED] for h in line.headlines])
    groups = groups_not_told_apart(pairs)
    for line in lines[:COMPARED]:
        for row in line.rows:
            line.letters[row.metric] = groups.get((row.dataset, row.metric), {}).get(line.label, "")
    first = lines[0].headlines
    for line in lines[COMPARED:]:
        pairs += compare_models([*first, *line.headlines])
    if len(lines) == 2 and pairs:  # two have no letters of their own
        for line in lines:
            for row in line.rows:
                line.letters[row.metric] = _of_two(line, row, pairs)
    return Table(suite, lines, pairs)


def _of_two(line: Line, row: Row, pairs: Sequence[Compared]) -> str:
    pair = next((p for p in pairs if p.metric == row.metric), None)
    if pair is None or pair.p_holm is None:
        return ""
    return "B" if pair.p_holm <= 0.05 and pair.b == line.label else "A"


def _worth(line: Line) -> float:
    if not line.rows or line.rows[0].mean is None:
        return -np.inf
    better = known_definitions([line.rows[0].definition or ""])[0].higher_is_better
    return line.rows[0].mean if better else -line.rows[0].mean


def _called(results: ModelResults, label: str) -> ModelResults:
    """The same under the name that the table has for it."""
    first = results.records[0]
    named = first.model_copy(update={"spec": first.spec.model_copy(update={"model": label})})
    return replace(results, records=(named, *results.records[1:]))
