"""Decisions about a positive class that were settled where a model was trained, and what they are worth elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.classification import ECE_DEBIASED, binary_definition
from usfm_bench.metrics.operating import RULES, SENSITIVITIES, threshold_for_sensitivity
from usfm_bench.reporting.external import Target, internal_cases
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats import Interval, classification_interval, crossed_interval, reweighted_interval
from usfm_bench.stats.intervals import paired_interval
from usfm_bench.stats.net_benefit import benefit_of_all, net_benefit

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
STATED = 0.1
"""Prevalence at which predictive values are given beside the data set's own, where nobody states another."""
RULE, LEVEL = next(iter(SENSITIVITIES.items()))
"""The rule that local cases choose a threshold by, and the sensitivity that it asks for."""
LOCAL = (10, 20, 50)
"""Local cases."""
DRAWS = 400
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 16))
"""Of decision curves. Above 75 % few would wait that long before they act."""


@dataclass(frozen=True)
class Decided:
    """One model's decisions about a class on some cases."""

    results: ModelResults
    positive: str

    @cached_property
    def truth(self) -> Bools:
        """(N,)."""
        return np.asarray(self.results.case_table["label"].to_numpy() == self.index)

    @property
    def index(self) -> int:
        """Of the class."""
        return self.results.first.classes.index(self.positive)

    @property
    def is_mixed(self) -> bool:
        """Whether there are cases to decide between."""
        return bool(self.truth.any()) and not self.truth.all()

    @property
    def prevalence(self) -> float:
        """Among the cases."""
        return float(self.truth.mean())

    @cached_property
    def scores(self) -> Floats:
        """(S, N) log-odds; of all other classes together, so that certainty is not rounded to 1."""
        probabilities = self.results.probabilities
        others = np.delete(probabilities, self.index, axis=2).sum(axis=2)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(probabilities[..., self.index]) - np.log(others))

    def rate(self, metric: str, decisions: Bools, of: int = 1) -> Interval:
        """SEN, SPEC or PREC of the class, or with `of` 0 of all that is not it, by decisions (S, N)."""
        two = np.stack([~decisions, decisions], axis=-1).astype(np.float64)
        return classification_interval(
            *(binary_definition(metric, self.positive), two, self.truth.astype(np.int64)),
            groups=self.results.groups,
            folds=self.results.folds,
            repeats=self.results.repeats,
            only=of,
        )

    def predictive(self, decisions: Bools, prevalence: float) -> tuple[Interval, Interval]:
        """PPV and NPV where a share `prevalence` of the cases is positive."""
        groups = self.results.groups
        return (
            reweighted_interval("PREC", decisions, self.truth, prevalence, groups=groups),
            reweighted_interval("PREC", ~decisions, ~self.truth, 1 - prevalence, groups=groups),
        )


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold that the source's validation cases chose, on the source's test cases and on a target."""

    table: str | None
    source: str
    model: str
    target: str
    positive: str
    rule: str
    stated: float
    """Prevalence."""
    prevalence: float
    """Of the target's cases."""
    n_cases: int
    n_positive: int
    n_seeds: int
    internal_sensitivity: Interval
    sensitivity: Interval
    internal_specificity: Interval
    specificity: Interval
    ppv: Interval
    npv: Interval
    stated_ppv: Interval
    stated_npv: Interval


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration error beyond chance, as it is and after the temperature that the source's validation chose."""

    table: str | None
    source: str
    model: str
    target: str
    internal: Interval
    internal_scaled: Interval | None
    external: Interval
    external_scaled: Interval | None


@dataclass(frozen=True, kw_only=True)
class Local:
    """A threshold chosen anew on a few of the target's cases, on all others of them."""

    table: str | None
    source: str
    model: str
    target: str
    positive: str
    n: int
    """Local cases; 0: the threshold of the source, on all cases."""
    sensitivity: float
    """Mean over draws and seeds."""
    low: float
    """5 % of draws are below; the mean over seeds."""
    high: float
    """5 % are above."""
    specificity: float
    restored: float
    """Share of draws with the sensitivity that was asked for."""
    without: float
    """Share of draws without a positive, or a negative, case: the source's threshold stays."""


@dataclass(frozen=True, kw_only=True)
class Benefit:
    """Net benefit of acting on the probability of a class, by threshold."""

    table: str | None
    source: str
    model: str
    target: str | None
    """None: on the source's own test cases."""
    positive: str
    scaled: bool
    """By the probabilities after temperature scaling."""
    values: tuple[Interval, ...]
    """At each of THRESHOLDS."""
    of_all: tuple[float, ...]
    """Of acting on every case."""
    beyond: tuple[Interval, ...]
    """What the model brings more than acting on every case, paired by case."""


@dataclass(frozen=True)
class Travel:
    """What a report says of decisions."""

    thresholds: tuple[Threshold, ...] = ()
    calibrations: tuple[Calibration, ...] = ()
    local: tuple[Local, ...] = ()
    benefits: tuple[Benefit, ...] = ()


def travel_of(
    results: Sequence[ModelResults], targets: Sequence[Target], rng: np.random.Generator, stated: float = STATED
) -> Travel:
    """Of models whose data set names a positive class.

    Args:
        results: on their own test cases.
        targets: the same on other data sets.
        rng: draws local cases.
        stated: prevalence, above 0 and below 1.
    """
    decided = [
        (each, own, there)
        for each in targets
        if (own := _decided(internal_cases(each))) and (there := _decided(each.results, own.positive))
    ]
    return Travel(
        tuple(row for each, own, there in decided for row in _thresholds(each, own, there, stated)),
        tuple(_calibration(each, own, there) for each, own, there in decided),
        tuple(row for each, own, there in decided for row in _local(each, own, there, rng)),
        (
            *(_benefit(r, None, own) for r in results if (own := _decided(r))),
            *(_benefit(each.source, each.target, there) for each, _, there in decided),
        ),
    )


def _decided(results: ModelResults, positive: str | None = None) -> Decided | None:
    """None of tasks without classes, of data sets that name no positive one, and without cases to decide between."""
    positive = positive or results.first.spec.dataset.positive
    if results.task.per_case or positive is None or positive not in results.first.classes:
        return None
    found = Decided(results, positive)
    return found if found.is_mixed else None


def _thresholds(each: Target, own: Decided, there: Decided, stated: float) -> Iterator[Threshold]:
    for rule in RULES:
        before, after = own.results.decisions(rule), there.results.decisions(rule)
        if before is None or after is None:
            continue
        stated_ppv, stated_npv = there.predictive(after, stated)
        yield Threshold(
            **_who(each),
            positive=own.positive,
            rule=rule,
            stated=stated,
            prevalence=there.prevalence,
            n_cases=len(there.truth),
            n_positive=int(there.truth.sum()),
            n_seeds=len(there.results.seeds),
            internal_sensitivity=own.rate("SEN", before),
            sensitivity=there.rate("SEN", after),
            internal_specificity=own.rate("SPEC", before),
            specificity=there.rate("SPEC", after),
            ppv=there.rate("PREC", after),
            npv=there.rate("PREC", after, of=0),
            stated_ppv=stated_ppv,
            stated_npv=stated_npv,
        )


def _who(each: Target) -> dict[str, Any]:
    spec = each.source.first.spec
    return {"table": spec.table, "source": spec.dataset.name, "model": spec.model, "target": each.target}


def _calibration(each: Target, own: Decided, there: Decided) -> Calibration:
    parts = [
        None if probabilities is None else _error(of.results, probabilities)
        for of in (own, there)
        for probabilities in (of.results.probabilities, of.results.scaled_probabilities)
    ]
    internal, internal_scaled, external, external_scaled = parts
    assert internal is not None
    assert external is not None
    return Calibration(
        **_who(each),
        internal=internal,
        internal_scaled=internal_scaled,
        external=external,
        external_scaled=external_scaled,
    )


def _error(results: ModelResults, probabilities: Floats) -> Interval:
    labels = results.case_table["label"].to_numpy(np.int64)
    return classification_interval(
        ECE_DEBIASED, probabilities, labels, groups=results.groups, folds=results.folds, repeats=results.repeats
    )


def _local(each: Target, own: Decided, there: Decided, rng: np.random.Generator) -> Iterator[Local]:
    """By resampling: some of the target's groups choose the threshold, and all other cases are scored with it."""
    decisions = there.results.decisions(RULE)
    if own.results.decisions(RULE) is None or decisions is None:
        return
    groups = there.results.groups
    yield _summed(each, there, 0, [_rates(decisions, there.truth)], 0)
    for n in LOCAL:
        drawn, without = [], 0
        for _ in range(DRAWS):
            local = _draw(groups, n, rng)
            if local.all() or not (there.truth & ~local).any() or (there.truth | local).all():
                continue  # nothing is left to score
            found = [threshold_for_sensitivity(seed[local], there.truth[local], LEVEL) for seed in there.scores]
            thresholds = np.array([threshold for threshold in found if threshold is not None])
            without += not len(thresholds)
            called = there.scores >= thresholds[:, None] if len(thresholds) else decisions
            drawn.append(_rates(called[:, ~local], there.truth[~local]))
        if drawn:
            yield _summed(each, there, n, drawn, without)


def _draw(groups: NDArray[np.int64], n: int, rng: np.random.Generator) -> Bools:
    """(N,) cases of groups in random order until there are n."""
    order = rng.permutation(int(groups.max()) + 1)
    sizes = np.bincount(groups, minlength=len(order))[order]
    taken = order[: int(np.searchsorted(sizes.cumsum(), n)) + 1]
    return np.isin(groups, taken)


def _rates(called: Bools, truth: Bools) -> tuple[float, float]:
    """Sensitivity and specificity, means over seeds of (S, N) decisions."""
    return float(called[:, truth].mean()), float((~called[:, ~truth]).mean())


def _summed(each: Target, there: Decided, n: int, drawn: Sequence[tuple[float, float]], without: int) -> Local:
    sensitivity, specificity = np.array(drawn).T
    low, high = np.quantile(sensitivity, [0.05, 0.95])
    return Local(
        **_who(each),
        positive=there.positive,
        n=n,
        sensitivity=float(sensitivity.mean()),
        low=float(low),
        high=float(high),
        specificity=float(specificity.mean()),
        restored=float((sensitivity >= LEVEL - 1e-9).mean()),
        without=without / len(drawn),
    )


def _benefit(source: ModelResults, target: str | None, of: Decided) -> Benefit:
    scaled = of.results.scaled_probabilities
    probabilities = (of.results.probabilities if scaled is None else scaled)[..., of.index]
    groups, folds = of.results.groups, of.results.folds
    spec = source.first.spec
    own = [net_benefit(probabilities, of.truth, t) for t in THRESHOLDS]
    of_all = [benefit_of_all(of.truth, t) for t in THRESHOLDS]
    return Benefit(
        table=spec.table,
        source=spec.dataset.name,
        model=spec.model,
        target=target,
        positive=of.positive,
        scaled=scaled is not None,
        values=tuple(crossed_interval(scores, groups=groups, folds=folds) for scores in own),
        of_all=tuple(float(scores.mean()) for scores in of_all),
        beyond=tuple(
            paired_interval(scores - every, groups=groups, folds=folds)
            for scores, every in zip(own, of_all, strict=True)
        ),
    )
