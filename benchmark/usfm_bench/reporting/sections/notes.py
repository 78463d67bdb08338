"""What changes how the numbers of a report are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from usfm_bench.core.words import in_a_row
from usfm_bench.reporting.facts import device_of, groups_told, weight_notes
from usfm_bench.reporting.published import impossible_rows
from usfm_bench.reporting.repeats import FEW
from usfm_bench.reporting.report import LEAKS, SEEN, Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.reading import reading_lines
from usfm_bench.reporting.sections.tables import gaps

_MOST = 8  # of what is left out, where room is short


def notes(report: Report) -> Iterator[Section]:
    """The notes that every reader needs, and what is left out."""
    yield Section(title="What changes how the numbers are read", notes=tuple(_lines(report)))
    if lines := _left_out(report):
        title = "What is missing, and what to know of the data"
        yield Section(title=title, notes=tuple(lines), ident="left-out", most=_MOST)


def _lines(report: Report) -> Iterator[str]:
    splits = "these training splits" if report.repeats else "this training split"
    yield (
        f"Cells are the mean [95 % interval] for training seeds and test cases drawn anew, given {splits}; "
        "[n/a]: there is no interval."
    )
    yield from _few_images(report)
    if min(len(r.seeds) for r in report.results) == 1:
        yield (
            "Where there is one seed, the interval holds the spread over cases alone; of proportions (ACC of "
            "classification; SEN, SPEC, PREC of a class) it is Wilson's. It says nothing of other trainings: where "
            "they differ by 1 point, it holds their mean in as little as 74 % (docs/coverage.md)."
        )
    if any(r.first.spec.split.folds > 1 for r in report.results):
        yield (
            "Over folds, cases differ between folds and seeds vary within; training sets overlap, which no interval "
            "holds: they are approximate."
        )
    if any("missed" in r.cases for r in report.results):
        kept = "are the image diagonal" if report.missed == "diagonal" else "are left out, in all seeds, and n says so"
        yield (
            f"A missed lesion has DSC 0; its distances {kept}. n: cases with a lesion that the distances before it "
            "are over. Missed and false alarms are counted over all seeds; n/a: no image is without a lesion."
        )
    if any(row.standing == "tied" for row in report.rows):
        judges = in_a_row(list(dict.fromkeys(row.metric for row in report.rows if row.standing)))
        yield (
            "best: the best mean on a data set; tied: may be the best as well (each paired with the others, Bonferroni "
            "over the table, 5 %). "
            f"Judged by {judges}."
        )
    yield from _reported(report)
    yield from _leaks(report)
    if synthetic := sorted({r.first.spec.dataset.name for r in report.results if r.first.spec.dataset.synthetic}):
        yield f"Synthetic, simulated images and not patients: {', '.join(synthetic)}."
    yield "Groups, which no split parts: " + "; ".join(groups_told(report)) + "."
    yield _seen(report)
    if devices := sorted({device_of(record) for r in report.results for record in r.records if record.environment}):
        yield f"Device: {'; '.join(devices)}."
    yield from weight_notes([(r.first.spec.model, r.first) for r in report.results])


def _few_images(report: Report) -> Iterator[str]:
    """Where the choice of the training images moves a score by much, and nothing tells by how much."""
    few = {
        r.first.spec.dataset.name: f"{r.first.spec.dataset.name} ({r.first.n_train} training images)"
        for r in report.results
        if r.first.spec.split.kind == "holdout" and r.repeats is None and r.first.n_train < FEW
    }
    if few:
        yield (
            f"{in_a_row([*few.values()])}: which images train a network moves its score there, and no interval holds "
            f"that. `usfm-bench run --suite {report.suite} --repeats 10` adds intervals for networks trained anew."
        )


def _reported(report: Report) -> Iterator[str]:
    """What published rows are, and which of them cannot be right."""
    if not any(row.source == "reported" for row in report.rows):
        return
    said = "Reported rows are printed as published; they do not say what their ± is."
    if any(row.source == "reported" and row.metric == "HD95" for row in report.rows):
        said += " Their HD95 is not this table's: that code computes no Hausdorff distance between borders."
    impossible = [
        f"Table {v.claim.table}, {v.claim.dataset}, {v.claim.model} (reported)" for v in impossible_rows(report.rows)
    ]
    if impossible:
        are = "is" if len(impossible) == 1 else "are"
        said += f" {in_a_row(impossible)} {are} arithmetically impossible; `usfm-bench claims` has the proof."
    yield said


def _leaks(report: Report) -> Iterator[str]:
    leaks = {row.dataset: f"{row.n_leaked} of {row.dataset}'s test cases" for row in report.rows if row.n_leaked}
    if leaks:
        yield (
            f"{LEAKS}: the split that the data set brings along has patients or near-duplicates on two sides: "
            f"{', '.join(leaks.values())} have a twin in training or validation. Scores on it are too good."
        )


def _seen(report: Report) -> str:
    """Which models saw test images before; one word where all are alike."""
    models: dict[bool | None, dict[str, None]] = {}
    for r in report.results:
        models.setdefault(r.seen_in_pretraining, {})[r.first.spec.model] = None
    words = {False: "no", True: "YES", None: "unknown"}
    told = "; ".join(f"{words[seen]} for {', '.join(names)}" for seen, names in models.items())
    mark = f" {SEEN} in the tables: scores on images that were trained on are too good." * (True in models)
    return f"Test images seen in pre-training: {told}.{mark}"


def _left_out(report: Report) -> list[str]:
    lacking = [f"{gap.dataset}, {gap.model}: no finished trial." for gap in gaps(report)]
    return [*lacking, *report.notes]


def _data(report: Report) -> Mapping[str, object]:
    return {"notes": [*_lines(report), *reading_lines(report), *report.notes]}


SECTIONS.register("notes")(SectionKind(name="notes", make=notes, place="end", order=10, shown=True, data=_data))
