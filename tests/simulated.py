"""Simulated coverage of the intervals: `make coverage` prints the tables of docs/method.md; a slow test checks them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from sklearn import metrics as sk

from usfm_bench.metrics.definitions import DEFINITIONS
from usfm_bench.stats.components import variance_components
from usfm_bench.stats.intervals import classification_interval, interval_of

Floats = NDArray[np.float64]
_CASE_SD, _REST_SD, _MEAN = 0.2, 0.08, 0.75
_TRUTH_CASES = 20_000


class MeanCell(NamedTuple):
    """One setting of a mean over seeds and cases, such as DSC."""

    seeds: int
    cases: int
    seed_sd: float
    cases_like: Literal["normal", "gamma"]
    """`gamma`: of shape 1, to the left, as DSC on small lesions."""

    def __str__(self) -> str:
        return f"{self.cases_like}-{self.seeds}x{self.cases}-{self.seed_sd:g}"


class MeanCoverage(NamedTuple):
    """Share of draws whose interval holds the truth."""

    crossed: float
    """Cochran's weighted quantile: what reports show."""
    satterthwaite: float
    bootstrap: float
    """Percentile bootstrap over seeds alone, as papers do it."""


class RateCell(NamedTuple):
    """One setting of a metric that is no mean over cases."""

    metric: Literal["f1.binary", "f1.macro", "auroc"]
    seeds: int
    cases: int
    grouped: bool
    """Cases come in groups of two that are alike."""

    def __str__(self) -> str:
        return f"{self.metric}-{self.seeds}x{self.cases}{'-grouped' * self.grouped}"


MEANS = [
    MeanCell(seeds, cases, seed_sd, like)
    for like, seed_sd, seeds, cases in product(("normal", "gamma"), (0.0, 0.02, 0.05), (3, 5, 10), (30, 78, 156))
]
RATES = [
    RateCell(metric, seeds, cases, grouped)
    for metric, seeds, cases, grouped in product(
        ("f1.binary", "f1.macro", "auroc"), (3, 5, 10), (78, 156), (False, True)
    )
]


def draw_scores(cell: MeanCell, rng: np.random.Generator) -> Floats:
    """(S, C) scores whose true mean is 0.75."""
    size = (cell.seeds, cell.cases)
    if cell.cases_like == "normal":
        easy = rng.normal(0, _CASE_SD, cell.cases)
    else:
        easy = _CASE_SD * (1 - rng.gamma(1.0, 1.0, cell.cases))
    seeds = rng.normal(0, cell.seed_sd, (cell.seeds, 1))
    return np.asarray(_MEAN + easy + seeds + rng.normal(0, _REST_SD, size))


def cover_mean(cell: MeanCell, draws: int, rng: np.random.Generator) -> MeanCoverage:
    """Coverage of the three intervals over `draws` test sets and sets of seeds."""
    held = np.zeros(3)
    for _ in range(draws):
        scores = draw_scores(cell, rng)
        parts = variance_components(scores)
        error = abs(parts.mean - _MEAN)
        resampled = scores.mean(axis=1)[rng.integers(0, cell.seeds, (200, cell.seeds))].mean(axis=1)
        low, high = np.percentile(resampled, [2.5, 97.5])
        freedom = parts.variance**2 / (parts.seeds**2 / (cell.seeds - 1) + parts.cases**2 / (parts.n_groups - 1))
        interval = interval_of(parts)
        assert interval.low is not None
        assert interval.high is not None
        held += [
            interval.low <= _MEAN <= interval.high,
            error <= stdtrit(freedom, 0.975) * parts.variance**0.5,
            low <= _MEAN <= high,
        ]
    return MeanCoverage(*(held / draws).tolist())


def cover_rate(cell: RateCell, draws: int, rng: np.random.Generator) -> float:
    """Coverage of the jackknife interval; the truth is the mean over 60 seeds of the metric on 20,000 cases."""
    definition = DEFINITIONS[
        {"f1.binary": "f1.class@1", "f1.macro": "f1.macro@1", "auroc": "auroc.class@1"}[cell.metric]
    ]
    only = None if cell.metric == "f1.macro" else 1
    truth = _true_value(cell, rng)
    held = 0
    for _ in range(draws):
        probabilities, labels, groups = next(_classifiers(cell, cell.cases, cell.seeds, rng))
        interval = classification_interval(definition, probabilities, labels, groups=groups, only=only)
        held += interval.low is not None and interval.high is not None and interval.low <= truth <= interval.high
    return held / draws


def _classifiers(
    cell: RateCell, cases: int, seeds: int, rng: np.random.Generator
) -> Iterator[tuple[Floats, NDArray[np.int64], list[str]]]:
    """Probabilities (S, N, K) of classifiers that differ by seed, labels and groups."""
    n_classes = 3 if cell.metric == "f1.macro" else 2
    share = [0.5, 0.3, 0.2] if n_classes == 3 else [0.6, 0.4]
    while True:
        each = cases // 2 if cell.grouped else cases
        labels = rng.choice(n_classes, each, p=share)
        hard = rng.normal(0, 0.9, (each, n_classes))
        if cell.grouped:
            labels, hard = labels.repeat(2), hard.repeat(2, axis=0)
        skill = 1.2 + rng.normal(0, 0.15, (seeds, 1, 1))
        noise = rng.normal(0, 0.5, (seeds, len(labels), n_classes))
        odds = np.exp(skill * np.eye(n_classes)[labels] + hard + noise)
        groups = [f"g{i // (2 if cell.grouped else 1):06}" for i in range(len(labels))]
        yield odds / odds.sum(axis=2, keepdims=True), labels, groups


def _true_value(cell: RateCell, rng: np.random.Generator) -> float:
    values = []
    for _ in range(60):  # seeds differ, and the truth is their mean
        [probabilities], labels, _ = next(_classifiers(cell, _TRUTH_CASES, 1, rng))
        if cell.metric == "auroc":
            values.append(sk.roc_auc_score(labels, probabilities[:, 1]))
        else:
            average = "binary" if cell.metric == "f1.binary" else "macro"
            values.append(sk.f1_score(labels, probabilities.argmax(axis=1), average=average))
    return float(np.mean(values))


def tables(draws: int = 10_000, rate_draws: int = 1500) -> Iterator[str]:
    """The two tables, as Markdown, a line at a time."""
    yield "| cases | seed spread | seeds x cases | crossed | Satterthwaite | bootstrap over seeds |"
    yield "|:---|---:|:---|---:|---:|---:|"
    for cell in MEANS:
        shares = " | ".join(f"{100 * s:.1f}" for s in cover_mean(cell, draws, np.random.default_rng(0)))
        yield f"| {cell.cases_like} | {cell.seed_sd:g} | {cell.seeds} x {cell.cases} | {shares} |"
    yield ""
    yield "| metric | seeds x cases | single cases | groups of two |"
    yield "|:---|:---|---:|---:|"
    for metric, seeds, cases in dict.fromkeys(cell[:3] for cell in RATES):
        shares = [
            cover_rate(RateCell(metric, seeds, cases, grouped), rate_draws, np.random.default_rng(0))
            for grouped in (False, True)
        ]
        yield f"| {metric} | {seeds} x {cases} | {100 * shares[0]:.1f} | {100 * shares[1]:.1f} |"


if __name__ == "__main__":
    for line in tables():
        print(line, flush=True)
