"""Did a metric become worse than in the baseline? One paired test for each metric, by Holm over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from usfm_bench.metrics.definitions import Definition, find_definitions
from usfm_bench.regression.match import Matched
from usfm_bench.regression.scatter import ROUNDING, same_scores, scatter_of
from usfm_bench.stats.compare import detectable_drop, holm, p_beyond
from usfm_bench.stats.components import Components, difference_components, paired_components, variance_components
from usfm_bench.stats.contributions import Contributions

Floats = NDArray[np.float64]
ALPHA = 0.04
"""Family-wise error: the probability of calling anything a regression when nothing became worse."""
SEED_ALPHA = 0.01
"""Family-wise error of calling any seed diverged when nothing became worse: a check fails wrongly in 5 % of all."""
NO_WORSE_ALPHA = 0.05
"""Error of each "no regression"."""
Outcome = Literal["unchanged", "no regression", "cannot tell", "diverged", "regression"]


@dataclass(frozen=True)
class Finding:
    """One metric of one model on one data set."""

    dataset: str
    model: str
    definition: Definition
    outcome: Outcome
    before: float
    after: float
    drop: float
    """By how much it became worse, in the metric's unit; negative: better."""
    margin: float
    """A drop of up to this is no regression."""
    p_value: float | None
    """One-sided, of "the drop is at most the margin", by Holm over all findings; None where there is no test."""
    detectable: float | None
    """Smallest true drop beyond the margin that this design finds with 80 % power, by Holm's strictest step."""
    reason: str
    """Why there is no test, how it was made, or which seed diverged; else empty."""


class Drop(NamedTuple):
    """By how much a metric became worse, and how that varies."""

    before: float
    after: float
    drop: float
    parts: Components | None
    """Of the drop; None where there is no test."""
    same: bool
    """All scores are equal, to rounding."""
    reason: str = ""
    seeds: tuple[Floats, Floats] | None = None
    """(S,) of the old and of the new run, the more the better; None where nothing is known of them."""
    noise: float = 0.0
    """Standard deviation of one seed's mean by the residual alone."""


def judge(pairs: Sequence[Matched], margin_of: Callable[[Definition], float]) -> list[Finding]:
    """A finding for each metric of each entry.

    A regression is shown by a one-sided paired test of "the drop is at most the margin", with Holm over all findings;
    "no regression" by the opposite test, each at 5 %. Neither: "cannot tell". What is unchanged, or has no test, counts
    in the family all the same. Both runs are of one model, so that their trainings scatter alike unless something
    changed: the degrees of freedom are by the ratio of the spreads over all models (`Scatter.n_sets`).
    """
    n_sets = scatter_of(pairs).n_sets
    cells = [(pair, metric) for pair in pairs for metric in pair.entry.metrics]
    definitions = [find_definitions([metric.definition])[0] for _, metric in cells]
    drops = [
        measure_drop(
            metric.contributions,
            pair.scores.metrics[d.id],
            higher_is_better=d.higher_is_better,
            paired=pair.same_networks,
            n_sets=n_sets,
        )
        for (pair, metric), d in zip(cells, definitions, strict=True)
    ]
    low = [
        diverged_seeds(drop, pair.entry.seeds, SEED_ALPHA / len(cells))
        for (pair, _), drop in zip(cells, drops, strict=True)
    ]
    margins = [margin_of(definition) for definition in definitions]
    p_values = [_p_value(drop, margin) for drop, margin in zip(drops, margins, strict=True)]
    each = zip(cells, definitions, drops, margins, p_values, holm(p_values), low, strict=True)
    return [
        Finding(
            dataset=pair.entry.dataset,
            model=pair.entry.model,
            definition=definition,
            outcome=_outcome(drop, p, adjusted, seeds),
            before=drop.before,
            after=drop.after,
            drop=drop.drop,
            margin=margin,
            p_value=None if drop.parts is None else adjusted,
            detectable=_detectable(drop, ALPHA / len(cells)),
            reason=f"{_listed(seeds)} diverged" if seeds else drop.reason,
        )
        for (pair, _), definition, drop, margin, p, adjusted, seeds in each
    ]


def measure_drop(
    old: Contributions | None,
    new: Contributions | None,
    *,
    higher_is_better: bool,
    paired: bool = False,
    n_sets: float = 2.0,
) -> Drop:
    """From the old scores to the new ones, of the same seeds and cases.

    Args:
        old: of the baseline; None where the jackknife does not exist.
        new: of the new run.
        higher_is_better: False for distances.
        paired: both are by the same trained networks.
        n_sets: sets of seeds that show the spread between trainings as well as both runs do (`Scatter.n_sets`).
    """
    if old is None or new is None:
        return Drop(np.nan, np.nan, np.nan, None, False, "the metric is undefined without one of the groups of cases")
    sign = 1 if higher_is_better else -1
    before, after = old.metric, new.metric
    drop = Drop(before, after, sign * (before - after), None, same=False)
    if same_scores(old, new):
        return drop._replace(drop=0.0, same=True)
    if paired:
        parts = paired_components(sign * (old.values - new.values), new.groups, folds=new.folds, sizes=new.sizes)
        drop = drop._replace(reason="the trained weights are the same, so that seeds are paired")
    elif len(old.values) < 2:
        return drop._replace(reason="one seed: how much another training would differ is not known")
    else:
        _, groups, folds, sizes = new
        one, other = sign * old.values, sign * new.values
        parts = difference_components(one, other, groups, folds=folds, sizes=sizes, n_sets=n_sets)
        residual = variance_components(new.values, groups, folds=folds).residual
        drop = drop._replace(seeds=(one.mean(axis=1), other.mean(axis=1)), noise=(residual * len(new.values)) ** 0.5)
    if parts.n_groups <= parts.n_folds:
        return drop._replace(reason="too few cases, or groups of them")
    return drop._replace(parts=parts)


def diverged_seeds(drop: Drop, seeds: Sequence[int], alpha: float) -> tuple[int, ...]:
    """New seeds that are worse than all old ones, and too far from what the others scatter around to be one of them.

    A seed is held against all old seeds and the new ones that are better than it, by the t of a further observation,
    at alpha over the number of seeds; what is worse than one that diverged diverged too. Their scatter is at least what
    the residual explains: else one lesion more that one seed misses would be far from seeds that agree.
    """
    if drop.seeds is None:
        return ()
    old, new = drop.seeds
    highest = -np.inf
    for value in new:
        others = np.concatenate([old, new[new > value]])
        scatter = max(float(others.std(ddof=1)), drop.noise) * (1 + 1 / len(others)) ** 0.5
        t = float(stdtrit(len(others) - 1, 1 - alpha / len(new)))
        if value < old.min() and others.mean() - value > t * scatter + ROUNDING:
            highest = max(highest, float(value))
    return tuple(seed for seed, value in zip(seeds, new, strict=True) if value <= highest)


def _listed(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _p_value(drop: Drop, margin: float) -> float:
    return 1.0 if drop.parts is None else p_beyond(drop.parts, margin)


def _outcome(drop: Drop, p: float, adjusted: float, diverged: Sequence[int]) -> Outcome:
    if drop.same:
        return "unchanged"
    if drop.parts is None:
        return "cannot tell"
    if adjusted <= ALPHA:
        return "regression"
    if diverged:
        return "diverged"
    return "no regression" if 1 - p <= NO_WORSE_ALPHA else "cannot tell"


def _detectable(drop: Drop, alpha: float) -> float | None:
    return None if drop.parts is None or drop.parts.none else detectable_drop(drop.parts, alpha)
