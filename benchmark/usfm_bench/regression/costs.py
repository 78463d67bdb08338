"""Did runs become slower or larger than the baseline's? Ratios, and limits where a user sets them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from usfm_bench.core.errors import BenchError
from usfm_bench.regression.baseline import cost_of
from usfm_bench.regression.match import Matched


class CostLimits(NamedTuple):
    """Ratios, new over old; None: no limit."""

    slowdown: float | None = None
    """Largest of wall time."""
    memory: float | None = None
    """Largest of memory."""
    throughput: float | None = None
    """Smallest of training images a second."""


@dataclass(frozen=True)
class CostFinding:
    """One cost of one model on one data set."""

    dataset: str
    model: str
    name: str
    before: float
    after: float
    limit: float | None
    """Of the ratio; None: shown alone."""
    exceeded: bool

    @property
    def ratio(self) -> float:
        """New over old."""
        return self.after / self.before


def compare_costs(pairs: Sequence[Matched], limits: CostLimits) -> list[CostFinding]:
    """Every cost that both sides know.

    Raises:
        BenchError: a cost with a limit is not known.
    """
    found = []
    for entry, trials, *_ in pairs:
        old, new = entry.cost, cost_of(trials)
        for name, before, after, limit in (
            ("wall time, s", old.wall_s, new.wall_s, limits.slowdown),
            ("memory, MiB", old.peak_memory_mb, new.peak_memory_mb, limits.memory),
            ("training images/s", old.train_images_per_s, new.train_images_per_s, limits.throughput),
        ):
            if not before or after is None:
                if limit is not None:
                    raise BenchError(f"{entry.label}: {name} is not known on both sides; leave its limit out.")
                continue
            ratio = after / before
            worse = limit is not None and (ratio < limit if name == "training images/s" else ratio > limit)
            found.append(CostFinding(entry.dataset, entry.model, name, before, after, limit, worse))
    return found
