"""How often each test that reports print finds a difference where there is none: simulated, by design.

`make coverage` writes docs/type-one.md from it (`scripts/write_type_one.py`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from usfm_bench.metrics.definitions import DEFINITIONS, Definition
from usfm_bench.stats.components import Components, difference_components
from usfm_bench.stats.contributions import Contributions, pseudo_contributions
from usfm_bench.stats.jackknife import deleted
from usfm_bench.stats.of_classes import case_scores

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
TABLE = Path(__file__).parents[1] / "docs" / "type-one.csv"
ALPHA = 0.05
LIMIT = 0.056
"""Share of wrong findings that a test may have without a warning."""


class NullCell(NamedTuple):
    """One test in one design in which nothing differs."""

    test: str
    """As docs/type-one.md names it."""
    metric: str
    design: str
    """In words."""
    finds: Callable[[np.random.Generator], bool | None]
    """Draws a study and says whether the test finds a difference; None where it makes no test."""
    draws: int = 10_000
    warned: bool = False
    """Reports print a warning in such a design."""

    def __str__(self) -> str:
        return f"{self.test}, {self.metric}: {self.design}"


class Wrong(NamedTuple):
    """Of many draws of a cell."""

    share: float
    """Of the draws in which a difference was found; no test counts as none found."""
    error: float
    """Monte-Carlo standard error."""

    @property
    def surely_above(self) -> bool:
        """More than two Monte-Carlo errors above what is allowed."""
        return self.share - 2 * self.error > LIMIT


def wrongly_found(cell: NullCell, rng: np.random.Generator, draws: int | None = None) -> Wrong:
    """Share of the studies in which the test finds a difference."""
    n = draws or cell.draws
    share = sum(bool(cell.finds(rng)) for _ in range(n)) / n
    return Wrong(share, float(max(share * (1 - share), 1 / n) / n) ** 0.5)


class Line(NamedTuple):
    """A line of the table: a cell, and what came out."""

    test: str
    metric: str
    design: str
    wrong: Wrong
    warned: bool
    draws: int


def read_table() -> list[Line]:
    """What was simulated."""
    lines = []
    for row in csv.DictReader(io.StringIO(TABLE.read_text(encoding="utf-8"))):
        share, n = float(row["found"]), int(row["draws"])
        wrong = Wrong(share, float(max(share * (1 - share), 1 / n) / n) ** 0.5)
        lines.append(Line(row["test"], row["metric"], row["design"], wrong, row["warned"] == "yes", n))
    return lines


def found_by(parts: Components) -> bool | None:
    """Whether p < 5 %, two-sided: the interval leaves 0 out, which is the same and costs less than p."""
    return None if parts.none else abs(parts.mean) > parts.half_width(1 - ALPHA / 2)


class Masks(NamedTuple):
    """Scores of lesions; the spreads are of DSC, whose spread between cases is 0.2 and the rest's 0.08."""

    seeds: int
    cases: int
    spreads: tuple[float, float] = (0.02, 0.02)
    """Between trainings, of both models."""
    patients: Literal["", "equal", "1 to 12"] = ""
    """`cases` are patients then, of three images or of 1 to 12."""
    shape: Literal["normal", "gamma"] = "normal"
    folds: int = 1
    own: float = 0.05
    """Spread of what a model alone finds hard."""

    def groups(self, rng: np.random.Generator) -> Ints:
        """(C,)."""
        if not self.patients:
            return np.arange(self.cases)
        sizes = np.full(self.cases, 3) if self.patients == "equal" else rng.integers(1, 13, self.cases)
        return np.repeat(np.arange(self.cases), sizes)

    def draw(self, rng: np.random.Generator, models: int = 2) -> tuple[list[Floats], Ints, Ints | None]:
        """(S, C) of each model, groups and folds."""
        groups = self.groups(rng)
        n = len(groups)
        folds = groups % self.folds if self.folds > 1 else None
        hard = _hard(self, groups, 0.2, rng)
        found = []
        for k in range(models):
            networks = rng.normal(0, self.spreads[min(k, 1)], (self.seeds, self.folds))
            easy = networks if folds is None else networks[:, folds]
            own = _hard(self, groups, self.own, rng)
            found.append(0.75 + hard + own + easy + rng.normal(0, 0.08, (self.seeds, n)))
        return found, groups, folds

    def __str__(self) -> str:
        of = {"": "cases", "equal": "patients of 3", "1 to 12": "patients of 1 to 12"}[self.patients]
        spreads = "" if self.spreads[0] == self.spreads[1] else f", spreads {self.spreads[0]:g} and {self.spreads[1]:g}"
        folds = f", {self.folds} folds" if self.folds > 1 else ""
        return f"{self.seeds} x {self.cases} {of}{spreads}{folds}{', skewed' * (self.shape == 'gamma')}"


def _hard(design: Masks, groups: Ints, sd: float, rng: np.random.Generator) -> Floats:
    """(C,) of mean 0; half of its variance is the patient's where there are patients."""

    def noise(n: int) -> Floats:
        return 1 - rng.gamma(1.0, 1.0, n) if design.shape == "gamma" else rng.normal(0, 1, n)

    if not design.patients:
        return sd * noise(len(groups))
    return sd * 0.5**0.5 * (noise(int(groups.max()) + 1)[groups] + noise(len(groups)))


def pair_of_means(design: Masks, rng: np.random.Generator) -> bool | None:
    """Two models with the same mean score."""
    (a, b), groups, folds = design.draw(rng)
    parts = difference_components(a, b, groups if design.patients else None, folds=folds)
    return found_by(parts)


def distances(seeds: int, cases: int, missed: float, rng: np.random.Generator, networks: Floats) -> Floats:
    """(S, C) HD95 in px: lognormal around 12, and 700, the image diagonal, where half of the networks miss a lesion."""
    size = (seeds, cases)
    logs = np.log(12) + rng.normal(0, 0.7, cases) + networks + rng.normal(0, 0.3, size)
    lost = (rng.random(size) < 0.5) & (rng.random(cases) < 2 * missed)
    return np.where(lost, 700.0, np.exp(logs))


def pair_of_distances(seeds: int, cases: int, missed: tuple[float, float], rng: np.random.Generator) -> bool | None:
    """HD95 with the image diagonal, 700 px, of a missed lesion; where one model misses fewer, its borders are worse."""
    hard = rng.normal(0, 0.7, cases)
    hidden = rng.random(cases)
    found = []
    for share in missed:
        size = (seeds, cases)
        logs = hard + rng.normal(0, 0.2, cases) + rng.normal(0, 0.3, size)
        logs = logs + rng.normal(0, 0.1 * (seeds > 1), (seeds, 1))
        usual = np.exp((0.7**2 + 0.2**2 + 0.3**2 + (0.1 * (seeds > 1)) ** 2) / 2)
        most = max(missed)
        # The mean over cases is that of a model that misses the larger share.
        scale = ((1 - most) * 12 * usual + 700 * (most - share)) / ((1 - share) * usual)
        lost = (rng.random(size) < 0.5) & (hidden < 2 * share)
        found.append(np.where(lost, 700.0, scale * np.exp(logs)))
    parts = difference_components(*found)
    return found_by(parts)


def pair_of_missed(design: Masks, share: float, rng: np.random.Generator) -> bool | None:
    """DSC of a model that misses a share of the lesions and of one that misses none and is worse on all others."""
    (a, b), _, _ = design.draw(rng)
    hidden = rng.random(design.cases) < 2 * share
    lost = (rng.random(a.shape) < 0.5) & hidden
    return found_by(difference_components(np.where(lost, 0.0, a), b - 0.75 * share))


class NearEnd(NamedTuple):
    """A model whose networks scatter near 1, and so to one side, and one whose networks do not."""

    seeds: int
    place: float
    spread: float
    """Networks are normal numbers with these two, on the scale of probits."""

    @property
    def mean(self) -> float:
        """Of both models."""
        return float(ndtr(self.place / (1 + self.spread**2) ** 0.5))

    def __str__(self) -> str:
        return (
            f"{self.seeds} x 160 cases, networks of one model scatter around {self.mean:.2f} by {self.spread:g} probits"
        )


def pair_near_the_end(design: NearEnd, rng: np.random.Generator) -> bool | None:
    """DSC of 160 cases."""
    scattered = ndtr(design.place + design.spread * rng.normal(size=(design.seeds, 1)))
    hard = rng.normal(0, 0.05, 160)
    a, b = (
        x + hard + rng.normal(0, 0.02, 160) + rng.normal(0, 0.03, (design.seeds, 160))
        for x in (scattered, np.full((design.seeds, 1), design.mean))
    )
    return found_by(difference_components(a, b))


class Classes(NamedTuple):
    """Cases of two classes by two models; a case is right where a normal number is above 0."""

    seeds: int
    positives: int
    negatives: int
    spreads: tuple[float, float] = (0.3, 0.3)
    """Share of the seeds in the variance of what is not the cases' own."""
    a_patient: str = ""
    """`1 to 12` images a patient; positives and negatives are patients then."""
    skill: float = 1.0
    folds: int = 1

    def draw(self, rng: np.random.Generator) -> tuple[list[Floats], Ints, Ints, Ints]:
        """(S, N, 2) of each model; labels, groups and folds."""
        n = self.positives + self.negatives
        sizes = rng.integers(1, 13, n) if self.a_patient else np.ones(n, int)
        groups = np.repeat(np.arange(n), sizes)
        labels = (groups < self.positives).astype(np.int64)
        folds = rng.permutation(n)[groups] % self.folds
        hard, found = rng.normal(0, 0.8, n)[groups] + rng.normal(0, 0.3, len(groups)), []
        for share in self.spreads:
            own = rng.normal(0, 0.4, n)[groups]
            rest = rng.normal(0, 0.5 * (1 - share) ** 0.5, (self.seeds, len(groups)))
            networks = 0.5 * share**0.5 * rng.normal(size=(2, self.seeds, 1))  # by class: skill and leaning
            right = self.skill + hard + own + rest + np.where(labels == 1, networks[0], networks[1])
            positive = expit(2 * np.where(labels == 1, right, -right))
            found.append(np.stack([1 - positive, positive], axis=-1))
        return found, labels, groups, folds

    def __str__(self) -> str:
        of = "patients of 1 to 12" if self.a_patient else "cases"
        spreads = "" if self.spreads[0] == self.spreads[1] else f", shares {self.spreads[0]:g} and {self.spreads[1]:g}"
        near = ", near 1" if self.skill > 2 else ""
        return f"{self.seeds} x {self.positives} + {self.negatives} {of}{spreads}{near}"


RATES = {
    **{"ACC": ("acc@1", None), "macro F1": ("f1.macro@1", None), "F1": ("f1.class@1", 1), "SEN": ("sen.class@1", 1)},
    **{"SPEC": ("spec.class@1", 1), "PREC": ("prec.class@1", 1), "BACC": ("bacc@1", None), "MCC": ("mcc@1", None)},
    **{"KAPPA": ("kappa@1", None), "AUROC": ("auroc.class@2", 1), "AUPRC": ("auprc.class@2", 1)},
    **{"BRIER": ("brier@1", None), "ECE": ("ece.top.15bins@1", None)},
}
"""Reports compare models by ACC and macro F1; `stats.compare` takes all."""


def contributions(
    definition: Definition, only: int | None, probabilities: Floats, labels: Ints, groups: Ints, folds: Ints
) -> Contributions | None:
    """As `class_contributions`, of one class too."""
    scores = case_scores(definition, probabilities, labels)
    if scores is not None:
        return Contributions(scores, groups, folds)
    values = deleted(definition, probabilities, labels, groups=groups, only=only)
    return pseudo_contributions(values, groups, folds)


def pair_of_rates(design: Classes, metric: str, rng: np.random.Generator) -> bool | None:
    """Two models that are equally good in each class."""
    models, labels, groups, folds = design.draw(rng)
    ident, only = RATES[metric]
    a, b = (contributions(DEFINITIONS[ident], only, p, labels, groups, folds) for p in models)
    if a is None or b is None:
        return None
    parts = difference_components(a.values, b.values, a.groups, folds=a.folds, sizes=a.sizes)
    return found_by(parts)
