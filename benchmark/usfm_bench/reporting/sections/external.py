"""Models on other data sets than their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, counted, finite, heading, p_value, percent, with_interval
from usfm_bench.reporting.external import Drop, Order
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind

_NOTES = (
    "The trained networks were asked about all cases of other data sets; nothing was trained again, and thresholds and "
    "temperature stayed. Drop: internal less target, so that a positive drop of a score says that it is worse there. "
    "Its 95 % interval is for new seeds and new cases of both: cases are not paired, and networks are the same.",
    "Cases that the source shows too were left out (Known), as were those of a class that the model does not know "
    "(Other class). A class that the target lacks is left out of the internal score as well. The mix of classes and of "
    "lesion sizes differs between data sets, and distances in px are of each data set's own pixels: a drop is of all "
    "that differs, the hospital included.",
)

_FEW = 40  # cases of a side


def external(report: Report) -> Iterator[Section]:
    """One a table of the paper: by model and target, as a matrix where there are several targets, and the order."""
    for table in dict.fromkeys(drop.table for drop in report.drops):
        own = [drop for drop in report.drops if drop.table == table]
        yield Section(
            title="External validation",
            grid=_long(own),
            notes=(*_NOTES, *_said(own)),
            caption="On the source's own test cases and on other data sets, with 95 % intervals.",
            table=table,
            ident="external",
        )
        if len({drop.target for drop in own}) > 1:
            yield Section(
                title="Source by target",
                grid=_matrix(own),
                caption="A line a source and model, a column a target; in brackets the 95 % interval.",
                table=table,
                ident="external-matrix",
                folded=True,
            )
        if orders := [order for order in report.orders if order.table == table]:
            yield Section(
                title="Whether the order of models stays",
                grid=_orders(orders),
                notes=(
                    "Kendall's tau-b of the models' means: 1 is the same order, -1 the reverse. Its interval is a "
                    "bootstrap over groups of cases of both data sets and over networks; two models have none.",
                ),
                table=table,
                ident="external-order",
            )


def _long(drops: Sequence[Drop]) -> Grid:
    header = ["Source", "Model", "Target", "Metric", "Internal", "On target", "Drop", "Relative", "p"]
    header += ["Seeds", "Cases", "On target cases", "Known", "Other class"]
    body = [
        [
            *(drop.source, drop.model, _target(drop), heading(drop.metric, drop.unit)),
            *(with_interval(*each[:3], drop.unit) for each in (drop.internal, drop.external, drop.drop)),
            *(percent(drop.relative), p_value(drop.p_value), str(drop.n_seeds)),
            *map(str, (drop.n_internal, drop.n_external, drop.known_left_out, drop.left_out)),
        ]
        for drop in drops
    ]
    return Grid(header, body, tuple((drop.source, drop.model) for drop in drops))


def _target(drop: Drop) -> str:
    return f"{drop.target}{' (SEEN)' if drop.seen else ' (seen?)' if drop.seen is None else ''}"


def _matrix(drops: Sequence[Drop]) -> Grid:
    targets = list(dict.fromkeys(drop.target for drop in drops))
    cells = {(d.source, d.model, d.metric, d.unit, d.target): d for d in drops}
    body, of = [], []
    for source, model, metric, unit in dict.fromkeys(key[:4] for key in cells):
        own = [cells.get((source, model, metric, unit, target)) for target in targets]
        first = next(drop for drop in own if drop is not None)
        shown = [with_interval(*drop.external[:3], unit) if drop else NONE for drop in own]
        body.append([source, model, heading(metric, unit), with_interval(*first.internal[:3], unit), *shown])
        of.append((source, model))
    return Grid(["Source", "Model", "Metric", "Internal", *targets], body, tuple(of))


def _orders(orders: Sequence[Order]) -> Grid:
    body = [
        [
            *(order.source, order.target, order.metric, with_interval(*order.tau[:3], "score")),
            *(" > ".join(order.models), " > ".join(order.on_target), str(len(order.models))),
        ]
        for order in orders
    ]
    return Grid(["Source", "Target", "Metric", "tau-b", "Order, internal", "Order on target", "Models"], body)


def _said(drops: Sequence[Drop]) -> Iterator[str]:
    """What a reader must know of the cases, each line once."""
    lines: dict[str, None] = {}
    for drop in drops:
        where = f"{drop.source} to {drop.target}"
        if drop.absent:
            lines |= {f"{where}: no case of class {', '.join(drop.absent)} there.": None}
        if drop.known_left_out:
            lines |= {f"{where}: {counted(drop.known_left_out, 'case')} left out that {drop.source} shows too.": None}
        if drop.p_value is not None and drop.unit in ("px", "mm"):
            lines |= {
                f"{where}: drops of distances hang on a few image diagonals where fewer than 8 lesions of a side are "
                "missed: p < 0.05 came out in up to 26 % of simulated sets that are alike (docs/type-one.md).": None
            }
        elif drop.p_value is not None and (n := min(drop.n_internal, drop.n_external)) < _FEW:
            lines |= {
                f"{where}: {n} cases (or groups) on one side: where few scores are far from all others, p < 0.05 came "
                "out in up to 9 % of simulated data sets that are alike, not in 5 % (docs/type-one.md).": None
            }
        if drop.seen is None:
            lines |= {f"{where}: whether these cases were trained on is not known; the data are not here.": None}
    return iter(lines)


def _data(report: Report) -> Mapping[str, object]:
    intervals = ("internal", "external", "drop")
    return {
        "external": [asdict(d) | {k: getattr(d, k)._asdict() for k in intervals} for d in report.drops],
        "external_order": [
            asdict(o) | {"tau": o.tau._asdict() | {"point": finite(o.tau.point)}} for o in report.orders
        ],
    }


def _tau(order: Order) -> Mapping[str, object]:
    return order.tau._asdict() | {"point": finite(order.tau.point)}


SECTIONS.register("external")(
    SectionKind(
        name="external",
        make=external,
        place="table",
        order=80,
        nothing="No trial was evaluated on another data set: `usfm-bench evaluate --suite NAME --on DATASET,...`.",
        data=_data,
    )
)
