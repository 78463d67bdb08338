"""Pre-training methods on equal terms: means over pre-trainings, and differences to random weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, heading, number, p_value, percent, with_interval
from usfm_bench.reporting.pretrainings import Judged
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.stats.pretrainings import Sources

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HEADER = (
    *("Judged by", "Metric", "Method", "Encoder", "Images seen", "PFLOP", "Pre-trainings", "Mean [95 %]"),
    *("To random weights [95 %]", "p (Holm)", "Detectable", "Variance from pre-training", "fine-tuning", "cases"),
)


def pretraining_sections(report: Report) -> Iterator[Section]:
    """One a table and data set."""
    for table, dataset in dict.fromkeys((row.table, row.dataset) for row in report.pretrainings):
        rows = [row for row in report.pretrainings if (row.table, row.dataset) == (table, dataset)]
        rows.sort(key=lambda row: (row.adaptation, row.encoder, row.images_seen, row.method))
        yield Section(
            title=f"Pre-training methods, {dataset}",
            grid=Grid(list(_HEADER), [_line(row) for row in rows]),
            notes=tuple(_notes(rows)),
            caption="One line a method and metric; means over pre-trainings, their fine-tunings and the test cases.",
            table=table,
            ident=f"pretrainings-{dataset}",
            words=frozenset({"Judged by", "Method", "Encoder"}),
            figure=partial(_curves, rows) if len({row.images_seen for row in rows if not row.untrained}) > 1 else None,
        )


def _line(row: Judged) -> list[str]:
    against = row.against
    shares = _shares(row.sources)
    return [
        *(row.adaptation, heading(row.metric, row.unit), row.method, row.encoder, f"{row.images_seen:,}"),
        NONE if row.flops is None else f"{row.flops / 1e15:.2g}",
        f"{len(row.pretrainings)} x {row.n_seeds}",
        with_interval(row.mean.point, row.mean.low, row.mean.high, row.unit),
        "" if against is None else with_interval(*against.difference[:3], row.unit, signed=True),
        "" if against is None else p_value(row.holm),
        "" if against is None else number(against.detectable, row.unit),
        *(percent(share) for share in shares),
    ]


def _shares(parts: Sources) -> tuple[float | None, ...]:
    whole = sum(part or 0.0 for part in parts)
    return tuple(None if part is None or not whole else part / whole for part in parts)


def _notes(rows: Sequence[Judged]) -> Iterator[str]:
    n = rows[0].n_cases
    yield (
        f"{n} test cases. An interval is for new pre-trainings, fine-tunings and cases (docs/pretraining.md); where "
        "there is one pre-training, how much another would differ is not in it. Differences are paired by case, not by "
        "seed. `Pre-trainings` is their number x fine-tunings of each."
    )
    yield (
        "`Detectable` is the smallest true difference that this design would find at 5 % with 80 % power, at the "
        "spread seen here; with two pre-trainings it is itself uncertain. p is adjusted within a judgement and metric."
    )
    yield (
        "Variance from: shares in the variance of the mean. With one fine-tuning of each pre-training the two are not "
        "told apart, and the share of the pre-trainings holds both. PFLOP: 10^15 operations of one pre-training."
    )
    flops = {(r.encoder, r.method, r.images_seen): r.flops for r in rows if r.flops}
    for seen in sorted({key[2] for key in flops}):
        own = {key[1]: value for key, value in flops.items() if key[2] == seen}
        if len(own) > 1:
            least = min(own, key=lambda name: own[name])
            said = ", ".join(f"{name} {own[name] / own[least]:.2g}" for name in own if name != least)
            yield f"At {seen:,} images, operations relative to {least}: {said}."


def _curves(rows: Sequence[Judged]) -> Figure:
    from usfm_bench.reporting.figures.pretrainings import curves

    return curves(rows)


def _data(report: Report) -> Mapping[str, object]:
    if not report.pretrainings:
        return {}
    return {"pretrainings": [_plain(row) for row in report.pretrainings]}


def _plain(row: Judged) -> dict[str, object]:
    against = row.against
    plain = {key: value for key, value in asdict(row).items() if key not in ("mean", "sources", "against", "holm")}
    mean = {"mean": row.mean.point, "ci_low": row.mean.low, "ci_high": row.mean.high, "interval": row.mean.kind}
    to = None
    if against is not None:
        point, low, high, _ = against.difference
        to = {"difference": point, "ci_low": low, "ci_high": high, "p_value": against.p_value, "holm": row.holm}
        to |= {"detectable": against.detectable}
    return plain | mean | {"variance_from": row.sources._asdict(), "to_random_weights": to}


SECTIONS.register("pretrainings")(
    SectionKind(
        name="pretrainings",
        make=pretraining_sections,
        place="table",
        order=64,
        shown=True,
        nothing="No model of this report has a card of its pre-training; suite `pretraining` is of such models.",
        data=_data,
    )
)
