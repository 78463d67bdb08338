"""Simulated coverage of the intervals: `make coverage` prints docs/interval-coverage.md's tables."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from sklearn import metrics as sk

from simulated_edges import edge_tables
from usfm_bench.metrics.definitions import DEFINITIONS
from usfm_bench.stats.components import variance_components
from usfm_bench.stats.intervals import crossed_interval, interval_of
from usfm_bench.stats.of_classes import classification_interval
from usfm_bench.stats.reweighted import at_prevalence, reweighted_interval

Floats = NDArray[np.float64]
_CASE_SD, _REST_SD, _MEAN = 0.2, 0.08, 0.75
_HARD_SD, _NOISE_SD = 0.9, 0.5
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

    metric: Literal["f1.binary", "f1.macro", "auroc", "sen.binary"]
    seeds: int
    cases: int
    grouped: bool
    """Cases come in groups of two that are alike."""

    def __str__(self) -> str:
        return f"{self.metric}-{self.seeds}x{self.cases}{'-grouped' * self.grouped}"


class TailCell(NamedTuple):
    """One setting of HD95: long-tailed, and the image diagonal where a lesion is missed."""

    missed: float
    """Share of the lesions that are missed: half of the seeds miss a lesion that is hard to find."""
    seeds: int
    cases: int

    def __str__(self) -> str:
        return f"missed{self.missed:g}-{self.seeds}x{self.cases}"


class FoldCell(NamedTuple):
    """One setting of five folds: networks of their own in each."""

    seeds: int
    cases: int
    seed_sd: float

    def __str__(self) -> str:
        return f"folds-{self.seeds}x{self.cases}-{self.seed_sd:g}"


class ShiftCell(NamedTuple):
    """One setting of F1 at a prevalence that is not the test set's own."""

    lean: float
    """Of the decisions to the negative class: 0: SEN and SPEC 83 %; 1.3: 41 and 98 %."""
    share: float
    """Of positive cases in the population that the test set is drawn from."""
    seeds: int
    cases: int
    grouped: bool

    def __str__(self) -> str:
        return f"lean{self.lean:g}-{self.share:g}-{self.seeds}x{self.cases}{'-grouped' * self.grouped}"


TAILS = [
    TailCell(missed, seeds, cases) for missed, seeds, cases in product((0.0, 0.02, 0.05, 0.1), (3, 5), (30, 78, 156))
]
FOLDS = [FoldCell(seeds, cases, sd) for sd in (0.0, 0.02, 0.05) for seeds in (1, 3, 5) for cases in (78, 156)]
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


ONE_SEED = [RateCell("sen.binary", 1, cases, grouped) for cases in (78, 156) for grouped in (False, True)]
"""Wilson's interval, over cases, of one network."""


SHIFTS = [
    ShiftCell(lean, share, seeds, cases, grouped)
    for lean, share, seeds, cases, grouped in product((0.0, 1.3), (0.3, 0.1), (3, 5), (150, 300, 600), (False, True))
]
SHIFTED = [(metric, p) for metric in ("F1", "F1 macro") for p in (0.05, 0.1, 0.2, 0.5)]
"""Metrics and prevalences."""


def cover_shift(cell: ShiftCell, draws: int, rng: np.random.Generator) -> list[float]:
    """Coverage of the jackknife interval for each of `SHIFTED`; the truth is the mean over 200,000 seeds."""
    skill, lean = _networks(cell, 200_000, rng)
    sd = float(np.hypot(_HARD_SD, _NOISE_SD))
    sen, spec = ndtr((skill - lean) / sd), ndtr((skill + lean) / sd)
    truths = [float(at_prevalence(metric, sen, spec, p).mean()) for metric, p in SHIFTED]
    held = np.zeros(len(SHIFTED))
    for _ in range(draws):
        decisions, labels, groups = _draw_decisions(cell, rng)
        found = [reweighted_interval(metric, decisions, labels, p, groups=groups) for metric, p in SHIFTED]
        held += [
            i.low is not None and i.high is not None and i.low <= truth <= i.high
            for i, truth in zip(found, truths, strict=True)
        ]
    return [float(share) for share in held / draws]


def _networks(cell: ShiftCell, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(n, 1) how well each tells classes apart, and how much it leans to the negative one."""
    return 1 + rng.normal(0, 0.15, (n, 1)), cell.lean + rng.normal(0, 0.2, (n, 1))


def _draw_decisions(
    cell: ShiftCell, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """(S, N), (N,) and (N,) groups."""
    times = 2 if cell.grouped else 1
    groups = np.arange(cell.cases // times).repeat(times)
    labels = (rng.random(cell.cases // times) < cell.share)[groups]
    hard = rng.normal(0, _HARD_SD, cell.cases // times)[groups]
    skill, lean = _networks(cell, cell.seeds, rng)
    noise = rng.normal(0, _NOISE_SD, (cell.seeds, len(labels)))
    return np.asarray(np.where(labels, skill, -skill) - lean + hard + noise > 0), labels, groups


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
        interval = interval_of(parts)
        assert interval.low is not None
        assert interval.high is not None
        held += [
            interval.low <= _MEAN <= interval.high,
            error <= parts.half_width(0.975, "satterthwaite"),
            low <= _MEAN <= high,
        ]
    return MeanCoverage(*(held / draws).tolist())


def cover_tail(cell: TailCell, draws: int, rng: np.random.Generator) -> float:
    """Coverage of the crossed interval of a mean distance; the truth is a mean over 60 seeds of 20,000 cases each."""
    truth = np.mean([_draw_distances(cell.missed, 1, _TRUTH_CASES, rng).mean() for _ in range(60)])
    held = 0
    for _ in range(draws):
        found = crossed_interval(_draw_distances(cell.missed, cell.seeds, cell.cases, rng), bounds=(0.0, np.inf))
        held += found.low is not None and found.high is not None and bool(found.low <= truth <= found.high)
    return held / draws


def _draw_distances(missed: float, seeds: int, cases: int, rng: np.random.Generator) -> Floats:
    """(S, C) pixels: lognormal around 12; 700, the image diagonal, where the lesion is missed."""
    size = (seeds, cases)
    logs = np.log(12) + rng.normal(0, 0.7, cases) + rng.normal(0, 0.3, size) + rng.normal(0, 0.1, (seeds, 1))
    hidden = rng.random(cases) < 2 * missed
    return np.where((rng.random(size) < 0.5) & hidden, 700.0, np.exp(logs))


def cover_folds(cell: FoldCell, draws: int, rng: np.random.Generator) -> float:
    """Coverage over five folds, whose networks are drawn apart; for one seed, of these networks' own mean."""
    folds = np.arange(cell.cases) % 5
    held = 0
    for _ in range(draws):
        networks = rng.normal(0, cell.seed_sd, (cell.seeds, 5))
        easy = rng.normal(0, _CASE_SD, cell.cases)
        scores = _MEAN + easy + networks[:, folds] + rng.normal(0, _REST_SD, (cell.seeds, cell.cases))
        truth = _MEAN + (networks[0, folds].mean() if cell.seeds == 1 else 0.0)
        found = crossed_interval(scores, folds=folds.tolist())
        held += found.low is not None and found.high is not None and bool(found.low <= truth <= found.high)
    return held / draws


def cover_rate(cell: RateCell, draws: int, rng: np.random.Generator) -> float:
    """Coverage of the jackknife interval; the truth is the mean over 60 seeds of the metric on 20,000 cases."""
    definition = DEFINITIONS[
        {"f1.binary": "f1.class@1", "f1.macro": "f1.macro@1", "auroc": "auroc.class@2", "sen.binary": "sen.class@1"}[
            cell.metric
        ]
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
        spread = 0.15 if cell.seeds > 1 else 0.0  # the interval of one seed is for that network
        skill = 1.2 + rng.normal(0, spread, (seeds, 1, 1))
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
        elif cell.metric == "sen.binary":
            values.append(sk.recall_score(labels, probabilities.argmax(axis=1)))
        else:
            average = "binary" if cell.metric == "f1.binary" else "macro"
            values.append(sk.f1_score(labels, probabilities.argmax(axis=1), average=average))
    return float(np.mean(values))


def tables(draws: int = 10_000, rate_draws: int = 1500) -> Iterator[str]:
    """The tables, as Markdown, a line at a time."""
    yield "| cases | seed spread | seeds x cases | crossed | Satterthwaite | bootstrap over seeds |"
    yield "|:---|---:|:---|---:|---:|---:|"
    for cell in MEANS:
        shares = " | ".join(f"{100 * s:.1f}" for s in cover_mean(cell, draws, np.random.default_rng(0)))
        yield f"| {cell.cases_like} | {cell.seed_sd:g} | {cell.seeds} x {cell.cases} | {shares} |"
    yield ""
    yield "| metric | seeds x cases | single cases | groups of two |"
    yield "|:---|:---|---:|---:|"
    for metric, seeds, cases in dict.fromkeys(cell[:3] for cell in [*RATES, *ONE_SEED]):
        shares = [
            cover_rate(RateCell(metric, seeds, cases, grouped), rate_draws, np.random.default_rng(0))
            for grouped in (False, True)
        ]
        yield f"| {metric} | {seeds} x {cases} | {100 * shares[0]:.1f} | {100 * shares[1]:.1f} |"
    yield ""
    yield "| seeds x cases | none missed | 2 % | 5 % | 10 % |"
    yield "|:---|---:|---:|---:|---:|"
    for seeds, cases in dict.fromkeys(cell[1:] for cell in TAILS):
        shares = [
            f"{100 * cover_tail(TailCell(missed, seeds, cases), draws // 2, np.random.default_rng(0)):.1f}"
            for missed in (0.0, 0.02, 0.05, 0.1)
        ]
        yield f"| {seeds} x {cases} | {' | '.join(shares)} |"
    yield ""
    yield "| seeds x cases | seed spread 0 | 0.02 | 0.05 |"
    yield "|:---|---:|---:|---:|"
    for seeds, cases in dict.fromkeys(cell[:2] for cell in FOLDS):
        shares = [
            f"{100 * cover_folds(FoldCell(seeds, cases, sd), draws // 2, np.random.default_rng(0)):.1f}"
            for sd in (0.0, 0.02, 0.05)
        ]
        yield f"| {seeds} x {cases} | {' | '.join(shares)} |"
    yield ""
    yield from shift_table(draws // 10)
    yield ""
    yield from edge_tables(draws // 10)


def shift_table(draws: int) -> Iterator[str]:
    """The table of F1 at other prevalences, as Markdown, a line at a time; grouped cases behind the slash."""
    headings = [f"{'macro, ' * (metric != 'F1')}{100 * p:g} %" for metric, p in SHIFTED]
    yield f"| SEN, SPEC | own | seeds x cases | {' | '.join(headings)} |"
    yield f"|:---|---:|:---|{'---:|' * len(headings)}"
    for lean, share, seeds, cases in dict.fromkeys(cell[:4] for cell in SHIFTS):
        single, grouped = (
            cover_shift(ShiftCell(lean, share, seeds, cases, g), draws, np.random.default_rng(0)) for g in (False, True)
        )
        shares = " | ".join(f"{100 * a:.1f} / {100 * b:.1f}" for a, b in zip(single, grouped, strict=True))
        yield f"| {'41, 98' if lean else '83, 83'} | {100 * share:g} | {seeds} x {cases} | {shares} |"


if __name__ == "__main__":
    for line in tables():
        print(line, flush=True)
