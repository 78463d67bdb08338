"""Comparisons, ranks and sources of spread as Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from usfm_bench.pipe_table import Grid, bullet, marked, pipe_table
from usfm_bench.reporting.comparisons import Compared, groups_not_told_apart
from usfm_bench.reporting.rankings import TableRanking
from usfm_bench.reporting.report import LEAKS, Report, leaking
from usfm_bench.reporting.spreads import Spread
from usfm_bench.stats import Ranked

LEFT = frozenset({"Dataset", "Model", "Metric", "A", "B", "Narrower with", "Lacks"})
"""Columns of words."""
_PAIRS_SHOWN = 6  # of one data set and metric: all pairs of four models
_NONE = "n/a"


def statistics_markdown(report: Report, table: str | None) -> list[str]:
    """What stands below a table of the paper: are differences real, who is best, and what would tell more."""
    lines: list[str] = []
    leaks = leaking(report)
    compared = [c for c in report.comparisons if c.table == table]
    if compared:
        lines += ["Comparisons, each paired on the same cases:", "", *_lines(*comparisons(compared), leaks)]
    for ranking in report.rankings:
        if ranking.table == table:
            lines += [f"{ranking_title(ranking)}:", "", *_lines(*ranked(ranking), leaks)]
    spread = [s for s in report.spreads if s.table == table]
    if spread:
        lines += ["Where the spread comes from:", "", *_lines(spread_grid(spread), spread_notes(spread), leaks)]
    return lines


def _lines(grid: Grid, notes: Sequence[str], leaks: Collection[str]) -> list[str]:
    grid = marked(grid, leaks, LEAKS)
    return [*pipe_table(grid.header, grid.body, LEFT), "", *map(bullet, notes), ""]


def comparisons(compared: Sequence[Compared]) -> tuple[Grid, list[str]]:
    """One line a pair, and notes."""
    shown, hidden = _chosen(compared)
    header = [
        "Dataset",
        "Metric",
        "A",
        "B",
        "A - B",
        "p",
        "p (Holm)",
        "p (best)",
        "Effect size",
        "P(A better)",
        "P(claim false)",
    ]
    header += ["Would find", "Seeds needed", "Cases needed"]
    tested = [c for c in shown if c.p_value is not None]
    family = max((c.family for c in compared), default=0)
    notes = [
        f"Holm: over all {family} comparisons of this table, of every pair of models on every data set by "
        f"{' and '.join(dict.fromkeys(c.metric for c in compared))}. p (best): of B being the best model there, "
        "one-sided, by Bonferroni over the other models, data sets and metrics (Hsu's comparison with the best). p is "
        "uncorrected. P(A better): shrunk by how little the models of that data set differ beyond chance; P(claim "
        "false) is the rest. Would find: the true "
        "difference that this design finds with 80 % power, "
        "uncorrected; seeds, or cases (or groups of them), needed for that at the observed difference.",
    ]
    if any(c.n_seeds == 1 for c in shown):
        notes.append(
            "With one seed p and the probabilities are for these trained networks alone, not for other trainings."
        )
    for (dataset, metric), of_models in groups_not_told_apart(compared).items():
        groups = "; ".join(f"{model} {shown}" for model, shown in of_models.items())
        notes.append(f"{dataset}, {metric}: models that share a letter are not told apart (Holm): {groups}.")
    if hidden:
        notes.append(f"{hidden} pairs without the best model of a data set are not shown; JSON has them all.")
    notes += [
        f"{c.dataset}, {c.metric}: {c.a} and {c.b} are not compared: {c.reason}" for c in shown if c.p_value is None
    ]
    body = [
        [
            *(c.dataset, c.metric, c.a, c.b, _difference(c), _p(c.p_value), _p(c.p_holm), _p(c.p_best)),
            "" if c.effect_size is None else f"{c.effect_size:.2f}",
            *(_probability(c.probability_better), _probability(c.false_claim), _points(c.detectable, c.unit)),
            *(_NONE if c.n_seeds == 1 else _needed(c.seeds_needed), _needed(c.cases_needed)),
        ]
        for c in tested
    ]
    return Grid(header, body), notes


def _chosen(compared: Sequence[Compared]) -> tuple[list[Compared], int]:
    """All pairs of a few models; of many, those with the model that has the best mean."""
    shown: list[Compared] = []
    for place in dict.fromkeys((c.dataset, c.definition) for c in compared):
        pairs = [c for c in compared if (c.dataset, c.definition) == place]
        beaten = {c.b for c in pairs if c.difference is not None}
        best = {c.a for c in pairs if c.difference is not None} - beaten
        few = len(pairs) <= _PAIRS_SHOWN or not best
        shown += pairs if few else [c for c in pairs if {c.a, c.b} & best]
    return shown, len(compared) - len(shown)


def ranking_title(of: TableRanking) -> str:
    """Such as `Ranking by DSC over 2 data sets`."""
    return f"Ranking by {of.definition.name} over {_counted(len(of.ranking.datasets), 'data set')}"


def ranked(of: TableRanking) -> tuple[Grid, list[str]]:
    """One line a model, and notes."""
    ranking, definition = of.ranking, of.definition
    iqm = f"IQM{' (%)' if definition.unit == 'fraction' else f' ({definition.unit})'}"
    header = ["Model", "Mean rank", "Best in", iqm, *(f"Rank on {name}" for name in ranking.datasets), "Lacks"]
    body = [_ranked(model, ranking.datasets, definition.unit) for model in ranking.models]
    return Grid(header, body), list(_ranking_notes(of))


def _ranking_notes(of: TableRanking) -> Iterator[str]:
    ranking = of.ranking
    lacking = [model.model for model in ranking.models if model.missing]
    yield (
        "Mean rank [95 % of bootstrap draws], 1 is best: its stability with other seeds and cases of the same data "
        "sets, not where the true rank lies. Best in: share of draws with the best mean rank. IQM: mean of the middle "
        "half of the runs (docs/method.md, Ranking)."
    )
    if lacking:
        yield f"No overall rank, since a data set is missing: {', '.join(lacking)}. Other ranks are among the rest."
    if ranking.friedman_p is not None and ranking.critical_difference is not None:
        yield (
            f"Friedman, p {_p(ranking.friedman_p)}; mean ranks that differ by less than "
            f"{ranking.critical_difference:.2f} are not told apart (Nemenyi, 5 %)."
        )
    elif ranking.friedman_p is not None:
        yield (
            f"Friedman, p {_p(ranking.friedman_p)}. There is no critical difference: {len(of.ranking.datasets)} data "
            "sets are too few for Nemenyi's test to tell any two of so many models apart."
        )
    else:
        yield "Friedman's test needs three models with every data set, and two data sets."
    yield from of.left_out


def _ranked(model: Ranked, datasets: Sequence[str], unit: str) -> list[str]:
    scale, digits = (100, 1) if unit == "fraction" else (1, 1)
    places = [f"{model.ranks[name]:g}" if name in model.ranks else _NONE for name in datasets]
    return [
        model.model,
        with_interval(model.mean_rank, model.rank_low, model.rank_high, 1, 2),
        _NONE if model.first is None else f"{100 * model.first:.0f} %",
        with_interval(model.iqm, model.iqm_low, model.iqm_high, scale, digits),
        *places,
        ", ".join(model.missing),
    ]


def spread_grid(spread: Sequence[Spread]) -> Grid:
    """One line a headline metric of a model."""
    header = ["Dataset", "Model", "Metric", "sd of seeds", "sd of cases", "sd of the rest"]
    header += [
        "Variance from seeds",
        "from cases",
        "from the rest",
        "Twice the seeds",
        "Twice the cases",
        "Narrower with",
    ]
    body = [
        [
            *(s.dataset, s.model, s.metric),
            *(_points(x, s.unit) or _NONE for x in (s.sd_seeds, s.sd_groups, s.sd_residual)),
            *(_probability(x) or _NONE for x in (s.share_seeds, s.share_groups, s.share_residual)),
            *(_NONE if x is None else f"{round(100 * (x - 1)):d} %" for x in (s.twice_seeds, s.twice_cases)),
            _narrower(s),
        ]
        for s in spread
    ]
    return Grid(header, body, tuple((s.dataset, s.model) for s in spread))


def spread_notes(spread: Sequence[Spread]) -> list[str]:
    """What the columns are, and the advice."""
    return [
        "Standard deviations between seeds, between cases (or groups of them) and of what is left; the share of each "
        "in the variance of the mean; and how its interval would change with twice the seeds or twice the cases.",
        *advice(spread),
    ]


def advice(spread: Sequence[Spread]) -> list[str]:
    """What would narrow the intervals."""
    lines = []
    chosen = [_narrower(s) for s in spread]
    if chosen.count("more cases") > len(chosen) / 2:
        lines.append("Mostly the test cases limit what can be said here: a larger test set, or five folds, tells more.")
    elif chosen.count("more seeds") > len(chosen) / 2:
        lines.append("Mostly the seeds limit what can be said here: more of them (`--seeds`) tell more.")
    if "" in chosen:
        lines.append("One seed says nothing of how much another training differs; `--seeds 3` is the least.")
    return lines


def _narrower(spread: Spread) -> str:
    if spread.twice_seeds is None or spread.twice_cases is None:
        return ""
    return "more seeds" if spread.twice_seeds < spread.twice_cases else "more cases"


def _difference(c: Compared) -> str:
    scale, digits = (100, 1) if c.unit == "fraction" else (1, 1)
    unit = "points" if c.unit == "fraction" else c.unit
    return f"{with_interval(c.difference, c.ci_low, c.ci_high, scale, digits)} {unit}"


def with_interval(x: float | None, low: float | None, high: float | None, scale: int, digits: int) -> str:
    """`71.2 [66.0, 76.4]`; `n/a` for what there is not."""
    if x is None:
        return _NONE
    ends = _NONE if low is None or high is None else f"{low * scale:.{digits}f}, {high * scale:.{digits}f}"
    return f"{x * scale:.{digits}f} [{ends}]"


def _points(x: float | None, unit: str) -> str:
    if x is None:
        return ""
    return f"{100 * x:.1f} points" if unit == "fraction" else f"{x:.1f} {unit}"


def _probability(x: float | None) -> str:
    if x is None:
        return ""
    return "< 0.1 %" if x < 0.001 else "> 99.9 %" if x > 0.999 else f"{100 * x:.1f} %"


def _p(x: float | None) -> str:
    if x is None:
        return ""
    return "< 0.001" if x < 0.001 else f"{x:.3f}"


def _needed(n: int | None) -> str:
    return "no number" if n is None else str(n)


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' * (n != 1)}"
