"""Paired differences between models, case by case."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from usfm_bench.core.words import counted
from usfm_bench.reporting.figures.group import FigureData, Floats, NamedFigure, defined_cases, sentence
from usfm_bench.reporting.figures.style import GREY, Look, lines_of, panels, shown, styled
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats import Interval, compare

_ALL_PAIRS = 3


class ModelPair(NamedTuple):
    """Two models on the same cases and seeds."""

    a: str
    b: str
    differences: Floats
    """(n,) a - b, mean over seeds, ascending."""
    interval: Interval
    """Of their mean, over seeds and cases."""
    n_seeds: int


def paired_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure, a panel a pair: all pairs of up to three models, else each against the best mean."""
    what, column = "Paired differences by case", group.task.by_case
    wanted = pairs_of([r.averaged for r in group.results], column)
    pairs = [pair for a, b in wanted if (pair := paired(a, b, column)) is not None]
    lost = [f"{a.first.spec.model} and {b.first.spec.model}" for a, b in wanted if paired(a, b, column) is None]
    not_shown = f"Not shown, no seed or case in common: {'; '.join(lost)}" if lost else ""
    if not pairs:
        yield group.nothing("paired", what, not_shown + "." if lost else "Paired differences: there is one model.")
        return
    many = len(group.results) > _ALL_PAIRS
    caption = sentence(
        f"Difference in {column} {group.results[0].definitions[column]} of each case, mean over "
        f"{counted([pair.n_seeds for pair in pairs], 'seed')}, cases in ascending order; "
        f"{counted([len(pair.differences) for pair in pairs], 'case')}",
        "Filled: the model named first is better; hatched: the second",
        "Dashed line and grey band: mean difference and its 95 % interval over seeds and cases, not corrected for the "
        "number of pairs",
        f"Each model against {pairs[0].b}, which has the best mean" if many else "",
        not_shown,
    )
    yield group.named("paired", what, caption, paired_panels(pairs, group.looks, group.width, column))


def pairs_of(results: Sequence[ModelResults], column: str) -> list[tuple[ModelResults, ModelResults]]:
    """All pairs of up to three models, else each with the one of the best mean."""
    if len(results) <= _ALL_PAIRS:
        return list(itertools.combinations(results, 2))
    means = [_mean(r, column) for r in results]
    best = int(np.argmax(means))
    return [(r, results[best]) for i, r in enumerate(results) if i != best]


def _used(results: ModelResults, column: str) -> list[str]:
    ids = results.case_table["case_id"].to_numpy()
    used = defined_cases(results, column) if results.task.per_case else np.ones(len(ids), bool)
    return [str(case) for case in ids[used]]


def _mean(results: ModelResults, column: str) -> float:
    cases = _used(results, column)
    return float(_scores(results, column, results.seeds, cases).mean()) if cases else -np.inf


def _scores(results: ModelResults, column: str, seeds: Sequence[int], cases: Sequence[str]) -> Floats:
    place = {case: i for i, case in enumerate(results.case_table["case_id"])}
    rows = [results.seeds.index(seed) for seed in seeds]
    return np.asarray(results.matrix(column)[np.ix_(rows, [place[case] for case in cases])])


def paired(a: ModelResults, b: ModelResults, column: str) -> ModelPair | None:
    """Differences on the seeds and cases that both have; None where there are none."""
    seeds = [seed for seed in a.seeds if seed in b.seeds]
    common = set(_used(b, column))
    cases = [case for case in _used(a, column) if case in common]
    if not seeds or not cases:
        return None
    of_case = a.case_table.set_index("case_id")
    group, fold = of_case["group_id"], of_case["fold"]
    scores = [_scores(r, column, seeds, cases) for r in (a, b)]
    folds = np.array([int(fold[case]) for case in cases])
    interval = compare(*scores, groups=[str(group[case]) for case in cases], folds=folds).difference
    differences = np.sort((scores[0] - scores[1]).mean(axis=0))
    return ModelPair(a.first.spec.model, b.first.spec.model, differences, interval, len(seeds))


@styled
def paired_panels(pairs: Sequence[ModelPair], looks: Mapping[str, Look], width: float, column: str) -> Figure:
    """A panel a pair, cases sorted by difference, each side in the colour of the model that is better there."""
    titles = [(shown(pair.a, 24), shown(pair.b, 24)) for pair in pairs]
    lines = max(lines_of(pair.a, 24) + lines_of(pair.b, 24) for pair in pairs)
    figure, all_axes = panels(len(pairs), width, least=58, height=44 + 3.2 * lines)
    span = 100 * max(float(np.abs(pair.differences).max()) for pair in pairs) or 1.0
    for axes, pair, (a, b) in zip(all_axes, pairs, titles, strict=True):
        _draw(axes, pair, looks)
        axes.set_title(f"{a}\nminus {b}")
        axes.set_ylim(-1.08 * span, 1.08 * span)
        axes.set_xlabel("Cases, sorted")
        axes.set_ylabel(f"Difference in {column}\n(percentage points)")
    return figure


def _draw(axes: Axes, pair: ModelPair, looks: Mapping[str, Look]) -> None:
    values, n = 100 * pair.differences, len(pair.differences)
    edges = np.arange(n + 1)
    axes.stairs(np.maximum(values, 0), edges, baseline=0, fill=True, color=looks[pair.a].colour)
    axes.stairs(
        np.minimum(values, 0),
        edges,
        baseline=0,
        fill=True,
        facecolor="white",
        edgecolor=looks[pair.b].colour,
        hatch="//////",
        linewidth=0.6,
    )
    axes.axhline(0, color="black", linewidth=0.6)
    mean, low, high, _ = pair.interval
    if low is not None and high is not None:
        axes.axhspan(100 * low, 100 * high, color=GREY, alpha=0.3, linewidth=0)
    axes.axhline(100 * mean, color="black", linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_xlim(0, n)
    axes.grid(visible=False, axis="x")
