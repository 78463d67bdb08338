"""Decisions about a class on other data sets: thresholds, calibration, local cases, net benefit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, exact_percent, number, percent, with_interval
from usfm_bench.metrics.operating import RULES
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.travel import DRAWS, LEVEL, RULE, THRESHOLDS, Benefit, Calibration, Local, Threshold
from usfm_bench.stats import Interval

_THRESHOLDS = (
    "Validation cases of the source chose the threshold; it stayed. SEN and SPEC are of the decisions by it: before "
    "the arrow on the source's own test cases, behind it on the target. A threshold travels where the rate behind the "
    "arrow is still what it was chosen for.",
    "PPV and NPV: of the cases that are called {positive}, or not, the share that is right: among the target's cases, "
    "and where another share of the patients is {positive}. Both rest on the prevalence, SEN and SPEC do not.",
)
_CALIBRATION = (
    "ECE beyond chance (docs/intervals.md). T: after the temperature that the source's validation cases chose, which "
    "is not fitted anew on the target.",
)
_LOCAL = (
    f"Drawn from the target's cases {DRAWS} times, group by group: the local cases choose the highest threshold that "
    f"keeps a sensitivity of {100 * LEVEL:.0f} % among them, and all other cases are scored with it. Range: from 5 to "
    "95 % of the draws, which is what one hospital's choice of cases may give; it is no confidence interval of the "
    "model. Restored: draws with the sensitivity on all other cases.",
    "A threshold that keeps 90 % of few positives keeps fewer of the next: of k positives the lowest decides, and "
    "one in k + 1 of others is expected below it.",
)
_BENEFIT = (
    "Net benefit: true positives per 100 cases, less false positives weighted by the odds of the threshold, when every "
    "case with at least this probability of {positive} is acted on (Vickers and Elkin 2006). A model is worth using at "
    "a threshold where it is above acting on every case and above 0, which is acting on none. {scaled}",
)
_SHOWN = (0.1, 0.2, 0.3, 0.5)
_TARGET = "Target"


def travel(report: Report) -> Iterator[Section]:
    """Four a table of the paper, as far as there is something to show."""
    found = report.travel
    for table in dict.fromkeys([row.table for row in found.benefits]):
        thresholds = [row for row in found.thresholds if row.table == table]
        if thresholds:
            positive = ", ".join(dict.fromkeys(row.positive for row in thresholds))
            yield Section(
                title="Thresholds on other data sets",
                grid=_thresholds(thresholds),
                notes=tuple(note.format(positive=positive) for note in _THRESHOLDS),
                caption="With 95 % intervals over seeds and cases, in percent.",
                table=table,
                ident="travel-thresholds",
            )
        if calibrations := [row for row in found.calibrations if row.table == table]:
            yield Section(
                title="Calibration on other data sets",
                grid=_calibrations(calibrations),
                notes=_CALIBRATION,
                caption="In percent, with 95 % intervals.",
                table=table,
                ident="travel-calibration",
            )
        if local := [row for row in found.local if row.table == table]:
            yield Section(
                title="Local cases that restore the sensitivity",
                grid=_local(local),
                notes=_LOCAL,
                caption="In percent; 0 local cases: the source's threshold.",
                table=table,
                ident="travel-local",
            )
        if benefits := [row for row in found.benefits if row.table == table]:
            yield _benefit_section(table, benefits)


def _thresholds(rows: Sequence[Threshold]) -> Grid:
    stated = exact_percent(rows[0].stated)
    header = ["Source", "Model", _TARGET, "Threshold for", "SEN", "SPEC", "PPV", "NPV"]
    header += [f"PPV at {stated}", f"NPV at {stated}", "Prevalence", "Positive", "Cases", "Seeds"]
    body = [
        [
            *(row.source, row.model, row.target, RULES.get(row.rule, row.rule)),
            _both(row.internal_sensitivity, row.sensitivity),
            _both(row.internal_specificity, row.specificity),
            *map(_cell, (row.ppv, row.npv, row.stated_ppv, row.stated_npv)),
            *(percent(row.prevalence, 1), str(row.n_positive), str(row.n_cases), str(row.n_seeds)),
        ]
        for row in rows
    ]
    return Grid(header, body, tuple((row.source, row.model) for row in rows))


def _calibrations(rows: Sequence[Calibration]) -> Grid:
    body = [
        [
            *(row.source, row.model, row.target),
            *map(_cell, (row.internal, row.internal_scaled, row.external, row.external_scaled)),
        ]
        for row in rows
    ]
    header = ["Source", "Model", _TARGET, "ECE, internal", "T", "ECE on target", "T on target"]
    return Grid(header, body, tuple((row.source, row.model) for row in rows))


def _local(rows: Sequence[Local]) -> Grid:
    body = [
        [
            *(row.source, row.model, row.target, str(row.n), number(row.sensitivity, "fraction")),
            NONE if row.n == 0 else f"{number(row.low, 'fraction')} to {number(row.high, 'fraction')}",
            *(number(row.specificity, "fraction"), NONE if row.n == 0 else percent(row.restored)),
            NONE if row.n == 0 else percent(row.without),
        ]
        for row in rows
    ]
    header = ["Source", "Model", _TARGET, "Local cases", "SEN", "Range", "SPEC", "Restored", "No threshold"]
    return Grid(header, body, tuple((row.source, row.model) for row in rows))


def _benefit_section(table: str | None, rows: Sequence[Benefit]) -> Section:
    places = [THRESHOLDS.index(t) for t in _SHOWN]
    body, of = [], []
    for row in rows:
        cells = [_beyond(row, i) for i in places]
        body.append([row.source, row.model, row.target or "own test cases", *cells])
        of.append((row.source, row.model))
    scaled = {row.scaled for row in rows}
    how = "after the source's temperature" if scaled == {True} else "as they are, without a temperature"
    words = "" if len(scaled) > 1 else f"Probabilities are those {how}."
    positive = ", ".join(dict.fromkeys(row.positive for row in rows))
    return Section(
        title="Net benefit of acting on a probability",
        grid=Grid(["Source", "Model", "Cases of", *(f"at {percent(t)}" for t in _SHOWN)], body, tuple(of)),
        notes=tuple(note.format(positive=positive, scaled=words).strip() for note in _BENEFIT),
        caption="Of the model; in brackets what it brings beyond acting on every case, with its 95 % interval.",
        table=table,
        ident="travel-benefit",
        folded=True,
        words=frozenset({"Cases of"}),
    )


def _beyond(row: Benefit, i: int) -> str:
    more = row.beyond[i]
    return f"{number(row.values[i].point, 'fraction')} ({with_interval(*more[:3], 'fraction', signed=True)})"


def _cell(interval: Interval | None) -> str:
    return NONE if interval is None else with_interval(*interval[:3], "fraction")


def _both(internal: Interval, external: Interval) -> str:
    return f"{number(internal.point, 'fraction')} → {_cell(external)}"


def _data(report: Report) -> Mapping[str, object]:
    found = report.travel
    if not found.benefits:
        return {}
    rows = {f.name: [_flat(row) for row in getattr(found, f.name)] for f in fields(found)}
    return {"decisions_elsewhere": rows | {"benefit_thresholds": list(THRESHOLDS), "local_rule": RULE}}


def _flat(row: Threshold | Calibration | Local | Benefit) -> dict[str, object]:
    whole = {f.name: getattr(row, f.name) for f in fields(row)}
    return asdict(row) | {
        name: value._asdict() if isinstance(value, Interval) else [v._asdict() for v in value]
        for name, value in whole.items()
        if isinstance(value, Interval) or name in ("values", "beyond")
    }


SECTIONS.register("travel")(
    SectionKind(
        name="travel",
        make=travel,
        place="table",
        order=82,
        nothing="No data set of this report names a positive class that decisions are about.",
        data=_data,
    )
)
