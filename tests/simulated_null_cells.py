"""The rest of the tests that reports print, and the designs in which each is simulated (`simulated_null`)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulated_null import (
    ALPHA,
    RATES,
    Classes,
    Masks,
    NearEnd,
    NullCell,
    distances,
    found_by,
    pair_near_the_end,
    pair_of_distances,
    pair_of_means,
    pair_of_missed,
    pair_of_rates,
)
from simulated_repeats import Population, holdout, train
from usfm_bench.regression.baseline import Entry, metric_scores
from usfm_bench.regression.findings import judge
from usfm_bench.regression.match import Matched
from usfm_bench.regression.scores import Scores
from usfm_bench.stats import Contributions, Scored, holm, rank_models
from usfm_bench.stats.compare import p_beyond, two_sided_p
from usfm_bench.stats.components import difference_components, paired_components
from usfm_bench.stats.families import p_best
from usfm_bench.stats.intervals import paired_interval
from usfm_bench.stats.repeats import corrected_p
from usfm_bench.stats.unpaired import unpaired

Floats = NDArray[np.float64]
FEW_MISSED, FEW_CASES = 8, 40


class Family(NamedTuple):
    """Models on several data sets, of which each has one metric."""

    models: int
    places: int
    masks: Masks

    def p_values(self, rng: np.random.Generator) -> list[dict[tuple[int, int], tuple[float, float]]]:
        """Of each place: pair -> difference and its two-sided p value."""
        found = []
        for _ in range(self.places):
            scores, _, _ = self.masks.draw(rng, self.models)
            place = {}
            for i, j in combinations(range(self.models), 2):
                parts = difference_components(scores[i], scores[j])
                # What is not below 5 % alone is not after any correction either, and p takes time.
                place[i, j] = parts.mean, two_sided_p(parts) if found_by(parts) else 1.0
            found.append(place)
        return found

    def __str__(self) -> str:
        return f"{self.models} models, {self.places} data sets, {self.masks}"


def any_pair(family: Family, rng: np.random.Generator) -> bool:
    """All pairs by Holm, models alike: any finding is wrong."""
    return min(holm([p for place in family.p_values(rng) for _, p in place.values()])) <= ALPHA


def any_against(family: Family, rng: np.random.Generator) -> bool:
    """All models against one that was named before, by Holm."""
    return min(holm([p for place in family.p_values(rng) for pair, (_, p) in place.items() if 0 in pair])) <= ALPHA


def best_left_out(family: Family, rng: np.random.Generator) -> bool:
    """Models alike, so that each is the best: whether the first one is left out of those that may be, anywhere."""
    for place in family.p_values(rng):
        for (i, _), (difference, p) in place.items():
            if i == 0 and difference < 0 and p_best(p, family.models, family.places) <= ALPHA:
                return True
    return False


class Sets(NamedTuple):
    """Two sets of cases by the same networks."""

    seeds: int
    cases: tuple[int, int]
    both: float = 0.02
    """Spread of the networks on both sets."""
    apart: float = 0.0
    """Spread of what makes a network better on one set alone."""
    sds: tuple[float, float] = (0.2, 0.2)
    gamma: bool = False

    def draw(self, rng: np.random.Generator) -> list[Floats]:
        """(S, C) of each."""
        networks = rng.normal(0, self.both, (self.seeds, 1))
        found = []
        for n, sd in zip(self.cases, self.sds, strict=True):
            hard = sd * (1 - rng.gamma(1.0, 1.0, n)) if self.gamma else rng.normal(0, sd, n)
            own = rng.normal(0, self.apart, (self.seeds, 1))
            found.append(0.75 + hard + networks + own + rng.normal(0, 0.08, (self.seeds, n)))
        return found

    def __str__(self) -> str:
        apart = f", {self.apart:g} apart" * (self.apart > 0)
        spreads = "" if self.sds[0] == self.sds[1] else f", cases' spreads {self.sds[0]:g} and {self.sds[1]:g}"
        return f"{self.seeds} x {self.cases[0]} and {self.cases[1]}{apart}{spreads}{', skewed' * self.gamma}"


def drop(sets: Sets, rng: np.random.Generator) -> bool | None:
    """The same mean on both sets."""
    p = unpaired(*sets.draw(rng)).p_value()
    return None if p is None else p < ALPHA


def drop_of_distances(seeds: int, cases: tuple[int, int], missed: float, rng: np.random.Generator) -> bool | None:
    """HD95 of the same share of missed lesions on both sets."""
    networks = rng.normal(0, 0.1 * (seeds > 1), (seeds, 1))
    sides = [distances(seeds, n, missed, rng, networks) for n in cases]
    p = unpaired(*sides).p_value()
    return None if p is None else p < ALPHA


class Subgroups(NamedTuple):
    """Values of columns by which the cases of one model are split."""

    seeds: int
    sizes: tuple[int, ...]
    columns: int = 1
    apart: float = 0.0
    """Spread between networks of what makes one better on a value alone."""

    def __str__(self) -> str:
        columns = f", {self.columns} columns" * (self.columns > 1)
        return (
            f"{self.seeds} x {' + '.join(map(str, self.sizes))}{columns}{f', {self.apart:g} apart' * (self.apart > 0)}"
        )


def gap(design: Subgroups, rng: np.random.Generator) -> bool:
    """Best and worst value, by Bonferroni over pairs, and Holm over columns."""
    n = sum(design.sizes)
    scores = rng.normal(0, 0.2, n) + rng.normal(0, 0.02, (design.seeds, 1)) + rng.normal(0, 0.08, (design.seeds, n))
    found = []
    for _ in range(design.columns):
        values = rng.permutation(np.repeat(np.arange(len(design.sizes)), design.sizes))
        moved = scores + rng.normal(0, design.apart, (design.seeds, len(design.sizes)))[:, values]
        means = [moved[:, values == v].mean() for v in range(len(design.sizes))]
        best, worst = int(np.argmax(means)), int(np.argmin(means))
        p = unpaired(moved[:, values == best], moved[:, values == worst]).p_value() or 1.0
        found.append(min(1.0, p * len(means) * (len(means) - 1) / 2))
    return min(holm(found)) <= ALPHA


class Twice(NamedTuple):
    """The same networks on the same cases, twice: other images, or other code."""

    seeds: int
    cases: int
    apart: float
    """Spread between networks of what the second time does to each."""
    rest: float = 0.08
    patients: bool = False

    def draw(self, rng: np.random.Generator) -> tuple[Floats, np.ndarray]:
        """(S, C) differences of mean 0, and groups."""
        groups = np.repeat(np.arange(self.cases), rng.integers(1, 13, self.cases) if self.patients else 1)
        size = (self.seeds, len(groups))
        hard = rng.normal(0, 0.05, self.cases)[groups]
        return hard + rng.normal(0, self.apart, (self.seeds, 1)) + rng.normal(0, self.rest, size), groups

    def __str__(self) -> str:
        of = "patients of 1 to 12" if self.patients else "cases"
        return f"{self.seeds} x {self.cases} {of}{f', {self.apart:g} apart' * (self.apart > 0)}"


def judged(design: Twice, rng: np.random.Generator) -> bool | None:
    """What judges see in enhanced images: paired by network and case."""
    scores, groups = design.draw(rng)
    parts = paired_components(scores, groups)
    return found_by(parts)


def loss(design: Twice, rng: np.random.Generator) -> bool | None:
    """Robustness: the interval of the loss leaves 0 out."""
    scores, groups = design.draw(rng)
    found = paired_interval(scores, groups=groups)
    return None if found.low is None or found.high is None else not found.low <= 0 <= found.high


def gate_paired(design: Twice, rng: np.random.Generator) -> bool | None:
    """`check` of equal weights: a drop, one-sided."""
    scores, groups = design.draw(rng)
    parts = paired_components(scores, groups)
    return None if parts.none else p_beyond(parts, 0.0) < ALPHA


def repeated_holdouts(cases: int, seeds: int, repeats: int, anew: bool, rng: np.random.Generator) -> bool | None:
    """Two learners alike on random holdouts of one data set: given the splits, or trained anew."""
    population = Population(1.5, rng)
    x, labels = population.draw(cases, rng)
    right: list[list[Floats]] = [[], []]
    rows, folds = [], []
    for repeat in range(repeats):
        train_rows, test = holdout(labels, rng)
        for model in right:
            networks = [train(x[train_rows], labels[train_rows], rng) for _ in range(seeds)]
            model.append(np.stack([n.predict(x[test]) == labels[test] for n in networks]).astype(float))
        rows.append(test)
        folds.append(np.full(len(test), repeat))
    if anew:
        p = corrected_p(np.array([a.mean() - b.mean() for a, b in zip(*right, strict=True)]))
    else:
        a, b = (np.concatenate(model, axis=1) for model in right)
        parts = difference_components(a, b, np.concatenate(rows), folds=np.concatenate(folds))
        p = None if parts.none else two_sided_p(parts)
    return None if p is None else p < ALPHA


def friedman(datasets: int, models: int, nemenyi: bool, rng: np.random.Generator) -> bool | None:
    """Models alike over data sets: Friedman's test, or any pair by Nemenyi's."""
    groups = tuple(map(str, range(20)))
    table = {
        f"d{i}": {f"m{k}": Scored(rng.normal(0, 1, (2, 20)), groups) for k in range(models)} for i in range(datasets)
    }
    found = rank_models(table, higher_is_better=True, rng=rng, draws=2)
    if nemenyi:
        return None if found.nemenyi is None else bool((found.nemenyi < ALPHA).any())
    return None if found.friedman_p is None else found.friedman_p < ALPHA


def gate(seeds: int, cases: int, models: int, spreads: tuple[float, float], rng: np.random.Generator) -> bool:
    """`check` of a re-run with nothing changed, by DSC of some models: a regression, or a seed that diverged.

    Where trainings scatter more than before a seed may well have diverged: a regression of the mean alone is wrong.
    """
    design = Masks(seeds, cases, spreads, own=0.0)
    names = tuple(range(seeds))
    pairs = []
    for k in range(models):
        (old, new), groups, _ = design.draw(rng)
        before, after = ({"dsc.native@1": Contributions(x, groups, 0 * groups)} for x in (old, new))
        metrics = tuple(metric_scores(i, c) for i, c in before.items())
        entry = Entry.model_construct(dataset="d", model=str(k), seeds=names, metrics=metrics)
        pairs.append(Matched(entry, None, Scores(names, (), after), False))
    wrong = ("regression", "diverged") if spreads[0] == spreads[1] else ("regression",)
    return any(f.outcome in wrong for f in judge(pairs, lambda definition: 0.0))


CLASSES = [
    Classes(2, 14, 106),
    Classes(3, 14, 106),
    Classes(5, 14, 106),
    Classes(5, 5, 55),
    Classes(3, 14, 106, skill=2.5),
    Classes(3, 40, 60, (0.0, 0.8)),
    Classes(5, 8, 8, a_patient="1 to 12"),
    Classes(1, 14, 106, (0.0, 0.0)),
]
PAIR = "Pair of models"


def _pairs() -> Iterator[NullCell]:
    spreads = ((0.0, 0.0), (0.02, 0.02), (0.05, 0.05), (0.0, 0.05))
    masks = [Masks(*sizes, spread) for *sizes, spread in product((2, 3, 5), (40, 160, 400), spreads)]
    for seeds in (1, 2, 3, 5):
        own = (0.0, 0.0) if seeds == 1 else (0.02, 0.02)
        masks += [Masks(seeds, *rest) for rest in product((6, 10, 20), [own], ("equal", "1 to 12"))]
        masks += [Masks(seeds, cases, own, shape="gamma") for cases in (10, 40)]
        masks.append(Masks(seeds, 78, (0.0, 0.0) if seeds == 1 else (0.02, 0.05), folds=5))
    for design in masks:
        yield NullCell(PAIR, "DSC", str(design), partial(pair_of_means, design))
    shares = ((0.02, 0.02), (0.1, 0.1), (0.02, 0.0), (0.1, 0.05))
    for seeds, cases, missed in product((1, 3, 5), (30, 80, 160), shares):
        words = f"{seeds} x {cases} cases, {' and '.join(f'{100 * m:g}' for m in missed)} % missed"
        run = partial(pair_of_distances, seeds, cases, missed)
        yield NullCell(PAIR, "HD95", words, run, warned=cases * min(missed) < FEW_MISSED)
    for seeds, cases in product((1, 3, 5), (30, 80, 160)):
        design = Masks(seeds, cases, (0.0, 0.0) if seeds == 1 else (0.02, 0.02))
        words, run = f"{design}, 2 and 0 % missed", partial(pair_of_missed, design, 0.02)
        yield NullCell(PAIR, "DSC", words, run)
    for metric, of_classes in product(RATES, CLASSES):
        yield NullCell(PAIR, metric, str(of_classes), partial(pair_of_rates, of_classes, metric), draws=2000)


def _families() -> Iterator[NullCell]:
    tests = {"All pairs (Holm)": any_pair, "Against a named model (Holm)": any_against}
    tests["Who may be the best"] = best_left_out
    for (models, places), seeds in product(((2, 2), (5, 2), (12, 2), (5, 8)), (2, 3, 5)):
        family = Family(models, places, Masks(seeds, 80))
        for test, finds in tests.items():
            yield NullCell(test, "DSC", str(family), partial(finds, family), draws=400 if models == 12 else 1600)
    for datasets, models, nemenyi in product((2, 3, 5, 10), (3, 10), (False, True)):
        name = "Any pair of ranks (Nemenyi)" if nemenyi else "Ranks (Friedman)"
        run = partial(friedman, datasets, models, nemenyi)
        yield NullCell(name, "any", f"{models} models on {datasets} data sets", run, draws=2000)
    for (cases, seeds, repeats), anew in product(((60, 3, 10), (120, 2, 10), (120, 3, 5), (300, 2, 3)), (False, True)):
        name = "Repeats, networks trained anew" if anew else "Repeats, given the splits"
        run = partial(repeated_holdouts, cases, seeds, repeats, anew)
        yield NullCell(name, "ACC", f"{repeats} holdouts of {cases} cases, {seeds} seeds", run, draws=1500)


def _sets() -> Iterator[NullCell]:
    sizes = ((40, 40), (60, 250), (160, 400))
    sets = [Sets(*rest) for rest in product((2, 3, 5), sizes, (0.02,), (0.0, 0.02, 0.05))]
    sets += [Sets(1, cases) for cases in sizes]
    sets += [Sets(*rest, gamma=True) for rest in product((1, 3, 5), ((10, 250), (20, 250), (40, 250), (80, 250)))]
    for design in sets:
        few = design.gamma and min(design.cases) < FEW_CASES
        yield NullCell("Drop on another data set", "DSC", str(design), partial(drop, design), warned=few)
    for seeds, values, columns in product((1, 3, 5), ((8, 100), (8, 8, 8), (30,) * 5), (1, 3)):
        of = Subgroups(seeds, values, columns, 0.0 if seeds == 1 else 0.02)
        yield NullCell("Gap between subgroups", "DSC", str(of), partial(gap, of), draws=2000)
    for seeds, cases, apart in product((1, 2, 3, 5), (10, 40, 160, 640), (0.0, 0.01, 0.02, 0.05)):
        if seeds > 1 or not apart:
            twice = Twice(seeds, cases, apart)
            yield NullCell("Same networks, other images", "DSC", str(twice), partial(judged, twice))
    for seeds, cases, apart in product((1, 2, 3, 5), (10, 160), (0.0, 0.02)):
        if seeds > 1 or not apart:
            twice = Twice(seeds, cases, apart, patients=True)
            yield NullCell("Loss to corruptions (interval)", "DSC", str(twice), partial(loss, twice))
            yield NullCell("Gate, equal weights", "DSC", str(twice), partial(gate_paired, twice))
    for seeds, models, spread in product((2, 3, 5, 10), (2, 12), ((0.02, 0.02), (0.02, 0.05))):
        run = partial(gate, seeds, 60, models, spread)
        words = f"{seeds} x 60, {models} tests" + ", spread 2.5 times as large" * (spread[0] < spread[1])
        yield NullCell("Gate, re-run", "DSC", words, run, draws=8000 if models == 2 else 2000)


def _distant() -> Iterator[NullCell]:
    for seeds, cases, missed in product((1, 3, 5), ((40, 40), (40, 250), (160, 400)), (0.02, 0.1)):
        words = f"{seeds} x {cases[0]} and {cases[1]}, {100 * missed:g} % missed"
        run = partial(drop_of_distances, seeds, cases, missed)
        yield NullCell("Drop on another data set", "HD95", words, run, warned=missed * min(cases) < FEW_MISSED)


def _near_the_end() -> Iterator[NullCell]:
    for seeds, (place, spread) in product((2, 3, 5), ((1.3, 0.46), (1.8, 0.46), (2.3, 0.46), (2.3, 0.8))):
        near = NearEnd(seeds, place, spread)
        yield NullCell(PAIR, "DSC", str(near), partial(pair_near_the_end, near), warned=True)


CELLS = [*_pairs(), *_families(), *_sets(), *_distant(), *_near_the_end()]
