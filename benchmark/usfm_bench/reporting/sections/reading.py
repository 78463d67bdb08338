"""How the numbers of a report were made, for those who look closer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from usfm_bench.core.words import counted
from usfm_bench.reporting.report import Report, definitions_of
from usfm_bench.reporting.rows import Row
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind


def reading(report: Report) -> Iterator[Section]:
    """Notes alone."""
    yield Section(title="How to read the numbers", notes=tuple(reading_lines(report)))


def reading_lines(report: Report) -> Iterator[str]:
    """Profile, intervals, definitions, sources, states of the data."""
    yield (
        f"Measured with profile {report.profile}, {counted([len(r.seeds) for r in report.results], 'seed')} a model. "
        "Means over cases (all of segmentation; ACC and BRIER of classification): crossed variance components. All "
        "other metrics of classification: grouped jackknife, and of rates score ends. Groups of near-duplicates or "
        "patients are kept together. There is no interval where there is one case or group, or a mean without spread."
    )
    if any("missed" in r.cases for r in report.results):
        yield "Segmentation: mean over images with a lesion, at native size."
    yield from _tuning(report.rows)
    if any(r.task.with_sd for r in report.results) and any(row.sd_cases is not None for row in report.rows):
        yield "sd: standard deviation over cases of the mean over seeds, in the unit of the column before it."
    yield "Definitions: " + ", ".join(f"{name} {ident}" for ident, name in definitions_of(report.rows).items()) + "."
    if sources := dict.fromkeys(row.citation for row in report.rows if row.source == "reported" and row.citation):
        yield f"Sources of reported rows: {'; '.join(sources)}."
    versions = {
        f"{r.first.spec.dataset.name} v{r.first.spec.dataset.version}, {r.first.data_hash[:8]}": None
        for r in report.results
    }
    yield f"Data: {'; '.join(versions)}."


def _tuning(rows: Sequence[Row]) -> Iterator[str]:
    """How to read numbers after a choice on validation cases."""
    names = {row.metric for row in rows}
    if "ECE" in names:
        yield (
            "ECE is biased upwards: so few cases have ECE_CHANCE even where probabilities mean what they say. Read "
            "ECE_DEBIASED, which is without it and has the interval; ECE itself is for comparison with other papers."
        )
    if "ECE_T" in names:
        yield (
            "ECE_T, BRIER_T: after temperature scaling, by one temperature a trial, fitted on its validation cases; it "
            "changes no predicted class. Intervals as of ECE and BRIER."
        )
    if any("@" in name for name in names):
        yield (
            "Decisions by thresholds chosen on validation data: a case is called positive where the class's "
            "probability is at least the threshold. Each trial chose its own, on its validation cases alone: @F1 with "
            "the highest F1, @SPEC90 and @SPEC95 the lowest with a specificity of at least 90 and 95 % there. SPEC is "
            "what came of it on test cases. Threshold: median (lowest to highest) of the trials; in validation: "
            "positive cases of all. Intervals are given these thresholds; how far other validation cases would move "
            "them is in none."
        )


SECTIONS.register("reading")(SectionKind(name="reading", make=reading, place="end", order=60))
