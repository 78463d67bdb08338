"""Compare finished trials with a baseline: what changed, and whether anything became worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from usfm_bench.core.errors import BenchError, did_you_mean
from usfm_bench.metrics.definitions import Definition
from usfm_bench.regression.baseline import Baseline
from usfm_bench.regression.costs import CostFinding, CostLimits, compare_costs
from usfm_bench.regression.findings import Finding, judge
from usfm_bench.regression.match import Matched, changes, match
from usfm_bench.regression.scatter import scatter_of
from usfm_bench.regression.scores import Read, read_columns
from usfm_bench.results.store import Store
from usfm_bench.specs.task import TASKS


@dataclass(frozen=True)
class Limits:
    """What a check allows."""

    margin: float = 0.0
    """Drop of every metric that is a fraction."""
    margins: Mapping[str, float] = field(default_factory=dict)
    """By metric name, in the metric's unit; before `margin`."""
    costs: CostLimits = field(default_factory=CostLimits)

    def of(self, definition: Definition) -> float:
        """The margin of a metric."""
        return self.margins.get(definition.name, self.margin if definition.unit == "fraction" else 0.0)


@dataclass(frozen=True)
class Check:
    """Everything that a check found."""

    suite: str
    profile: str
    findings: tuple[Finding, ...]
    changes: Mapping[str, tuple[str, ...]]
    """What differs in settings, weights, versions or device -> data sets and models where it does."""
    costs: tuple[CostFinding, ...]
    bits: Mapping[str, tuple[str, ...]] | None
    """With `exact`: data set and model -> definitions whose scores are not the same to the last bit."""
    remarks: tuple[str, ...]
    """What of the runs was not looked at, in words."""

    def failed(self, *, strict: bool = False) -> bool:
        """A regression, a seed that diverged, a cost beyond its limit, another bit; `strict`: or "cannot tell"."""
        bad = {"regression", "diverged"} | ({"cannot tell"} if strict else set())
        worse = any(finding.outcome in bad for finding in self.findings)
        return worse or any(cost.exceeded for cost in self.costs) or any((self.bits or {}).values())


def check(baseline: Baseline, store: Store, limits: Limits | None = None, *, exact: bool = False) -> Check:
    """Compare the trials of the baseline's suite and profile with it.

    Args:
        baseline: what to compare with.
        store: of the new trials.
        limits: margins and costs; None: no margin and no limit.
        exact: scores are computed anew from kept predictions, and must equal the baseline's to the last bit.

    Raises:
        BenchError: other data, splits, seeds, cases or definitions than the baseline's, or trials that are not
            finished; all of them in one message.
    """
    limits = limits or Limits()
    _check_margins(limits)
    read: Read = read_columns
    if exact:
        from usfm_bench.regression.bits import recomputed_columns

        read = recomputed_columns
    pairs, remarks = match(baseline, store, read)
    if remark := scatter_of(pairs).remark:
        remarks = [remark, *remarks]
    return Check(
        suite=baseline.suite,
        profile=baseline.profile,
        findings=tuple(judge(pairs, limits.of)),
        changes=changes(pairs),
        costs=tuple(compare_costs(pairs, limits.costs)),
        bits=_other_bits(pairs) if exact else None,
        remarks=tuple(remarks),
    )


def _check_margins(limits: Limits) -> None:
    known = list(dict.fromkeys(d.name for task in TASKS.values() for d in task.headline()))
    faults = [
        f"--margin {name}: baselines have no such metric.{did_you_mean(name, known)} They have {', '.join(known)}."
        for name in limits.margins
        if name not in known
    ]
    if faults:
        raise BenchError("\n".join(faults))


def _other_bits(pairs: Sequence[Matched]) -> dict[str, tuple[str, ...]]:
    from usfm_bench.regression.bits import recomputed_bits

    found, faults = {}, []
    for entry, trials, *_ in pairs:
        now = recomputed_bits(trials)
        if changed := sorted(now.keys() ^ entry.bits.keys()):
            faults.append(f"{entry.label}: defined on one side only: {', '.join(changed)}. Write a new baseline.")
        found[entry.label] = tuple(ident for ident, digest in entry.bits.items() if now.get(ident) != digest)
    if faults:
        raise BenchError("\n".join(faults))
    return found
