"""Tables 1 and 2 in the paper's layout, as GitHub Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from usfm_bench.reporting.report import Report, definitions_of
from usfm_bench.reporting.rows import Row
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.record import Record
from usfm_bench.scoring import PROBABILITY

# The paper's columns first, in its order.
COLUMNS = {
    "segmentation": ("DSC", "HD95", "ACC", "SEN", "SPEC", "PREC", "F1", "IOU"),
    "classification": ("ACC", "SEN", "PREC", "F1", "SPEC", "BACC", "AUROC"),
}
_TITLES = {
    "1": "Table 1. Comparison results on segmentation tasks.",
    "2": "Table 2. Comparison results on classification tasks.",
    None: "Further results.",
}
_NONE = "n/a"


def to_markdown(report: Report) -> str:
    """The report's tables and their captions."""
    parts = [f"# {report.suite}, profile {report.profile}", ""]
    for table, rows in groupby(report.rows, key=lambda row: row.table):
        whole = list(rows)
        parts += [f"**{_TITLES[table]}**", "", *_main_table(whole), ""]
        if any(row.label for row in whole):
            results = [r for r in report.results if r.first.spec.table == table]
            parts += ["By class, one against the rest:", "", *_class_table(whole, results), ""]
    return "\n".join([*parts, *(f"- {_escaped(line)}" for line in caption(report)), ""])


def _main_table(rows: Sequence[Row]) -> list[str]:
    rows = [row for row in rows if row.label is None]
    measured = [row for row in rows if row.source == "measured"]
    segments = any(row.metric == "DSC" for row in measured)
    columns = COLUMNS["segmentation" if segments else "classification"]
    alarms = any(row.n_false_alarms is not None for row in measured)
    units = {row.metric: row.unit for row in measured}
    header = ["Dataset", "Model", *(_heading(name, units.get(name)) for name in columns), "Seeds", "Cases"]
    header += ["Missed"] * segments + ["False alarms"] * alarms
    body = []
    for (dataset, model, source), cells in groupby(rows, key=lambda row: (row.dataset, row.model, row.source)):
        by_metric = {row.metric: row for row in cells}
        first = next(iter(by_metric.values()))
        line = [_dataset(dataset, first), f"{model} (reported)" if source == "reported" else model]
        line += [_cell(by_metric[name]) if name in by_metric else "" for name in columns]
        line += [_count(first.n_seeds), _count(first.n_cases)]
        line += [_count(first.n_missed)] * segments + [_count(first.n_false_alarms)] * alarms
        body.append(line)
    return _grid(header, body)


def _class_table(rows: Sequence[Row], results: Sequence[ModelResults]) -> list[str]:
    confusion = {(r.first.spec.dataset.name, r.first.spec.model): _mean_confusion(r) for r in results}
    classes = [row for row in rows if row.label is not None]
    names = list(dict.fromkeys(row.metric for row in classes))
    header = ["Dataset", "Model", "Class", "Cases", *(_heading(name, "fraction") for name in names), "Predicted as"]
    body = []
    for (dataset, model, label), cells in groupby(classes, key=lambda row: (row.dataset, row.model, str(row.label))):
        by_metric = {row.metric: row for row in cells}
        first = next(iter(by_metric.values()))
        figures = [_cell(by_metric[name]) for name in names]
        said = ", ".join(f"{n:.1f} {name}" for name, n in confusion[dataset, model][label].items())
        body.append([_dataset(dataset, first), model, label, _count(first.n_cases), *figures, said])
    return _grid(header, body)


def _mean_confusion(results: ModelResults) -> dict[str, dict[str, float]]:
    """Class -> predicted class -> number of test cases, mean over seeds."""
    classes = results.first.classes
    scores = np.stack([results.matrix(PROBABILITY + name) for name in classes], axis=-1)  # (S, N, C)
    predicted, labels = scores.argmax(axis=2), results.case_table["label"].to_numpy()
    return {
        name: {other: float((predicted[:, labels == k] == j).sum(axis=1).mean()) for j, other in enumerate(classes)}
        for k, name in enumerate(classes)
    }


def _heading(metric: str, unit: str | None) -> str:
    return f"{metric} ({'%' if unit == 'fraction' else unit})" if unit else metric


def _dataset(name: str, row: Row) -> str:
    return f"{name} (synthetic)" if row.synthetic else name


def _cell(row: Row) -> str:
    """`71.2 [66.0, 76.4]` with an interval; `84.3 ± 0.17` as published; `n/a` where there is no figure."""
    if row.printed is not None:
        return row.printed
    if row.mean is None:
        return _NONE
    scale = 100 if row.unit == "fraction" else 1
    if row.ci_low is None or row.ci_high is None:
        return f"{row.mean * scale:.1f} [{_NONE}]"
    return f"{row.mean * scale:.1f} [{row.ci_low * scale:.1f}, {row.ci_high * scale:.1f}]"


def _count(n: int | None) -> str:
    return "" if n is None else str(n)


def _grid(header: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """A pipe table with padded columns; text to the left, figures to the right."""
    lines = [[_escaped(cell) for cell in line] for line in (header, *body)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    left = {"Dataset", "Model", "Class", "Predicted as"}
    rule = [
        ":" + "-" * (w - 1) if name in left else "-" * (w - 1) + ":" for name, w in zip(header, widths, strict=True)
    ]
    shown = [
        [cell.ljust(w) if name in left else cell.rjust(w) for name, cell, w in zip(header, line, widths, strict=True)]
        for line in lines
    ]
    return [f"| {' | '.join(line)} |" for line in (shown[0], rule, *shown[1:])]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def caption(report: Report) -> list[str]:
    """What a reader must know of the numbers."""
    specs = [r.first.spec for r in report.results]
    seeds = sorted({len(r.seeds) for r in report.results})
    lines = [
        f"Measured with profile {report.profile}, {_range(seeds)} a model; mean [95 % interval] for training seeds and "
        "test cases drawn anew, given this training split. Means over cases: crossed variance components. Ratios over "
        "all cases (SEN, SPEC, PREC, F1, BACC, AUROC in classification): grouped jackknife. Groups of near-duplicates "
        "or patients are kept together. [n/a]: there is no interval, as with one case, one group or no spread.",
    ]
    if seeds[0] == 1:
        lines.append("Where there is one seed, the interval holds the spread over cases alone.")
    if any(spec.split.folds > 1 for spec in specs):
        lines.append("Over folds, training sets overlap and intervals are approximate.")
    if any(spec.task == "segmentation" for spec in specs):
        lines.append(
            "Segmentation: mean over images with a lesion, at native size. A missed lesion counts as DSC 0 and as an "
            "HD95 of the image diagonal. Missed and false alarms are counted over all seeds."
        )
    lines.append("Definitions: " + ", ".join(f"{d.name} {d.id}" for d in definitions_of(report)) + ".")
    if any(row.source == "reported" for row in report.rows):
        lines.append(
            "Reported rows are printed as published; they do not say what their ± is, and their HD95 is not this "
            "table's: that code computes no Hausdorff distance between borders (docs/method.md). Sources: "
            + "; ".join(dict.fromkeys(f"{row.citation}" for row in report.rows if row.citation))
            + "."
        )
    versions = {
        f"{s.dataset.name} v{s.dataset.version}, {r.first.data_hash[:8]}": None
        for s, r in zip(specs, report.results, strict=True)
    }
    lines.append("Data: " + "; ".join(versions) + ".")
    if synthetic := sorted({spec.dataset.name for spec in specs if spec.dataset.synthetic}):
        lines.append(f"Synthetic, simulated images and not patients: {', '.join(synthetic)}.")
    if devices := sorted({_device(record) for r in report.results for record in r.records if record.environment}):
        lines.append(f"Device: {'; '.join(devices)}.")
    lines.append(_seen(report))
    return [*lines, *report.notes]


def _device(record: Record) -> str:
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


def _range(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} seed{'s' * (seeds[0] != 1)}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
