"""Coverage over repeated holdouts, for new cases and for networks trained anew, with a learner that trains in no time.

The learner is a linear discriminant on random features: training set, seed and test cases all move its score.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.definitions import DEFINITIONS
from usfm_bench.specs.split import TEST, VAL
from usfm_bench.stats import Interval, classification_interval, compare
from usfm_bench.stats.repeats import corrected_interval, corrected_p

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_CLASSES, _INPUTS, _FEATURES, _FRESH, _SEEDS = 3, 16, 10, 3000, 6
_SHARES = np.array([0.2, 0.3, 0.5])


class Cell(NamedTuple):
    """A data set, a training side of it, and how often both are drawn."""

    cases: int
    part: float
    """Of the training side, drawn anew by each repeat and seed; 1: all of it."""
    seeds: int
    repeats: int
    skill: float
    """Distance of the class means."""

    def __str__(self) -> str:
        return f"{self.cases}x{self.part:g}-{self.seeds}-{self.repeats}-{self.skill:g}"


CELLS = [
    Cell(60, 1, 3, 10, 1.5),
    Cell(120, 1, 3, 10, 1.5),
    Cell(120, 1, 1, 10, 1.5),
    Cell(120, 1, 3, 5, 1.5),
    Cell(300, 1, 3, 10, 1.5),
    Cell(780, 1, 3, 10, 1.5),
    Cell(780, 0.05, 3, 10, 1.5),
    Cell(300, 1, 3, 10, 3.5),
]


class Found(NamedTuple):
    """Of many draws, in shares; widths are means."""

    given: float
    """The interval of these networks holds the mean score of these training sets."""
    given_width: float
    given_anew: float
    """It holds that of training sets drawn anew, which it does not claim to."""
    single_anew: float
    """The interval of the first holdout alone holds that."""
    anew: float
    """Nadeau and Bengio's holds that."""
    anew_width: float
    plain: float
    """The t interval of the repeats as if they were independent holds that."""
    nested: float
    """That of nested cross-validation holds the mean score of networks trained on as many cases as there are."""
    nested_own: float
    """It holds that of the network trained on all these very cases, which it is made for."""
    nested_width: float
    wrong_given: float
    """p < 5 % of two learners alike, by the comparison given the splits."""
    wrong_anew: float
    """p < 5 % of the same, by the corrected test."""


class Population:
    """Classes of normal cases around random means."""

    def __init__(self, skill: float, rng: np.random.Generator) -> None:
        directions = rng.normal(size=(_CLASSES, _INPUTS))
        self.means = skill * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        self.fresh = self.draw(_FRESH, rng)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
        """(n, inputs) and (n,) classes in fixed shares, as a stratified split has them."""
        labels = np.repeat(np.arange(_CLASSES), np.round(_SHARES * n).astype(int))
        return self.means[labels] + rng.normal(size=(len(labels), _INPUTS)), labels


class Network(NamedTuple):
    """A linear discriminant of some of the inputs, mixed at random."""

    mix: Floats
    weights: Floats
    offsets: Floats

    def predict(self, x: Floats) -> Ints:
        """(n,) classes."""
        return np.asarray((np.tanh(x @ self.mix) @ self.weights + self.offsets).argmax(axis=1), np.int64)


def train(x: Floats, labels: Ints, rng: np.random.Generator) -> Network:
    """The discriminant with a pooled, slightly shrunken covariance; the generator is the seed."""
    mix = rng.normal(size=(_INPUTS, _FEATURES)) / _INPUTS**0.5
    features = np.tanh(x @ mix)
    means = np.stack([features[labels == k].mean(axis=0) for k in range(_CLASSES)])
    rest = features - means[labels]
    covariance = rest.T @ rest / len(rest) + 0.02 * np.eye(_FEATURES)
    weights = np.linalg.solve(covariance, means.T)
    return Network(mix, weights, np.log(_SHARES) - 0.5 * (means * weights.T).sum(axis=1))


def holdout(labels: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Training and test rows, stratified; what is held out for validation is used for nothing."""
    sides: tuple[list[Ints], list[Ints]] = ([], [])
    for k in range(_CLASSES):
        rows = rng.permutation(np.flatnonzero(labels == k))
        n_test, n_val = round(TEST * len(rows)), round(VAL * len(rows))
        sides[1].append(rows[:n_test])
        sides[0].append(rows[n_test + n_val :])
    return np.concatenate(sides[0]), np.concatenate(sides[1])


def part_of(rows: Ints, labels: Ints, share: float, rng: np.random.Generator) -> Ints:
    """A stratified part of training rows, two of each class at least."""
    if share == 1:
        return rows
    own = [rng.permutation(rows[labels[rows] == k]) for k in range(_CLASSES)]
    return np.concatenate([of[: max(2, round(share * len(of)))] for of in own])


def nested_cv(x: Floats, labels: Ints, rng: np.random.Generator, *, folds: int = 5, times: int = 6) -> Interval:
    """Accuracy by nested cross-validation: Bates, Hastie and Tibshirani (2023), doi:10.1080/01621459.2023.2197686.

    The mean squared error of the cross-validated estimate is (estimate inside - hold-out mean)^2 less the hold-out
    mean's own variance, over all folds; the standard error is kept between the naive one and sqrt(K) of it.
    """
    gaps, noise, inside, outside = [], [], [], []
    for _ in range(times):
        fold = np.empty(len(labels), np.int64)
        for k in range(_CLASSES):
            rows = rng.permutation(np.flatnonzero(labels == k))
            fold[rows] = np.arange(len(rows)) % folds
        wrong = np.full((folds, folds, len(labels)), np.nan)  # [i, j]: without folds i and j
        for i in range(folds):
            for j in range(i, folds):
                kept = (fold != i) & (fold != j)
                found = train(x[kept], labels[kept], rng).predict(x) != labels
                wrong[i, j] = wrong[j, i] = found
        for i in range(folds):
            own = wrong[i, i, fold == i]
            others = np.concatenate([wrong[i, j, fold == j] for j in range(folds) if j != i])
            gaps.append((others.mean() - own.mean()) ** 2)
            noise.append(own.var(ddof=1) / len(own))
            inside.append(others.mean())
            outside.append(own)
    all_out = np.concatenate(outside)
    error, plain = float(np.mean(inside)), float(all_out.mean())
    naive = float(all_out.std(ddof=1)) / len(labels) ** 0.5
    scaled = ((folds - 1) / folds * max(0.0, float(np.mean(gaps) - np.mean(noise)))) ** 0.5
    half = 1.96 * min(max(scaled, naive), folds**0.5 * naive)
    point = 1 - (error - (1 + (folds - 2) / folds) * (error - plain))
    return Interval(point, point - half, point + half)


class _Draw(NamedTuple):
    given: Interval
    single: Interval
    means: Floats
    """(R,) accuracy by repeat."""
    truth_given: float
    """Of these training sets, mean over seeds drawn anew."""
    truths: Floats
    """Of each network."""
    nested: Interval
    nested_own: float
    p_given: float | None
    p_anew: float | None


def _intervals(right: Floats, cases: Ints, repeats: Ints) -> tuple[Interval, Interval]:
    """Given all splits, and given the first alone; by the function that reports use."""
    accuracy, once = DEFINITIONS["acc@1"], repeats == 0
    # Accuracy as a report has it: of two classes, right and wrong.
    said = np.stack([1 - right, right], axis=-1)
    truth = np.ones(len(cases), np.int64)
    return (
        classification_interval(accuracy, said, truth, groups=cases, folds=repeats, repeats=repeats),
        classification_interval(accuracy, said[:, once], truth[once], groups=cases[once]),
    )


def _draw(cell: Cell, population: Population, rng: np.random.Generator, *, nested: bool) -> _Draw:
    x, labels = population.draw(cell.cases, rng)
    fresh, fresh_labels = population.fresh
    scores: list[list[Floats]] = [[], []]  # of two learners alike: (seeds, test cases) by repeat
    cases, repeats, truths, given = [], [], [], []
    for repeat in range(cell.repeats):
        rows, tested = holdout(labels, rng)
        for learner in scores:
            networks = []
            for _ in range(cell.seeds):
                part = part_of(rows, labels, cell.part, rng)
                networks.append(train(x[part], labels[part], rng))
            learner.append(np.stack([net.predict(x[tested]) == labels[tested] for net in networks]).astype(float))
            if learner is scores[0]:
                own = [float((net.predict(fresh) == fresh_labels).mean()) for net in networks]
                truths.append(own)
                more = []
                for _ in range(_SEEDS):
                    part = part_of(rows, labels, cell.part, rng)
                    net = train(x[part], labels[part], rng)
                    more.append(float((net.predict(fresh) == fresh_labels).mean()))
                given.append(float(np.mean(more)))
        cases.append(tested)
        repeats.append(np.full(len(tested), repeat))
    who, when = np.concatenate(cases), np.concatenate(repeats)
    a, b = (np.concatenate(learner, axis=1) for learner in scores)
    means, others = (np.array([of.mean() for of in learner]) for learner in scores)
    of_all, single = _intervals(a, who, when)
    own = [float((train(x, labels, rng).predict(fresh) == fresh_labels).mean()) for _ in range(_SEEDS)]
    return _Draw(
        of_all,
        single,
        means,
        float(np.mean(given)),
        np.array(truths),
        nested_cv(x, labels, rng) if nested else Interval(np.nan, None, None),
        float(np.mean(own)),
        compare(a, b, groups=who, folds=when).p_value,
        corrected_p(means - others),
    )


def cover_repeats(cell: Cell, *, draws: int, rng: np.random.Generator, nested: bool = True) -> Found:
    """Simulate one cell: one population, `draws` data sets of it."""
    population = Population(cell.skill, rng)
    found = [_draw(cell, population, rng, nested=nested) for _ in range(draws)]
    anew, whole = float(np.mean([d.truths for d in found])), float(np.mean([d.nested_own for d in found]))
    corrected = [corrected_interval(d.means, bounds=(0, 1)) for d in found]
    plain = [corrected_interval(d.means, ratio=0.0) for d in found]
    return Found(
        given=_held([d.given for d in found], [d.truth_given for d in found]),
        given_width=_width([d.given for d in found]),
        given_anew=_held([d.given for d in found], [anew] * draws),
        single_anew=_held([d.single for d in found], [anew] * draws),
        anew=_held(corrected, [anew] * draws),
        anew_width=_width(corrected),
        plain=_held(plain, [anew] * draws),
        nested=_held([d.nested for d in found], [whole] * draws),
        nested_own=_held([d.nested for d in found], [d.nested_own for d in found]),
        nested_width=_width([d.nested for d in found]),
        wrong_given=_below([d.p_given for d in found]),
        wrong_anew=_below([d.p_anew for d in found]),
    )


def _held(intervals: list[Interval], truths: list[float]) -> float:
    return float(
        np.mean([i.low is not None and i.low <= t <= (i.high or 0) for i, t in zip(intervals, truths, strict=True)])
    )


def _width(intervals: list[Interval]) -> float:
    widths = [i.high - i.low for i in intervals if i.low is not None and i.high is not None]
    return float(np.mean(widths)) if widths else float("nan")


def _below(p_values: list[float | None]) -> float:
    return float(np.mean([p is not None and p < 0.05 for p in p_values]))


def repeats_table(*, draws: int, rng: np.random.Generator) -> list[str]:
    """The lines of the table in docs/intervals.md."""
    head = "| cases | trained on | seeds x repeats | accuracy | given: covers | width | given, as if anew "
    head += "| one holdout, as if anew | anew: covers | width | t, uncorrected | nested: mean | nested: these cases "
    head += "| width | p given | p anew |"
    lines = [head, "|---:|---:|:---|" + "---:|" * 13]
    for cell in CELLS:
        rng_cell = np.random.default_rng(rng.integers(2**32))
        accuracy = _accuracy(cell, np.random.default_rng(0))
        f = cover_repeats(cell, draws=draws, rng=rng_cell)
        trained = round(cell.cases * (1 - TEST - VAL) * cell.part)
        shown = [accuracy, f.given, f.given_width, f.given_anew, f.single_anew, f.anew, f.anew_width, f.plain]
        shown += [f.nested, f.nested_own, f.nested_width, f.wrong_given, f.wrong_anew]
        figures = " | ".join(f"{100 * value:.1f}" for value in shown)
        lines.append(f"| {cell.cases} | {trained} | {cell.seeds} x {cell.repeats} | {figures} |")
    return lines


def _accuracy(cell: Cell, rng: np.random.Generator) -> float:
    population = Population(cell.skill, rng)
    found = [_draw(cell, population, rng, nested=False).truths.mean() for _ in range(5)]
    return float(np.mean(found))


if __name__ == "__main__":
    print("\n".join(repeats_table(draws=400, rng=np.random.default_rng(2026))))
