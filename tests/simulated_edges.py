"""Simulated coverage at the edges: rare classes, areas near 1, calibration, patients of unequal numbers of images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr

from usfm_bench.metrics.calibration import calibration_error
from usfm_bench.metrics.definitions import DEFINITIONS
from usfm_bench.stats import Interval, class_contributions, classification_interval, compare, crossed_interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_SD = float(np.hypot(0.9, 0.5))  # of a score, over cases and their noise


class Found(NamedTuple):
    """Of the intervals of many draws."""

    covered: float
    """Share that holds the truth, of all draws: one that does not exist does not."""
    width: float
    """Mean, of those that exist."""
    none: float
    """Share that does not exist."""


def _found(intervals: list[Interval], truth: float) -> Found:
    ends = [(i.low, i.high) for i in intervals if i.low is not None and i.high is not None]
    held = sum(low - 1e-9 <= truth <= high + 1e-9 for low, high in ends)
    n = len(intervals)
    return Found(held / n, float(np.mean([high - low for low, high in ends] or [np.nan])), 1 - len(ends) / n)


class RareCell(NamedTuple):
    """Three classes, or two, of which the last is rare."""

    counts: tuple[int, ...]
    """Cases of each class, which a stratified split fixes."""
    seeds: int
    skill: float
    lean: float
    """To the first class."""

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.counts))}-{self.seeds}-{self.skill:g}-{self.lean:g}"


RARE = [
    RareCell(counts, seeds, skill, lean)
    for counts, seeds, (skill, lean) in product(
        ((43, 12, 5), (108, 30, 12), (52, 8)), (2, 3, 5), ((1.6, 0.0), (3.2, 0.0), (2.2, 0.8), (4.5, 0.0))
    )
]
RARE_METRICS = {
    "SEN": "sen.class@1",
    "SPEC": "spec.class@1",
    "PREC": "prec.class@1",
    "F1": "f1.class@1",
    "macro F1": "f1.macro@1",
    "macro PREC": "prec.macro@1",
    "BACC": "bacc@1",
    "MCC": "mcc@1",
    "KAPPA": "kappa@1",
    "ACC": "acc@1",
}


def _rare(cell: RareCell, times: int, seeds: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    labels = np.repeat(np.arange(len(cell.counts)), np.array(cell.counts) * times)
    size = (len(labels), len(cell.counts))
    leaning = np.zeros((seeds, 1, len(cell.counts)))
    leaning[:, 0, 0] = cell.lean + rng.normal(0, 0.15, seeds)
    skill = cell.skill + rng.normal(0, 0.15, (seeds, 1, 1))
    logits = skill * np.eye(len(cell.counts))[labels] + rng.normal(0, 0.9, size) + rng.normal(0, 0.5, (seeds, *size))
    odds = np.exp(logits + leaning)
    return odds / odds.sum(axis=2, keepdims=True), labels


def cover_rare(cell: RareCell, draws: int, rng: np.random.Generator) -> dict[str, Found]:
    """By metric; the truth is the mean over 40 seeds of the metric on 200 times the cases."""
    last = len(cell.counts) - 1
    each: dict[str, list[Interval]] = {name: [] for name in RARE_METRICS}
    points: dict[str, list[float]] = {name: [] for name in RARE_METRICS}

    def measure(probabilities: Floats, labels: Ints, name: str) -> Interval:
        only = last if ".class" in RARE_METRICS[name] else None
        return classification_interval(DEFINITIONS[RARE_METRICS[name]], probabilities, labels, only=only)

    for _ in range(40):
        probabilities, labels = _rare(cell, 200, 1, rng)
        # Cases of one answer count as one group, so that the jackknife of so many costs little.
        for name, value in _points(probabilities[0].argmax(axis=1), labels, last).items():
            points[name].append(value)
    for _ in range(draws):
        probabilities, labels = _rare(cell, 1, cell.seeds, rng)
        for name, found in each.items():
            found.append(measure(probabilities, labels, name))
    return {name: _found(each[name], float(np.mean(points[name]))) for name in RARE_METRICS}


def _points(said: Ints, labels: Ints, last: int) -> dict[str, float]:
    from sklearn import metrics as sk

    rare, called = labels == last, said == last
    return {
        "SEN": float(called[rare].mean()),
        "SPEC": float((~called)[~rare].mean()),
        "PREC": float(sk.precision_score(rare, called, zero_division=0)),
        "F1": float(sk.f1_score(rare, called)),
        "macro F1": float(sk.f1_score(labels, said, average="macro")),
        "macro PREC": float(sk.precision_score(labels, said, average="macro", zero_division=0)),
        "BACC": float(sk.balanced_accuracy_score(labels, said)),
        "MCC": float(sk.matthews_corrcoef(labels, said)),
        "KAPPA": float(sk.cohen_kappa_score(labels, said)),
        "ACC": float((said == labels).mean()),
    }


class AreaCell(NamedTuple):
    """An AUROC of few positives, near 1 or not."""

    positives: int
    negatives: int
    seeds: int
    apart: float
    seed_sd: float

    def __str__(self) -> str:
        return f"{self.positives}-{self.negatives}-{self.seeds}-{self.apart:g}-{self.seed_sd:g}"


AREAS = [
    AreaCell(positives, negatives, seeds, apart, seed_sd)
    for apart, (positives, negatives), seed_sd, seeds in product(
        (1.22, 2.72, 3.34), ((5, 55), (8, 52), (16, 104), (42, 114)), (0.08, 0.5), (2, 3, 5)
    )
    if seed_sd < 0.1 or positives == 16
]


def cover_area(cell: AreaCell, draws: int, rng: np.random.Generator) -> tuple[float, Found]:
    """The truth, of normal scores, and how often it is held."""
    apart = cell.apart + rng.normal(0, cell.seed_sd, 400_000)
    truth = float(ndtr(apart / (2**0.5 * _SD)).mean())
    labels = (np.arange(cell.positives + cell.negatives) < cell.positives).astype(np.int64)
    found = []
    for _ in range(draws):
        shift = cell.apart + rng.normal(0, cell.seed_sd, (cell.seeds, 1))
        size = (cell.seeds, len(labels))
        score = labels * shift + rng.normal(0, 0.9, len(labels)) + rng.normal(0, 0.5, size)
        odds = np.exp(score / 2)
        probabilities = np.stack([1 / (1 + odds), odds / (1 + odds)], axis=2)
        found.append(classification_interval(DEFINITIONS["auroc.class@2"], probabilities, labels, only=1))
    return truth, _found(found, truth)


class CalibrationCell(NamedTuple):
    """Three classes; logits that mean what they say, times a factor."""

    cases: int
    seeds: int
    factor: float
    grouped: bool
    """Cases come in groups of two that are alike."""

    def __str__(self) -> str:
        return f"{self.cases}-{self.seeds}-{self.factor:g}{'-grouped' * self.grouped}"


CALIBRATIONS = [
    CalibrationCell(cases, seeds, factor, grouped)
    for factor, cases, seeds, grouped in product((0.6, 1.0, 1.3, 2.5), (60, 150, 400), (1, 3, 5), (False, True))
    if not grouped or (cases, seeds) == (150, 3)
]


def _calibrated(cell: CalibrationCell, cases: int, seeds: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    groups = np.arange(cases) // (2 if cell.grouped else 1)
    labels = rng.integers(0, 3, cases)[groups]
    skill, spread = 1.2, 0.0 if seeds == 1 and cell.seeds == 1 else 0.05
    sight = skill * np.eye(3)[labels] + rng.normal(0, 0.9, (cases, 3))[groups] + rng.normal(0, 0.5, (seeds, cases, 3))
    factor = cell.factor * np.exp(rng.normal(0, spread, (seeds, 1, 1)))
    logits = factor * skill / _SD**2 * sight
    odds = np.exp(logits - logits.max(axis=2, keepdims=True))
    return odds / odds.sum(axis=2, keepdims=True), labels


def cover_calibration(cell: CalibrationCell, draws: int, rng: np.random.Generator) -> tuple[dict[str, float], Found]:
    """Means (truth, ECE, chance, without chance), and how often the ECE of the population is held."""
    truth = float(
        np.mean([calibration_error(p[0], y) for p, y in (_calibrated(cell, 40_000, 1, rng) for _ in range(10))])
    )
    groups = np.arange(cell.cases) // 2 if cell.grouped else None
    points, intervals = np.zeros(3), []
    for _ in range(draws):
        probabilities, labels = _calibrated(cell, cell.cases, cell.seeds, rng)
        of = [
            classification_interval(DEFINITIONS[f"ece.top.15bins{kind}@1"], probabilities, labels, groups=groups)
            for kind in ("", ".chance", ".debiased")
        ]
        points += [interval.point for interval in of]
        intervals.append(of[2])
    names = ("truth", "ece", "chance", "debiased")
    return dict(zip(names, [truth, *(points / draws).tolist()], strict=True)), _found(intervals, truth)


class PatientCell(NamedTuple):
    """Dice of patients with unequal numbers of images, many near 1 and some near 0; one patient's are alike."""

    patients: int
    seeds: int
    sizes: Literal["1 to 12", "three each"]
    informative: bool
    """Patients with many images score lower."""

    def __str__(self) -> str:
        return f"{self.patients}-{self.seeds}-{self.sizes.replace(' ', '')}{'-informative' * self.informative}"


PATIENTS = [
    PatientCell(patients, seeds, sizes, informative)
    for sizes, informative in (("1 to 12", False), ("1 to 12", True), ("three each", False))
    for patients in (6, 8, 10, 15, 20, 40)
    for seeds in (3, 5)
]


def cover_patients(cell: PatientCell, draws: int, rng: np.random.Generator) -> Found:
    """The truth is the mean over images."""

    def draw(patients: int, seeds: int) -> tuple[Floats, Ints]:
        sizes = rng.integers(1, 13, patients) if cell.sizes == "1 to 12" else np.full(patients, 3)
        own = rng.normal(1.2, 1.6, patients) - (0.35 * (sizes - 6.5) if cell.informative else 0.0)
        groups = np.repeat(np.arange(patients), sizes)
        images = own[groups] + rng.normal(0, 1.1, len(groups))
        return expit(images + rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.4, (seeds, len(groups)))), groups

    truth = float(draw(400_000, 1)[0].mean())
    found = []
    for _ in range(draws):
        scores, groups = draw(cell.patients, cell.seeds)
        found.append(crossed_interval(scores, groups=groups))
    return _found(found, truth)


def alike_called_different(patients: int, seeds: int, draws: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of comparisons of two models that are alike with p < 0.05: of ACC and of macro F1, of uneven patients."""
    called: dict[str, list[bool]] = {"acc@1": [], "f1.macro@1": []}
    for _ in range(draws):
        groups = np.repeat(np.arange(patients), rng.integers(1, 13, patients))
        labels = groups % 2
        seen = rng.normal(0, 1.0, patients)[groups] + rng.normal(0, 0.6, len(groups))
        models = []
        for _ in range(2):
            own = rng.normal(0, 0.7, patients)[groups] + rng.normal(0, 0.4, len(groups))
            rest = rng.normal(0, 0.1, (seeds, 1)) + rng.normal(0, 0.4, (seeds, len(groups)))
            positive = expit((2 * labels - 1) * (1 + seen + own + rest))
            models.append(np.stack([1 - positive, positive], axis=-1))
        for name, found in called.items():
            a, b = (class_contributions(DEFINITIONS[name], p, labels, groups, 0 * groups) for p in models)
            if a is not None and b is not None:
                p_value = compare(a.values, b.values, groups=a.groups, sizes=a.sizes).p_value
                found.append(p_value is not None and p_value < 0.05)
    return {name: float(np.mean(found)) for name, found in called.items()}


def edge_tables(draws: int = 1000) -> Iterator[str]:
    """As Markdown, a line at a time."""
    yield f"| cases | seeds | truth | {' | '.join(RARE_METRICS)} |"
    yield f"|:---|---:|:---|{'---:|' * len(RARE_METRICS)}"
    for rare in RARE:
        of_metrics = cover_rare(rare, draws, np.random.default_rng(0))
        shown = " | ".join(f"{100 * f.covered:.1f} ({100 * f.width:.0f})" for f in of_metrics.values())
        yield f"| {' / '.join(map(str, rare.counts))} | {rare.seeds} | {rare.skill:g}, {rare.lean:g} | {shown} |"
    yield ""
    yield "| positives / negatives | seeds | seed spread | AUROC | covered | width |"
    yield "|:---|---:|---:|---:|---:|---:|"
    for area in AREAS:
        truth, found = cover_area(area, draws, np.random.default_rng(0))
        what = f"| {area.positives} / {area.negatives} | {area.seeds} | {area.seed_sd:g} | {100 * truth:.1f} |"
        yield f"{what} {100 * found.covered:.1f} | {100 * found.width:.1f} |"
    yield ""
    yield "| logits times | cases | seeds | true ECE | mean ECE | chance | without chance | covered | width |"
    yield "|---:|:---|---:|---:|---:|---:|---:|---:|---:|"
    for cell in CALIBRATIONS:
        means, found = cover_calibration(cell, draws, np.random.default_rng(0))
        shown = " | ".join(f"{100 * x:.1f}" for x in (*means.values(), found.covered, found.width))
        yield f"| {cell.factor:g} | {cell.cases}{' in twos' * cell.grouped} | {cell.seeds} | {shown} |"
    yield ""
    yield "| images a patient | patients | seeds | covered | width |"
    yield "|:---|---:|---:|---:|---:|"
    for place in PATIENTS:
        found = cover_patients(place, draws, np.random.default_rng(0))
        kind = f"{place.sizes}{', many where scores are low' * place.informative}"
        yield f"| {kind} | {place.patients} | {place.seeds} | {100 * found.covered:.1f} | {100 * found.width:.1f} |"


if __name__ == "__main__":
    for line in edge_tables():
        print(line, flush=True)
