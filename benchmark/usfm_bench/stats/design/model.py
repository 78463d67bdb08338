"""The generative model of a design: two equally good models, whose quality on each case is a normal number."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtr, ndtri, roots_hermitenorm
from scipy.stats import beta

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.calibration import BINS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_CASES, MOST_SEEDS = 5000, 50
_SEED_SHARE = 0.5  # of a quality's variance that seeds can have at most
_DISTANCE, _LOG_SD, _DIAGONAL = 12.0, 0.8, 700.0


@dataclass(frozen=True)
class Design:
    """Sizes of a test set, and of a set of trainings.

    Raises:
        BenchError: sizes that contradict each other, all at once.
    """

    cases: int
    seeds: int
    groups: int
    """Patients, or other groups of cases that vary together; as many as cases: each case by itself."""
    positives: int | None = None
    """Cases of the positive class; None: no classification."""

    def __post_init__(self) -> None:
        """Refuse what no study can be."""
        faults = []
        if not 1 <= self.cases <= MOST_CASES:
            faults.append(f"--cases is {self.cases}; expected 1 to {MOST_CASES} test cases.")
        if not 1 <= self.seeds <= MOST_SEEDS:
            faults.append(f"--seeds is {self.seeds}; expected 1 to {MOST_SEEDS} trainings.")
        if not 1 <= self.groups <= self.cases:
            faults.append(f"--groups is {self.groups}; expected 1 to {self.cases}, the number of cases.")
        if self.positives is not None and not 0 <= self.positives <= self.cases:
            faults.append(f"--positives is {self.positives}; expected 0 to {self.cases}, the number of cases.")
        if faults:
            raise BenchError("\n".join(faults))


@dataclass(frozen=True)
class Assumptions:
    """What is taken for true, as nothing has been trained yet.

    Raises:
        BenchError: shares out of their range, all at once.
    """

    sensitivity: float = 0.8
    specificity: float = 0.9
    dsc: float = 0.8
    """Mean over cases."""
    dsc_spread: float = 0.15
    """Standard deviation of DSC between images, by one network."""
    seed_spread: float = 0.01
    """Standard deviation between trainings of their mean DSC, sensitivity and specificity, about."""
    missed: float = 0.02
    """Share of lesions that are missed, whose distance is the diagonal of the image."""
    alike: float = 0.5
    """Correlation of the difficulty of two cases of one group."""
    decided: float = 0.8
    """Share of a network's variance between cases that all networks share."""
    shared: float = 0.7
    """Correlation of the cases' difficulty for two models."""

    def __post_init__(self) -> None:
        """Refuse what no network can be."""
        faults = []
        for field in fields(self):
            value, ends = (
                getattr(self, field.name),
                field.name in ("missed", "alike", "decided", "shared", "seed_spread"),
            )
            if not (0 <= value < 1 if ends else 0 < value < 1):
                option = field.name.replace("_", "-")
                faults.append(f"--{option} is {value:g}; expected a share {'from' if ends else 'above'} 0 to below 1.")
        if not faults and self.dsc_spread**2 >= self.dsc * (1 - self.dsc):
            most = (self.dsc * (1 - self.dsc)) ** 0.5
            faults.append(f"--dsc-spread is {self.dsc_spread:g}; with a mean of {self.dsc:g} it is below {most:.3f}.")
        if faults:
            raise BenchError("\n".join(faults))

    @property
    def means(self) -> tuple[float, float]:
        """Mean quality of negative and positive cases: a case is called positive where its quality is above 0."""
        return -float(ndtri(self.specificity)), float(ndtri(self.sensitivity))

    @property
    def seed_shares(self) -> tuple[float, float]:
        """Share of the seeds in the variance of the quality of negative and positive cases."""
        slopes = [np.exp(-(mean**2) / 2) / (2 * np.pi) ** 0.5 for mean in self.means]
        negative, positive = (min(_SEED_SHARE, float(self.seed_spread / slope) ** 2) for slope in slopes)
        return negative, positive

    @property
    def overlap_seed_share(self) -> float:
        """Share of the seeds in the variance of the quality of lesions' masks."""
        return min(_SEED_SHARE, (self.seed_spread / self.dsc_spread) ** 2)


class Drawn(NamedTuple):
    """One study: two models on the same cases, which differ by luck alone."""

    groups: Ints
    """(N,) numbers."""
    labels: Ints
    """(N,) 1 for positive cases, which come first."""
    probabilities: Floats
    """(2, S, N, 2) of two models."""
    dsc: Floats
    """(2, S, N)."""
    distances: Floats
    """(2, S, N) HD95 in pixels."""


def draw_study(design: Design, assumed: Assumptions, rng: np.random.Generator) -> Drawn:
    """One test set and two sets of trainings."""
    n, positives = design.cases, design.positives or 0
    labels = (np.arange(n) < positives).astype(np.int64)
    groups = _draw_groups(design, rng)
    quality = np.empty((2, design.seeds, n))
    for k, (mean, share) in enumerate(zip(assumed.means, assumed.seed_shares, strict=True)):
        quality[:, :, labels == k] = mean + _qualities(design.seeds, groups[labels == k], share, assumed, rng)
    positive = expit((assumed.means[1] - assumed.means[0]) * quality)
    masks = _qualities(design.seeds, groups, assumed.overlap_seed_share, assumed, rng)
    return Drawn(
        groups, labels, np.stack([1 - positive, positive], axis=-1), _overlap(masks, assumed), _distance(masks, assumed)
    )


def _draw_groups(design: Design, rng: np.random.Generator) -> Ints:
    """(N,) group of each case: each group has a case of its own, and the others fall where they may.

    A group holds cases of one class, as a patient's images mostly do.
    """
    n, positives, groups = design.cases, design.positives or 0, design.groups
    if groups == 1 or positives in (0, n):
        return _fill(n, groups, rng)
    of_positives = round(groups * positives / n)
    of_positives = min(max(of_positives, 1, groups - (n - positives)), groups - 1, positives)
    rest = _fill(n - positives, groups - of_positives, rng)
    return np.concatenate([_fill(positives, of_positives, rng), of_positives + rest])


def _fill(cases: int, groups: int, rng: np.random.Generator) -> Ints:
    return np.concatenate([np.arange(groups), rng.integers(0, groups, cases - groups)])


def _qualities(seeds: int, groups: Ints, seed_share: float, assumed: Assumptions, rng: np.random.Generator) -> Floats:
    """(2, S, N) standard normal: of two models, whose networks differ by seed and find much the same cases hard."""

    def difficulty(models: int) -> Floats:
        of_groups = rng.normal(size=(models, 1, int(groups.max(initial=-1)) + 1))[:, :, groups]
        return np.asarray(_mixed(of_groups, rng.normal(size=(models, 1, len(groups))), assumed.alike))

    hard = _mixed(difficulty(1), difficulty(2), assumed.shared)
    of_seeds = rng.normal(size=(2, seeds, 1))
    rest = rng.normal(size=(2, seeds, len(groups)))
    return _mixed(of_seeds, _mixed(hard, rest, assumed.decided), seed_share)


def _mixed(one: Floats, other: Floats, share: float) -> Floats:
    """A sum of unit variance, of which a share is the first's."""
    return np.asarray(share**0.5 * one + (1 - share) ** 0.5 * other)


def _overlap(quality: Floats, assumed: Assumptions) -> Floats:
    """DSC: of a Beta distribution with the assumed mean and spread."""
    size = assumed.dsc * (1 - assumed.dsc) / assumed.dsc_spread**2 - 1
    return np.asarray(beta.ppf(ndtr(quality), assumed.dsc * size, (1 - assumed.dsc) * size))


def _distance(quality: Floats, assumed: Assumptions) -> Floats:
    """HD95 in pixels: lognormal around 12, and 700, the diagonal of the image, for the worst lesions."""
    return np.where(ndtr(quality) < assumed.missed, _DIAGONAL, _DISTANCE * np.exp(-_LOG_SD * quality))


def true_values(design: Design, assumed: Assumptions) -> dict[str, float]:
    """Mean over endless trainings of each metric of endless cases, of which as many are positive as in the design."""
    least = float(ndtri(assumed.missed))
    near = _DISTANCE * float(np.exp(_LOG_SD**2 / 2) * ndtr(-(least + _LOG_SD)))
    values = {"DSC": assumed.dsc, "HD95": assumed.missed * _DIAGONAL + near}
    if design.positives is None:
        return values
    share = design.positives / design.cases
    sensitivity, specificity = assumed.sensitivity, assumed.specificity
    values |= {"SEN": sensitivity, "SPEC": specificity, "ACC": share * sensitivity + (1 - share) * specificity}
    values |= {
        "BACC": (sensitivity + specificity) / 2,
        "AUROC": float(ndtr((assumed.means[1] - assumed.means[0]) / 2**0.5)),
        "BRIER": share * _squared_error(assumed, 1) + (1 - share) * _squared_error(assumed, 0),
    }
    return values | _of_seeds(share, assumed)


def _squared_error(assumed: Assumptions, label: int) -> float:
    """Mean Brier score of cases of one class: twice the square of what is said of the other."""
    quality = assumed.means[label] + ndtri((np.arange(20_000) + 0.5) / 20_000)
    positive = expit((assumed.means[1] - assumed.means[0]) * quality)
    return float(2 * ((positive - label) ** 2).mean())


def _of_seeds(share: float, assumed: Assumptions) -> dict[str, float]:
    """Metrics that are not linear in sensitivity and specificity, and the calibration error: by quadrature."""
    nodes, weights = roots_hermitenorm(15)
    weights = weights / weights.sum()
    (negative, positive), (below, above) = assumed.means, assumed.seed_shares
    at = {
        0: (negative + below**0.5 * nodes, (1 - below) ** 0.5),
        1: (positive + above**0.5 * nodes, (1 - above) ** 0.5),
    }
    specificity, sensitivity = ndtr(-at[0][0] / at[0][1]), ndtr(at[1][0] / at[1][1])
    sen, spec = sensitivity[:, None], specificity[None]
    hits, false = share * sen, (1 - share) * (1 - spec)
    right = (1 - share) * spec
    with np.errstate(invalid="ignore"):
        of_positive = 2 * hits / (hits + false + share)
        of_negative = 2 * right / (right + share * (1 - sen) + 1 - share)
        precision = hits / (hits + false)
        said = hits + false
        matthews = (hits * right - false * (share - hits)) / (said * (1 - said) * share * (1 - share)) ** 0.5
    chance = share * said + (1 - share) * (1 - said)
    kappa = (hits + right - chance) / (1 - chance)
    gaps = [_gaps(*at[k], assumed, k) for k in (0, 1)]  # (15, BINS) each
    errors = np.abs(share * gaps[1][:, None] + (1 - share) * gaps[0][None]).sum(axis=2)
    both = weights[:, None] * weights[None]
    names = {"F1": of_positive, "macro F1": (of_positive + of_negative) / 2, "PREC": precision, "MCC": matthews}
    names |= {"KAPPA": kappa, "AUPRC": _average_precision(*at[0], *at[1], share), "ECE": errors}
    return {name: float((both * value).sum()) for name, value in names.items()}


def _average_precision(below: Floats, sd_below: float, above: Floats, sd_above: float, share: float) -> Floats:
    """(15, 15) mean over positive cases of the precision among all that score as high, by seeds' places of both."""
    steps = (np.arange(2000) + 0.5) / 2000
    score = above[:, None] + sd_above * ndtri(steps)  # (15, 2000)
    false = (1 - share) * ndtr((below[None, :, None] - score[:, None]) / sd_below)
    hits = share * (1 - steps)
    return np.asarray((hits / (hits + false)).mean(axis=2))


def _gaps(means: Floats, sd: float, assumed: Assumptions, label: int) -> Floats:
    """(15, BINS) confidence less correctness, summed over each bin of confidence, of cases of one class."""
    steps = (np.arange(20_000) + 0.5) / 20_000
    quality = means[:, None] + sd * ndtri(steps)  # (15, 20000)
    positive = expit((assumed.means[1] - assumed.means[0]) * quality)
    confidence = np.maximum(positive, 1 - positive)
    gap = confidence - ((positive > 0.5) == label)
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return np.stack([np.bincount(b, weights=g, minlength=BINS) for b, g in zip(bins, gap, strict=True)]) / len(steps)
