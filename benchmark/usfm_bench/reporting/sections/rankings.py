"""Which models are best over several data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, counted, heading, number, p_value, percent, with_interval
from usfm_bench.reporting.rankings import TableRanking
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.stats import Ranked

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rankings(report: Report) -> Iterator[Section]:
    """One a table of the paper and metric."""
    for of in report.rankings:
        yield Section(
            title=title_of(of),
            grid=_grid(of),
            notes=tuple(_notes(of)),
            caption="1 is best.",
            table=of.table,
            ident=f"ranks-{of.definition.name}",
            figure=None if of.ranking.critical_difference is None else partial(_diagram, of),
        )


def title_of(of: TableRanking) -> str:
    """Such as `Ranking by DSC over 2 data sets`."""
    return f"Ranking by {of.definition.name} over {counted(len(of.ranking.datasets), 'data set')}"


def _grid(of: TableRanking) -> Grid:
    """One line a model."""
    ranking, definition = of.ranking, of.definition
    header = ["Model", "Mean rank", "Best in", heading("IQM", definition.unit)]
    header += [*(f"Rank on {name}" for name in ranking.datasets), "Lacks"]
    return Grid(header, [_ranked(model, ranking.datasets, definition.unit) for model in ranking.models])


def _notes(of: TableRanking) -> Iterator[str]:
    ranking = of.ranking
    lacking = [model.model for model in ranking.models if model.missing]
    yield (
        "Mean rank [95 % of bootstrap draws], 1 is best: its stability with other seeds and cases of the same data "
        "sets, not where the true rank lies. Best in: share of draws with the best mean rank. IQM: mean of the middle "
        "half of the runs (docs/comparisons.md, Ranking)."
    )
    if lacking:
        yield f"No overall rank, since a data set is missing: {', '.join(lacking)}. Other ranks are among the rest."
    if ranking.friedman_p is not None and ranking.critical_difference is not None:
        yield (
            f"Friedman, p {p_value(ranking.friedman_p)}; mean ranks that differ by less than "
            f"{number(ranking.critical_difference, digits=2)} are not told apart (Nemenyi, 5 %)."
        )
    elif ranking.friedman_p is not None:
        yield (
            f"Friedman, p {p_value(ranking.friedman_p)}. There is no critical difference: {len(ranking.datasets)} data "
            "sets are too few for Nemenyi's test to tell any two of so many models apart."
        )
    else:
        yield "Friedman's test needs three models with every data set."
    yield from of.left_out


def _ranked(model: Ranked, datasets: Sequence[str], unit: str) -> list[str]:
    places = [f"{model.ranks[name]:g}" if name in model.ranks else NONE for name in datasets]
    return [
        model.model,
        with_interval(model.mean_rank, model.rank_low, model.rank_high, digits=2),
        percent(model.first),
        with_interval(model.iqm, model.iqm_low, model.iqm_high, unit, digits=1),
        *places,
        ", ".join(model.missing),
    ]


def _diagram(of: TableRanking) -> Figure:
    from usfm_bench.reporting.figures.critical_difference import critical_difference

    return critical_difference(of.ranking, title_of(of))


def _data(report: Report) -> Mapping[str, object]:
    return {"rankings": [_ranking(each) for each in report.rankings]}


def _ranking(of: TableRanking) -> dict[str, object]:
    content = asdict(of.ranking)
    nemenyi = of.ranking.nemenyi
    return {
        "table": of.table,
        "metric": of.definition.name,
        "definition": of.definition.id,
        **content,
        "nemenyi": None if nemenyi is None else nemenyi.tolist(),
        "left_out": of.left_out,
    }


SECTIONS.register("rankings")(
    SectionKind(
        name="rankings",
        make=rankings,
        place="table",
        order=80,
        nothing="No ranking: it needs two models, and two data sets that share no test cases.",
        data=_data,
    )
)
