"""Published rows on a board: as printed, with their protocol, and whether their values can be true together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from usfm_bench.claims import Verdict, check_claims, load_claims
from usfm_bench.core.resources import resource
from usfm_bench.specs.trial import TrialSpec

FILE = "published.yaml"


@dataclass(frozen=True)
class Claimed:
    """One published row."""

    verdict: Verdict

    def stands_beside(self, spec: TrialSpec) -> bool:
        """Whether measured rows of that trial are of its data set and task."""
        claim = self.verdict.claim
        return (claim.dataset, claim.task) == (spec.dataset.paper_label, spec.task)

    @property
    def printed(self) -> str:
        """`DSC 84.3 ± 0.17, ACC 97.34`."""
        claim = self.verdict.claim
        spread = claim.spread
        return ", ".join(f"{k} {v}" + (f" ± {spread[k]}" if k in spread else "") for k, v in claim.values.items())

    @property
    def proof(self) -> str:
        """Why it is impossible, in the first proof's words; else empty."""
        return next(iter(self.verdict.proofs), "") if self.verdict.verdict == "impossible" else ""


def claimed_rows(board: Path) -> list[Claimed]:
    """Those of the paper's tables and of the board's `published.yaml`.

    Raises:
        BenchError: faults of the board's file.
    """
    files = [resource("reports/reference/paper_tables.yaml"), board / FILE]
    return [Claimed(v) for path in files if path.is_file() for v in check_claims(load_claims(path))]
