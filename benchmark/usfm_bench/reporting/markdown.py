"""Tables 1 and 2 in the paper's layout, as GitHub Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from usfm_bench.errors import SHOWN, capped
from usfm_bench.metrics.classification import PER_CLASS
from usfm_bench.pipe_table import Grid, bullet, escaped, marked, pipe_table
from usfm_bench.reporting.cells import NONE, cell, count, dataset_name, heading
from usfm_bench.reporting.decisions import DECISIONS, decision_grid, tuning_caption
from usfm_bench.reporting.prevalence_tables import prevalence_sections
from usfm_bench.reporting.published import Against, verdicts
from usfm_bench.reporting.report import LEAKS, Report, definitions_of, leaking
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.statistics import statistics_markdown
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.record import Record

# The paper's columns first, in its order; all other metrics have a table of their own below.
COLUMNS = {
    "segmentation": ("DSC", "HD95", "ACC", "SEN", "SPEC", "PREC", "F1"),
    "classification": ("ACC", "SEN", "PREC", "F1", "SPEC", "BACC"),
}
_WITH_SD = ("DSC", "HD95")
_COUNTS = ("n", "Missed", "False alarms")
_UNITS = {"fraction": "%", "score": ""}
TITLES = {
    "1": "Table 1. Comparison results on segmentation tasks.",
    "2": "Table 2. Comparison results on classification tasks.",
    None: "Further results.",
}

AGAINST = "Against the published values, which are of other test images of the same data set, and taken as fixed"


class TableGrids(NamedTuple):
    """One table of the paper."""

    main: Grid
    """The paper's columns, reported rows above measured ones."""
    against: Grid | None
    """Measured values beside published ones of the same data."""
    more: Grid | None
    """All other metrics of the measured rows."""
    classes: Grid | None
    """One class against the rest."""
    decisions: Grid | None
    """About the positive class, by thresholds that validation chose."""


def to_markdown(report: Report) -> str:
    """The report's tables and their captions."""
    parts = [f"# {report.suite}, profile {report.profile}", ""]
    for table, grids in table_grids(report):
        parts += [f"**{TITLES[table]}**", "", *_lines(grids.main), ""]
        if grids.against:
            parts += [f"{AGAINST}:", "", *_lines(grids.against), ""]
        if grids.more:
            parts += ["More metrics of the same predictions:", "", *_lines(grids.more), ""]
        if grids.classes:
            parts += ["By class, one against the rest:", "", *_lines(grids.classes), ""]
        if grids.decisions:
            parts += [f"{DECISIONS}:", "", *_lines(grids.decisions), ""]
        for section in prevalence_sections(report, table):
            notes = [bullet(note) for note in section.notes]
            parts += [f"{escaped(section.title)}:", "", *_lines(section.grid), "", *notes, ""]
        parts += statistics_markdown(report, table)
    return "\n".join([*parts, *map(bullet, caption(report, SHOWN)), ""])


def table_grids(report: Report) -> Iterator[tuple[str | None, TableGrids]]:
    """The paper's tables that the report has rows of."""
    for table, rows in groupby(report.rows, key=lambda row: row.table):
        whole = list(rows)
        main = [row for row in whole if row.label is None]
        task = "segmentation" if any(row.metric == "DSC" for row in main) else "classification"
        measured = {(row.metric, row.unit): None for row in main if row.source == "measured"}
        first = [(metric, unit) for metric, unit in measured if metric in COLUMNS[task] and unit != "mm"]
        more = [column for column in measured if column not in first]
        known = [row for row in main if row.source == "measured"]
        results = [r for r in report.results if r.first.spec.table == table]
        grids = TableGrids(
            _main_grid(main, first),
            _against_grid([a for a in report.against if a.table == table]),
            _main_grid(known, more) if more else None,
            _class_grid(whole, results) if any(row.label for row in whole) else None,
            decision_grid(whole, results),
        )
        leaks = leaking(report)
        others = (grid and marked(grid, leaks, LEAKS) for grid in grids[1:])
        yield table, TableGrids(marked(grids.main, leaks, LEAKS), *others)


def _main_grid(rows: Sequence[Row], columns: Sequence[tuple[str, str | None]]) -> Grid:
    """One line a model; behind the distances stand the cases they are over, missed lesions and false alarms."""
    header = ["Dataset", "Model"]
    judged = any(row.arithmetic for row in rows)
    distances = [unit in ("px", "mm") for _, unit in columns]
    ends = {i for i, is_distance in enumerate(distances) if is_distance and not any(distances[i + 1 : i + 2])}
    for i, (name, unit) in enumerate(columns):
        header += [heading(name, unit), *([f"{name} sd"] if name in _WITH_SD and unit != "mm" else ())]
        header += _COUNTS if i in ends else ()
    body, of = [], []
    for (dataset, model, source), cells in groupby(rows, key=lambda row: (row.dataset, row.model, row.source)):
        line_rows = list(cells)
        first = line_rows[0]
        by_column = {(row.metric, row.unit): row for row in line_rows}
        line = [dataset_name(dataset, first), f"{model} (reported)" if source == "reported" else model]
        for i, column in enumerate(columns):
            # The published HD95 comes without a unit.
            row = by_column.get(column) or by_column.get((column[0], None))
            line += [cell(row) if row else ""]
            line += [_sd(row)] if column[0] in _WITH_SD and column[1] != "mm" else []
            line += _counts(row) if i in ends else []
        body.append([*line, count(first.n_seeds), count(first.n_cases), *([first.arithmetic or ""] if judged else ())])
        of.append((dataset, model) if source == "measured" else None)
    return Grid([*header, "Seeds", "Cases", *(["Arithmetic"] if judged else ())], body, tuple(of))


def _sd(row: Row | None) -> str:
    if row is None or row.sd_cases is None:
        return ""
    return f"{row.sd_cases * (100 if row.unit == 'fraction' else 1):.1f}"


def _against_grid(against: Sequence[Against]) -> Grid | None:
    """One line a metric; metrics that cannot be compared for one reason share a line."""
    header = ["Dataset", "Model", "Published row", "Metric", "Published", "Measured", "Difference [95 %]"]
    lines: dict[tuple[str, ...], list[Against]] = {}
    for a in against:
        own = a.not_comparable or a.metric
        lines.setdefault((a.dataset, a.model, a.published_model, own), []).append(a)
    body = [
        [
            *(first.dataset, first.model, first.published_model, ", ".join(a.metric for a in same)),
            ", ".join(a.published for a in same),
            cell(first.measured) if first.measured else "",
            f"not comparable: {first.not_comparable}" if first.difference is None else _difference(first),
        ]
        for first, *rest in lines.values()
        for same in [[first, *rest]]
    ]
    return Grid(header, body, tuple((line[0], line[1]) for line in body)) if body else None


def _difference(a: Against) -> str:
    ends = NONE if a.ci_low is None or a.ci_high is None else f"{100 * a.ci_low:+.1f}, {100 * a.ci_high:+.1f}"
    return f"{100 * (a.difference or 0):+.1f} [{ends}] points"


def _counts(row: Row | None) -> list[str]:
    if row is None or row.source == "reported":
        return ["", "", ""]
    return [count(row.n_cases), count(row.n_missed), NONE if row.n_false_alarms is None else str(row.n_false_alarms)]


def to_list(rows: Sequence[Row], places: Sequence[str] = ()) -> str:
    """One line a number, with its definition: for definitions that the tables of a report do not show.

    `places`: suite and profile of each row, where they differ.
    """
    header = ["Suite"] * bool(places) + ["Dataset", "Model", "Definition", "Class", "Value", "Unit", "Seeds", *_COUNTS]
    body = [
        [
            *(dataset_name(row.dataset, row), row.model, row.definition or "", row.label or "", cell(row)),
            *(_UNITS.get(row.unit or "", row.unit or ""), count(row.n_seeds)),
            *(_counts(row) if row.n_missed is not None else [count(row.n_cases), "", ""]),
        ]
        for row in rows
    ]
    body = [[place, *line] for place, line in zip(places, body, strict=True)] if places else body
    notes = ["Mean [95 % interval] over seeds and cases; n: cases that the mean is over (docs/method.md)."]
    if repositories := sorted({row.emulates for row in rows if row.emulates}):
        notes.append(
            f"{', '.join(repositories)}: emulated, what that repository's code would print for these predictions, "
            "faults included; for comparison with its published numbers only."
        )
    return "\n".join([*_lines(Grid(header, body)), "", *map(bullet, notes), ""])


def _class_grid(rows: Sequence[Row], results: Sequence[ModelResults]) -> Grid:
    confusion = {(r.first.spec.dataset.name, r.first.spec.model): _mean_confusion(r) for r in results}
    classes = [row for row in rows if row.label is not None and row.metric in PER_CLASS]
    names = list(dict.fromkeys(row.metric for row in classes))
    header = ["Dataset", "Model", "Class", "Cases", *(heading(name, "fraction") for name in names), "Predicted as"]
    body, of = [], []
    for (dataset, model, label), cells in groupby(classes, key=lambda row: (row.dataset, row.model, str(row.label))):
        by_metric = {row.metric: row for row in cells}
        first = next(iter(by_metric.values()))
        figures = [cell(by_metric[name]) for name in names]
        said = ", ".join(f"{n:.1f} {name}" for name, n in confusion[dataset, model][label].items())
        body.append([dataset_name(dataset, first), model, label, count(first.n_cases), *figures, said])
        of.append((dataset, model))
    return Grid(header, body, tuple(of))


def _mean_confusion(results: ModelResults) -> dict[str, dict[str, float]]:
    """Class -> predicted class -> number of test cases, mean over seeds."""
    classes = results.first.classes
    predicted, labels = results.probabilities.argmax(axis=2), results.case_table["label"].to_numpy()
    return {
        name: {other: float((predicted[:, labels == k] == j).sum(axis=1).mean()) for j, other in enumerate(classes)}
        for k, name in enumerate(classes)
    }


LEFT = frozenset(
    {
        "Suite",
        "Dataset",
        "Model",
        "Published row",
        "Metric",
        "Difference [95 %]",
        "Arithmetic",
        "Class",
        "Threshold for",
        "Predicted as",
        "Definition",
        "Unit",
    }
)
"""Columns of words."""


def _lines(grid: Grid) -> list[str]:
    return pipe_table(grid.header, grid.body, left=LEFT)


def caption(report: Report, most: int | None = None) -> list[str]:
    """What a reader must know of the numbers; `most`: so many of the report's notes, and how many more there are."""
    specs = [r.first.spec for r in report.results]
    seeds = sorted({len(r.seeds) for r in report.results})
    lines = [
        f"Measured with profile {report.profile}, {seeds_in_words(seeds)} a model; mean [95 % interval] for training "
        "seeds and test cases drawn anew, given this training split. Means over cases (all of segmentation; ACC and "
        "BRIER of classification): crossed variance components. All other metrics of classification: grouped "
        "jackknife, and of rates score ends. Groups of near-duplicates or patients are kept together. [n/a]: there is "
        "no interval, as with one case or group, or a mean without spread.",
    ]
    if seeds[0] == 1:
        lines.append(
            "Where there is one seed, the interval holds the spread over cases alone; of proportions (ACC of "
            "classification; SEN, SPEC, PREC of a class) it is Wilson's."
        )
    if any(spec.split.folds > 1 for spec in specs):
        lines.append(
            "Over folds, cases differ between folds and seeds vary within; training sets overlap, which no interval "
            "holds: they are approximate."
        )
    if any(spec.task == "segmentation" for spec in specs):
        lines.append(
            "Segmentation: mean over images with a lesion, at native size. A missed lesion has DSC 0; its distances "
            + ("are the image diagonal" if report.missed == "diagonal" else "are left out, in all seeds, and n says so")
            + ". n: cases that the distances before it are over. Missed and false alarms are counted over all seeds; "
            "n/a: no image is without a lesion."
        )
    if any(row.standing == "tied" for row in report.rows):
        lines.append(
            "best: the best mean on a data set; tied: may be the best as well (each paired with the others, Bonferroni "
            "over the table, 5 %). Judged by "
            + ", ".join(dict.fromkeys(row.metric for row in report.rows if row.standing))
            + "."
        )
    lines += tuning_caption(report.rows)
    if any(row.metric in _WITH_SD and row.sd_cases is not None for row in report.rows):
        lines.append("sd: standard deviation over cases of the mean over seeds, in the unit of the column before it.")
    lines.append(
        "Definitions: " + ", ".join(f"{name} {ident}" for ident, name in definitions_of(report.rows).items()) + "."
    )
    if any(row.source == "reported" for row in report.rows):
        lines.append(
            "Reported rows are printed as published; they do not say what their ± is, and their HD95 is not this "
            "table's: that code computes no Hausdorff distance between borders (docs/method.md). Sources: "
            + "; ".join(dict.fromkeys(f"{row.citation}" for row in report.rows if row.citation))
            + "."
        )
        lines += _impossible(report)
    leaks = {row.dataset: f"{row.n_leaked} of {row.dataset}'s test cases" for row in report.rows if row.n_leaked}
    if leaks:
        lines.append(
            f"{LEAKS}: the split that the data set brings along has patients or near-duplicates on two sides: "
            f"{', '.join(leaks.values())} have a twin in training or validation. Scores on it are too good."
        )
    versions = {
        f"{s.dataset.name} v{s.dataset.version}, {r.first.data_hash[:8]}": None
        for s, r in zip(specs, report.results, strict=True)
    }
    lines.append("Data: " + "; ".join(versions) + ".")
    if synthetic := sorted({spec.dataset.name for spec in specs if spec.dataset.synthetic}):
        lines.append(f"Synthetic, simulated images and not patients: {', '.join(synthetic)}.")
    if devices := sorted({device_of(record) for r in report.results for record in r.records if record.environment}):
        lines.append(f"Device: {'; '.join(devices)}.")
    lines.append(_seen(report))
    return [*lines, *capped(report.notes, most or len(report.notes), hint="; --format json has all")]


def _impossible(report: Report) -> list[str]:
    """The proofs against reported rows that the report shows."""
    shown = {(row.table, row.dataset, row.model) for row in report.rows if row.source == "reported"}
    return [
        f"Table {v.claim.table}, {v.claim.dataset}, {v.claim.model} (reported) is arithmetically impossible: "
        f"{next(iter(v.proofs))} `usfm-bench claims` has every reading and what would rescue it."
        for v in verdicts()
        if v.verdict == "impossible" and (v.claim.table, v.claim.dataset, v.claim.model) in shown
    ]


def device_of(record: Record) -> str:
    """Device, precision and threads of a trial."""
    environment = record.environment
    threads = f", {environment['threads']} threads" if environment.get("threads") else ""
    return f"{environment.get('device')}, {environment.get('precision')}{threads}"


def _seen(report: Report) -> str:
    kinds: dict[bool | None, dict[str, None]] = {}
    for r in report.results:
        kinds.setdefault(r.first.seen_in_pretraining, {})[r.first.spec.model] = None
    words = {False: "no", True: "YES", None: "unknown"}
    return (
        "Test images seen in pre-training: "
        + "; ".join(f"{words[seen]} for {', '.join(names)}" for seen, names in kinds.items())
        + "."
    )


def seeds_in_words(seeds: Sequence[int]) -> str:
    """`1 seed`, `3 seeds`, `1 to 3 seeds` of ascending numbers."""
    return f"{seeds[0]} seed{'s' * (seeds[0] != 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
