"""How often `check` errs, and what it finds: simulated re-runs of a suite with the same cases and other networks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics import DEFINITIONS
from usfm_bench.regression.baseline import Entry, metric_scores
from usfm_bench.regression.findings import Finding, judge
from usfm_bench.regression.match import Matched
from usfm_bench.regression.scores import Scores
from usfm_bench.stats.contributions import Contributions, class_contributions

Floats = NDArray[np.float64]
_CASES = 40
_WORSE = ("regression", "diverged")
_GROUPS, _FOLDS = np.arange(_CASES), np.zeros(_CASES, np.int64)


class Suite(NamedTuple):
    """What two models find hard on lesions, and one on classes; a run draws networks anew."""

    seeds: int
    hard: Floats
    """(2, C)."""
    labels: NDArray[np.int64]
    classes: Floats
    """(C, 3)."""

    def run(
        self, rng: np.random.Generator, drop: dict[str, float] | None = None, left: float = 1.0
    ) -> list[dict[str, Contributions]]:
        """Headline metrics of three models.

        Args:
            rng: of the networks.
            drop: by how much the first model is worse.
            left: share of its Dice that is left to the first model's last seed, whose training diverged.
        """
        drop = drop or {}
        found = []
        for k, hard in enumerate(self.hard):
            quality = rng.normal(0, 0.02, (self.seeds, 1)) + rng.normal(0, 0.08, (self.seeds, _CASES))
            dice = 0.75 + hard + quality - (drop.get("DSC", 0.0) if k == 0 else 0.0)
            if k == 0:
                dice[-1] *= left
            missed = (rng.random((self.seeds, _CASES)) < 0.5) & (hard < np.quantile(hard, 0.1))
            distance = np.where(missed, 700.0, np.exp(2.5 - 3 * hard - 3 * quality))
            distance = distance + (drop.get("HD95", 0.0) if k == 0 else 0.0)
            scores = {"dsc.native@1": dice, "hd95.pooled.native.px@1": distance}
            found.append({i: Contributions(x, _GROUPS, _FOLDS) for i, x in scores.items()})
        skill = 1.2 + rng.normal(0, 0.15, (self.seeds, 1, 1))
        noise = rng.normal(0, 0.5, (self.seeds, _CASES, 3))
        odds = np.exp(skill * np.eye(3)[self.labels] + self.classes + noise)
        probabilities = odds / odds.sum(axis=2, keepdims=True)
        of_classes = {
            i: class_contributions(DEFINITIONS[i], probabilities, self.labels, _GROUPS, _FOLDS)
            for i in ("acc@1", "f1.macro@1")
        }
        return [*found, {i: c for i, c in of_classes.items() if c is not None}]


def draw_suite(seeds: int, rng: np.random.Generator) -> Suite:
    """Cases of some difficulty."""
    hard = rng.normal(0, 0.2, (2, _CASES))
    return Suite(seeds, hard, rng.permutation(_CASES) % 3, rng.normal(0, 0.9, (_CASES, 3)))


def findings(
    suite: Suite,
    old: list[dict[str, Contributions]],
    new: list[dict[str, Contributions]],
    same_networks: bool = False,
) -> list[Finding]:
    """What `check` says of a re-run."""
    pairs = []
    for k, (before, after) in enumerate(zip(old, new, strict=True)):
        entry = Entry.model_construct(
            dataset="d",
            model=str(k),
            seeds=tuple(range(suite.seeds)),
            metrics=tuple(metric_scores(i, c) for i, c in before.items()),
        )
        pairs.append(Matched(entry, None, Scores(entry.seeds, (), dict(after)), same_networks))
    return judge(pairs, lambda definition: 0.0)


def errors(seeds: int, reruns: int, rng: np.random.Generator, outcomes: tuple[str, ...] = _WORSE) -> float:
    """Share of re-runs with nothing changed in which anything is called a regression, or a seed diverged."""
    wrong = 0
    for _ in range(reruns):
        suite = draw_suite(seeds, rng)
        wrong += any(f.outcome in outcomes for f in findings(suite, suite.run(rng), suite.run(rng)))
    return wrong / reruns


def divergences(seeds: int, reruns: int, left: float, rng: np.random.Generator) -> float:
    """Share of re-runs in which a seed that lost most of its Dice is named, and no other."""
    found = 0
    for _ in range(reruns):
        suite = draw_suite(seeds, rng)
        first = findings(suite, suite.run(rng), suite.run(rng, left=left))[0]
        found += (first.outcome, first.reason) == ("diverged", f"seed {seeds - 1} diverged")
    return found / reruns


def inference_changes(seeds: int, reruns: int, loss: float, rng: np.random.Generator) -> tuple[float, float]:
    """Share of re-runs in which a loss of each case, by the same networks, is found: by paired seeds, and without."""
    found = np.zeros(2)
    for _ in range(reruns):
        suite = draw_suite(seeds, rng)
        old = suite.run(rng)
        changed = old[0]["dsc.native@1"]
        values = changed.values - loss + rng.normal(0, 0.02, changed.values.shape)
        new = [{**old[0], "dsc.native@1": changed._replace(values=values)}, *old[1:]]
        found += [findings(suite, old, new, paired)[0].outcome == "regression" for paired in (True, False)]
    return float(found[0] / reruns), float(found[1] / reruns)


def power(seeds: int, reruns: int, rng: np.random.Generator, times: float = 2.0) -> dict[str, float]:
    """Share of re-runs in which a multiple of the mean detectable drop is found, of DSC and of HD95."""
    suites = [draw_suite(seeds, rng) for _ in range(reruns)]
    found = {}
    for name in ("DSC", "HD95"):
        first = [
            next(f for f in findings(s, s.run(rng), s.run(rng)) if f.definition.name == name) for s in suites[:100]
        ]
        drop = times * float(np.mean([f.detectable for f in first if f.detectable is not None]))
        hits = 0
        for suite in suites:
            each = findings(suite, suite.run(rng), suite.run(rng, {name: drop}))
            hits += next(f for f in each if f.definition.name == name).outcome == "regression"
        found[name] = hits / reruns
    return found


class DropCell(NamedTuple):
    """One design of a check: a drop of the mean Dice of one of several models."""

    seeds: int
    cases: int
    points: float
    tests: int
    """Models, whose Dice is tested each; one of them is worse."""
    seed_sd: float = 0.008
    rest_sd: float = 0.08
    """Of a case's Dice between networks, beside what makes networks better or worse for all cases."""

    def __str__(self) -> str:
        return f"{self.seeds}x{self.cases}-{self.points:g}-{self.tests}-{self.seed_sd:g}-{self.rest_sd:g}"


DROPS = [
    DropCell(seeds, cases, points, tests, *spreads)
    for spreads in ((0.008, 0.08), (0.008, 0.2), (0.035, 0.11))
    for seeds in (3, 5)
    for cases in (40, 130)
    for points in (5, 10)
    for tests in (2, 12)
]


def power_of_drop(cell: DropCell, reruns: int, rng: np.random.Generator) -> float:
    """Share of re-runs in which the drop is called a regression, by Holm over all tests.

    The standard deviation between cases of what all networks share is 0.2.
    """
    ident, hits = "dsc.native@1", 0
    groups, folds = np.arange(cell.cases), np.zeros(cell.cases, np.int64)
    names = tuple(range(cell.seeds))

    def run(hard: Floats, lost: float) -> dict[str, Contributions | None]:
        networks = rng.normal(0, cell.seed_sd, (cell.seeds, 1)) + rng.normal(0, cell.rest_sd, (cell.seeds, cell.cases))
        return {ident: Contributions(0.75 + hard + networks - lost, groups, folds)}

    for _ in range(reruns):
        pairs = []
        for k in range(cell.tests):
            hard = rng.normal(0, 0.2, cell.cases)
            metrics = tuple(metric_scores(i, c) for i, c in run(hard, 0.0).items())
            entry = Entry.model_construct(dataset="d", model=str(k), seeds=names, metrics=metrics)
            pairs.append(Matched(entry, None, Scores(names, (), run(hard, 0.0 if k else cell.points / 100)), False))
        hits += judge(pairs, lambda definition: 0.0)[0].outcome == "regression"
    return hits / reruns


def drop_table(reruns: int = 400) -> Iterator[str]:
    """The table of docs/ci.md, as Markdown, a line at a time."""
    yield "| spread of seeds, rest | seeds x cases | 5 points, 2 tests | 12 tests | 10 points, 2 tests | 12 tests |"
    yield "|---:|:---|---:|---:|---:|---:|"
    for sd, rest, seeds, cases in dict.fromkeys((c.seed_sd, c.rest_sd, c.seeds, c.cases) for c in DROPS):
        cells = [c for c in DROPS if (c.seed_sd, c.rest_sd, c.seeds, c.cases) == (sd, rest, seeds, cases)]
        shares = (f"{100 * power_of_drop(c, reruns, np.random.default_rng(0)):.0f}" for c in cells)
        yield f"| {100 * sd:g}, {100 * rest:g} | {seeds} x {cases} | {' | '.join(shares)} |"


def check_tables(reruns: int = 1000) -> Iterator[str]:
    """The tables and shares of docs/comparisons.md, as Markdown, a line at a time; rarer ones of fewer re-runs."""
    yield "| seeds | wrongly a regression | or diverged | the drop (DSC, HD95) | twice the drop |"
    yield "|---:|---:|---:|---:|---:|"
    for seeds in (2, 3, 5, 10):
        rng = np.random.default_rng([2, seeds])
        wrong = [_percent(errors(seeds, reruns, rng, outcomes)) for outcomes in (("regression",), _WORSE)]
        found = [", ".join(map(_percent, power(seeds, reruns // 3, rng, t).values())) for t in (1.0, 2.0)]
        yield f"| {seeds} | {' | '.join([*wrong, *found])} |"
    yield ""
    yield "| seeds | lost three quarters: named | lost a quarter | loss of 0.5, 1, 2 points, paired | unpaired |"
    yield "|---:|---:|---:|---:|---:|"
    for seeds in (1, 2, 3, 5, 10):
        rng = np.random.default_rng([3, seeds])
        named = [_percent(divergences(seeds, reruns // 5, left, rng)) if seeds > 1 else "" for left in (0.25, 0.75)]
        losses = [inference_changes(seeds, reruns // 5, loss, rng) for loss in (0.005, 0.01, 0.02)]
        paired, unpaired = (", ".join(map(_percent, shares)) for shares in zip(*losses, strict=True))
        yield f"| {seeds} | {named[0]} | {named[1]} | {paired} | {unpaired} |"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    for line in chain(drop_table(), [""], check_tables()):
        print(line, flush=True)
