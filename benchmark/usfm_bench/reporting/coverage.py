"""Where intervals and tests of a report are known to hold less than they say, with the number (docs/coverage.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from usfm_bench.core.words import in_a_row
from usfm_bench.reporting.rows import Row
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats.design.grid import ENOUGH, nearest_coverage
from usfm_bench.stats.design.model import MOST_CASES, MOST_SEEDS, Design
from usfm_bench.stats.headline import Headline

FEW_MISSED = ((0.5, 55, 55), (1.25, 65, 55), (2, 80, 19), (4, 86, 12), (8, 90, 8))
"""Fewer groups with a lesion that a network misses than the first: what intervals of distances cover, and how often a
comparison with a model that misses none finds a difference where there is none, in percent at worst."""
NEAR_END = ((1.0, 27), (2.0, 13))
"""Standard deviations between trainings that a model's mean is from an end of its metric, fewer than the first: how
often a comparison with a model that does not scatter finds a difference where there is none, in percent at worst
(docs/type-one.md)."""
_LIKE = {"SEN": "BACC", "SPEC": "BACC", "F1": "macro F1"}
"""Of an average over classes, whose interval the grid has; all others by their names."""
_MEANS = ("IOU", "NSD", "PSNR", "SSIM")
"""Means over cases, with the interval of DSC. Of distances a line of their own tells (`rarely_missed`)."""


def low_coverage(results: Sequence[ModelResults], rows: Sequence[Row]) -> Iterator[str]:
    """Metrics whose intervals covered less than 93 % in simulated studies of such a size, a line a data set."""
    found: dict[str, dict[str, float]] = {}
    rarest = {(r.first.spec.dataset.name, r.first.spec.model): _rarest(r) for r in results}
    for row in rows:
        share = rarest.get((row.dataset, row.model))
        if row.source != "measured" or row.label is not None or row.ci_low is None or share is None:
            continue
        covered = expected_coverage(row.metric, row.n_seeds or 1, row.n_cases or 0, row.n_groups or 0, share)
        if covered is not None and covered < ENOUGH:
            of_set = found.setdefault(row.dataset, {})
            of_set[row.metric] = min(covered, of_set.get(row.metric, 1.0))
    for dataset, metrics in found.items():
        said = ", ".join(f"{metric} {100 * covered:.0f} %" for metric, covered in metrics.items())
        yield (
            f"{dataset}: in simulated studies of about this size 95 % intervals hold the truth less often: {said} "
            "(docs/coverage.md)"
        )


def expected_coverage(metric: str, seeds: int, cases: int, groups: int, rarest: float) -> float | None:
    """Of a row's interval; None for one seed, of which another line tells, and where nothing was simulated.

    Args:
        metric: as reports name it; of the average over classes.
        seeds: trainings.
        cases: of the mean.
        groups: of cases.
        rarest: share of the rarest class.
    """
    if seeds < 2 or groups < 2 or metric == "HD95":
        return None
    base = metric.partition("@")[0].removesuffix("_T")
    base = "DSC" if base in _MEANS else "ECE" if base == "ECE_DEBIASED" else _LIKE.get(base, base)
    cases = min(cases, MOST_CASES)
    design = Design(cases, min(seeds, MOST_SEEDS), min(groups, cases), round(rarest * cases))
    return nearest_coverage(base, design)


def _rarest(results: ModelResults) -> float:
    """Share of the rarest class among the test cases; a half where there are no classes."""
    if results.task.per_case:
        return 0.5
    counts = np.bincount(results.case_table["label"].to_numpy(np.int64))
    return float(counts[counts > 0].min() / counts.sum())


def rarely_missed(results: Sequence[ModelResults]) -> Iterator[str]:
    """Where a few image diagonals decide the mean of a distance: of a lesion that was not missed nobody knows."""
    found: dict[tuple[str, int, tuple[int, int] | None], dict[str, float]] = {}
    for r in results:
        if "missed" in r.cases:
            spec, missed, groups = r.first.spec, r.matrix("missed") > 0, r.groups
            lesions = len(np.unique(groups[r.case_table["lesion"].to_numpy(bool)]))
            n = float(np.mean([len(np.unique(groups[of_seed])) for of_seed in missed]))
            worst = next(((covered, wrong) for most, covered, wrong in FEW_MISSED if n < most), None)
            if worst and lesions:
                found.setdefault((spec.dataset.name, lesions, worst if n else None), {})[spec.model] = n
    for (dataset, lesions, worst), models in found.items():
        names, numbers = in_a_row([*models]), models.values()
        if worst is None:
            yield (
                f"{dataset}: no network of {names} misses a lesion; of others like these up to "
                f"{min(100, round(300 / lesions))} % may be missed (rule of three), and intervals and comparisons of "
                "distances hold nothing of what that adds"
            )
        else:
            yield (
                f"{dataset}: a network of {names} misses {_lesions(min(numbers), max(numbers))} on average: so few "
                f"image diagonals decide the mean distances; their intervals may cover as little as {worst[0]} %, and "
                "comparisons by them with a model that misses fewer find differences where there are none in up to "
                f"{worst[1]} %"
            )


def _lesions(least: float, most: float) -> str:
    if least == most == 1:
        return "1 lesion"
    return f"{least:.3g} lesions" if least == most else f"{least:.2g} to {most:.2g} lesions"


def scattered_near_an_end(found: Sequence[Headline]) -> Iterator[str]:
    """Where trainings of one model scatter so near an end of the metric that they cannot be normal, a line a metric.

    Its mean is then less than two standard deviations from the end, and the tests, which take means for normal, call it
    different from a model with less than half of its spread too often.
    """
    places: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for one in found:
        if one.contributions is not None and len(one.contributions.values) > 1:
            means = one.contributions.values.mean(axis=1)
            ends = [abs(end - float(means.mean())) for end in one.definition.range if np.isfinite(end)]
            place = one.results.first.spec.dataset.name, one.definition.name
            places.setdefault(place, []).append((one.model, float(means.std(ddof=1)), min(ends, default=np.inf)))
    for (dataset, metric), models in places.items():
        least = min(sd for _, sd, _ in models)
        near = {model: distance / sd for model, sd, distance in models if sd > 2 * least and distance < 2 * sd}
        if near:
            wrong = next(percent for most, percent in NEAR_END if min(near.values()) < most)
            yield (
                f"{dataset}: trainings of {in_a_row([*near])} scatter in {metric} by more than half of their distance "
                f"from its end, so that they are not normal: comparisons with a model that scatters less find "
                f"differences where there are none in up to {wrong} % (docs/type-one.md)"
            )
