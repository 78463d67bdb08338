"""Did a metric become worse than in the baseline? One paired test for each metric, by Holm over all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from usfm_bench.metrics.definitions import Definition, find_definitions
from usfm_bench.regression.match import Pair
from usfm_bench.stats.compare import detectable_drop, holm, p_beyond
from usfm_bench.stats.components import Components, difference_components
from usfm_bench.stats.contributions import Contributions

ALPHA = 0.05
"""Family-wise error: the probability of calling anything a regression when nothing became worse."""
Outcome = Literal["unchanged", "no regression", "cannot tell", "regression"]
_ROUNDING = 1e-9  # another machine may add in another order


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
    """Why there is no test; empty where there is one."""


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


def judge(pairs: Sequence[Pair], margin_of: Callable[[Definition], float]) -> list[Finding]:
    """A finding for each metric of each entry.

    A regression is shown by a one-sided paired test of "the drop is at most the margin", with Holm over all findings;
    "no regression" by the opposite test, each at 5 %. Neither: "cannot tell". What is unchanged, or has no test, counts
    in the family all the same.
    """
    cells = [(entry, scores, metric) for entry, _, scores in pairs for metric in entry.metrics]
    definitions = [find_definitions([metric.definition])[0] for _, _, metric in cells]
    drops = [
        measure_drop(metric.contributions, scores.metrics[d.id], higher_is_better=d.higher_is_better)
        for (_, scores, metric), d in zip(cells, definitions, strict=True)
    ]
    margins = [margin_of(definition) for definition in definitions]
    p_values = [_p_value(drop, margin) for drop, margin in zip(drops, margins, strict=True)]
    each = zip(cells, definitions, drops, margins, p_values, holm(p_values), strict=True)
    return [
        Finding(
            dataset=entry.dataset,
            model=entry.model,
            definition=definition,
            outcome=_outcome(drop, p, adjusted),
            before=drop.before,
            after=drop.after,
            drop=drop.drop,
            margin=margin,
            p_value=None if drop.parts is None else adjusted,
            detectable=_detectable(drop, ALPHA / len(cells)),
            reason=drop.reason,
        )
        for (entry, _, _), definition, drop, margin, p, adjusted in each
    ]


def measure_drop(old: Contributions | None, new: Contributions | None, *, higher_is_better: bool) -> Drop:
    """From the old scores to the new ones, of the same seeds and cases."""
    if old is None or new is None:
        return Drop(np.nan, np.nan, np.nan, None, False, "the metric is undefined without one of the groups of cases")
    sign = 1 if higher_is_better else -1
    before, after = old.metric, new.metric
    drop = Drop(before, after, sign * (before - after), None, same=False)
    if np.allclose(old.values, new.values, rtol=_ROUNDING, atol=_ROUNDING):
        return drop._replace(drop=0.0, same=True)
    if len(old.values) < 2:
        return drop._replace(reason="one seed: how much another training would differ is not known")
    parts = difference_components(sign * old.values, sign * new.values, new.groups, folds=new.folds)
    if parts.n_groups <= parts.n_folds:
        return drop._replace(reason="too few cases, or groups of them")
    return drop._replace(parts=parts)


def _p_value(drop: Drop, margin: float) -> float:
    return 1.0 if drop.parts is None else p_beyond(drop.parts, margin)


def _outcome(drop: Drop, p: float, adjusted: float) -> Outcome:
    if drop.same:
        return "unchanged"
    if drop.parts is None:
        return "cannot tell"
    if adjusted <= ALPHA:
        return "regression"
    return "no regression" if 1 - p <= ALPHA else "cannot tell"


def _detectable(drop: Drop, alpha: float) -> float | None:
    return None if drop.parts is None or drop.parts.none else detectable_drop(drop.parts, alpha)
