"""The paper's rows: what they say, whether they can be right, and how far measured values are from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from usfm_bench.claims import Verdict, check_claims, load_claims
from usfm_bench.core.resources import resource
from usfm_bench.reporting.rows import Row


@dataclass(frozen=True, kw_only=True)
class Against:
    """A measured value beside a published one, which is taken as fixed."""

    table: str | None
    dataset: str
    model: str
    metric: str
    published_model: str
    citation: str
    published: str
    """As printed."""
    measured: Row | None
    """The measured metric that the published one stands for; None where nothing comparable is known."""
    difference: float | None
    """Measured less published, in the metric's unit."""
    ci_low: float | None = None
    ci_high: float | None = None
    not_comparable: str = ""
    """Why there is no difference."""


@cache
def verdicts() -> tuple[Verdict, ...]:
    """Of every row of the paper's tables."""
    return tuple(check_claims(load_claims(resource("reports/reference/paper_tables.yaml"))))


def impossible_rows(rows: Sequence[Row]) -> list[Verdict]:
    """Verdicts on the reported ones among these rows whose values cannot all be right."""
    shown = {(row.table, row.dataset, row.model) for row in rows if row.source == "reported"}
    return [
        v for v in verdicts() if v.verdict == "impossible" and (v.claim.table, v.claim.dataset, v.claim.model) in shown
    ]


def published_rows(table: str) -> list[Row]:
    """The rows that the paper prints in one of its tables."""
    rows = []
    for found in verdicts():
        claim = found.claim
        for metric, text in claim.values.items() if claim.table == table else ():
            # The published HD95 comes without a unit.
            scale, unit = (1.0, None) if metric == "HD95" else (0.01, "fraction")
            rows.append(
                Row(
                    table=table,
                    dataset=claim.dataset,
                    model=claim.model,
                    metric=metric,
                    unit=unit,
                    source="reported",
                    mean=float(text) * scale,
                    printed=f"{text} ± {claim.spread[metric]}" if metric in claim.spread else text,
                    citation=claim.citation,
                    arithmetic=found.verdict,
                )
            )
    return rows


def against_published(rows: Sequence[Row], labels: dict[str, str]) -> Iterator[Against]:
    """Every measured model beside every published row of its data set.

    Args:
        rows: of a report.
        labels: measured data set -> the paper's name of it; data sets without one stand for no published row.
    """
    models = dict.fromkeys((r.table, r.dataset, r.model) for r in rows if r.source == "measured")
    measured = {(r.dataset, r.model, r.definition): r for r in rows if r.source == "measured" and r.label is None}
    for table, dataset, model in models:
        for found in verdicts():
            claim = found.claim
            if claim.table == table and claim.dataset == labels.get(dataset):
                for metric in claim.values:
                    yield _against(found, metric, dataset, model, measured)


def _against(
    found: Verdict, metric: str, dataset: str, model: str, measured: dict[tuple[str, str, str | None], Row]
) -> Against:
    claim = found.claim
    row = measured.get((dataset, model, claim.definitions.get(metric)))
    reason = claim.not_comparable.get(metric, "")
    if found.verdict == "impossible":
        reason = "the row's values cannot all have been computed in one way"
    elif not reason and (row is None or row.mean is None):
        reason = "its source does not say how it was computed" if metric not in claim.definitions else "not measured"
    value = None if reason or row is None or row.mean is None else float(claim.values[metric]) / 100
    ends = (row.ci_low, row.ci_high) if row is not None and value is not None else (None, None)
    return Against(
        table=claim.table,
        dataset=dataset,
        model=model,
        metric=metric,
        published_model=claim.model,
        citation=claim.citation,
        published=claim.values[metric],
        measured=None if reason else row,
        difference=None if value is None or row is None or row.mean is None else row.mean - value,
        ci_low=None if value is None or ends[0] is None else ends[0] - value,
        ci_high=None if value is None or ends[1] is None else ends[1] - value,
        not_comparable=reason,
    )
