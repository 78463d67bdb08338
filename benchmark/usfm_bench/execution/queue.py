"""Which trial comes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from usfm_bench.execution.outcome import Outcome
from usfm_bench.specs.trial import TrialSpec


class TrialQueue:
    """Trials still to run. A model without weights drops out; what another process holds comes last, or not again."""

    def __init__(self, trials: Sequence[TrialSpec], *, wait: bool = True) -> None:
        self._wait = wait
        self._waiting = deque((spec, False) for spec in trials)
        self._without_weights: set[str] = set()

    @property
    def waits(self) -> bool:
        """Whether a run waits in the end for what others have in hand."""
        return self._wait

    @property
    def trials(self) -> list[TrialSpec]:
        """Those that have not been taken yet."""
        return [spec for spec, _ in self._waiting]

    def drain(self) -> list[TrialSpec]:
        """Take all trials at once, for an engine that hands them on together."""
        return [task[0] for task in iter(self.next, None)]

    def __len__(self) -> int:
        """Trials that have not been taken yet, without those that may come again."""
        return len(self._waiting)

    def next(self) -> tuple[TrialSpec, bool] | None:
        """The next trial and whether to wait for a process that holds it; None when nothing is left."""
        while self._waiting:
            spec, wait = self._waiting.popleft()
            if spec.model not in self._without_weights:
                return spec, wait
        return None

    def settle(self, outcome: Outcome) -> bool:
        """Take note of how a trial ended; False when there is nothing to tell: it comes again, or was said before."""
        if outcome.status == "busy" and self._wait:
            self._waiting.append((outcome.spec, True))
            return False
        if outcome.status == "skipped":
            known = outcome.spec.model in self._without_weights
            self._without_weights.add(outcome.spec.model)
            return not known
        return True
