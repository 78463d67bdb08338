"""What an engine is: it decides where trials run. Nothing else knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from usfm_bench.core.errors import BenchError
from usfm_bench.core.registry import Registry
from usfm_bench.execution.outcome import Event
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session

Tell = Callable[[Event], None]


class Engine(Protocol):
    """Takes trials off a queue until it is empty, and runs each with `Session.run` in a place of its choice."""

    title: str
    """Where trials run, in words."""

    def run(self, queue: TrialQueue, session: Session, tell: Tell) -> None:
        """Run every trial: `queue.next()`, `session.run(...)`, `queue.settle(outcome)`, until nothing is left.

        Args:
            queue: the trials; `settle` says whether an outcome is to be told.
            session: of this process. Elsewhere, `Session(session.arguments)` is its like: the arguments can be pickled,
                and say how many trials may run at once.
            tell: told, in this process, of every epoch, notice and outcome.
        """


ENGINES: Registry[Engine] = Registry("engine", home="usfm_bench.execution.local")
"""Name -> engine."""


def check_engine(name: str | None, workers: int) -> None:
    """That a chosen engine, where one is, can run so many trials at once.

    Raises:
        BenchError: no such engine, or one that states `one_at_a_time = True` and is to run several.
    """
    engine = ENGINES[name] if name is not None else None
    if workers > 1 and getattr(engine, "one_at_a_time", False):
        raise BenchError(
            f"Engine '{name}' runs one trial at a time, and --workers {workers} asks for several at once. "
            f"Use --engine {default_engine(workers)}, or leave --workers out."
        )


def default_engine(workers: int) -> str:
    """Name of the engine for so many trials at once, where the user has chosen none."""
    return "local" if workers > 1 else "here"
