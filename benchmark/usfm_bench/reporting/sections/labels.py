"""Scores against the share of labelled training images, the area under them, and labels to reach another model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, exact_percent, heading, with_interval
from usfm_bench.reporting.labels import LabelCurve, Needed
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.reporting.sections.tables import MEANS
from usfm_bench.stats import Interval


def label_sections(report: Report) -> Iterator[Section]:
    """For each data set that was used in parts: the curves, and what one model needs for another's score."""
    found = report.labels
    for table, dataset in dict.fromkeys((curve.table, curve.dataset) for curve in found.curves):
        curves = [curve for curve in found.curves if (curve.table, curve.dataset) == (table, dataset)]
        yield Section(
            title=f"Scores against labelled images, {dataset}",
            grid=_curve_grid(curves),
            notes=tuple(_curve_notes(curves)),
            caption=f"One line a model and metric, one column a share of the training side. {MEANS}",
            table=table,
            ident=f"labels-{dataset}",
        )
        needed = [each for each in found.needed if (each.table, each.dataset) == (table, dataset)]
        if needed:
            yield Section(
                title=f"Labelled images needed, {dataset}",
                grid=_needed_grid(needed),
                notes=(
                    "The interval holds every share at which the difference between the two has 0 in its 95 % "
                    "interval, paired by case, on curves that are straight over the logarithm of the share "
                    "(docs/comparisons.md). "
                    f"{NONE}: no interval.",
                ),
                caption="Labelled training images, and their share, at which a model scores what the other does with "
                "all of them.",
                table=table,
                ident=f"labels-needed-{dataset}",
                words=frozenset({"Scores as much as"}),
            )


def _curve_grid(curves: Sequence[LabelCurve]) -> Grid:
    shares = sorted({point.share for curve in curves for point in curve.points})
    body = []
    for curve in curves:
        at = {point.share: with_interval(point.mean, point.ci_low, point.ci_high, curve.unit) for point in curve.points}
        body.append(
            [
                *(curve.model, heading(curve.metric, curve.unit)),
                *(at.get(share, "") for share in shares),
                NONE if curve.area is None else with_interval(*curve.area[:3], curve.unit),
            ]
        )
    return Grid(["Model", "Metric", *map(exact_percent, shares), "Area"], body)


def _curve_notes(curves: Sequence[LabelCurve]) -> Iterator[str]:
    sizes = dict(sorted({(point.share, point.n_train) for curve in curves for point in curve.points}))
    listed = ", ".join(f"{exact_percent(share)} {n}" for share, n in sizes.items())
    yield (
        f"Training images: {listed}. Each seed draws its own images, a smaller share within a larger one; validation "
        "and test cases stay the same."
    )
    yield (
        "Area: mean over the logarithm of the share, between the smallest and the largest one, in the metric's unit. "
        "Areas of other shares are other quantities."
    )
    for curve in curves:
        if curve.reason:
            yield f"{curve.model}, {curve.metric}: no area: {curve.reason}."


def _needed_grid(needed: Sequence[Needed]) -> Grid:
    header = ["Model", "Scores as much as", "Metric", "Images [95 %]", "Share [95 %]"]
    body = [
        [
            each.model,
            f"{each.other} with {exact_percent(each.at)}",
            each.metric,
            in_images(each),
            _shown(each, _rounded, each.share, each.low, each.high),
        ]
        for each in needed
    ]
    return Grid(header, body)


def in_images(each: Needed) -> str:
    """`62 [28, 210]`; `not reached [from 210]`; at the smallest share of the curve `≤ 6`."""
    return _shown(each, str, each.images, each.images_low, each.images_high)


def _rounded(share: float) -> str:
    return f"{100 * share:.2g} %"


def _shown(each: Needed, show: Callable[[Any], str], point: float | None, low: float | None, high: float | None) -> str:
    def bounded(value: float | None, share: float | None) -> str:
        return f"≤ {show(value)}" if share == each.least else show(value)

    said = "not reached" if each.share is None else bounded(point, each.share)
    if not each.known:
        return f"{said} {NONE}"
    if each.low is None:
        return f"{said} [clearly below]"
    if each.high is None:
        return f"{said} [from {bounded(low, each.low)}]"
    return f"{said} [{bounded(low, each.low)}, {bounded(high, each.high)}]"


def _data(report: Report) -> Mapping[str, object]:
    found = report.labels
    if not found.curves:
        return {}
    curves = [asdict(curve) | {"area": _interval(curve.area)} for curve in found.curves]
    return {"labels": {"curves": curves, "needed": [asdict(each) for each in found.needed]}}


def _interval(of: Interval | None) -> dict[str, object] | None:
    return None if of is None else {"mean": of.point, "ci_low": of.low, "ci_high": of.high, "interval": of.kind}


SECTIONS.register("labels")(
    SectionKind(
        name="labels",
        make=label_sections,
        place="table",
        order=62,
        shown=True,
        nothing="No model of this report was trained on a part of a training side; suite `labels` does that.",
        data=_data,
    )
)
