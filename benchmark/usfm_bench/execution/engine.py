"""What an engine is: it decides where trials run. Nothing else knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from usfm_bench.core.errors import BenchError
from usfm_bench.core.registry import Registry
from usfm_bench.execution.outcome import Event
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session

Tell = Callable[[Event], None]


class Engine(Protocol):
    """Takes trials off a queue until it is empty, and runs each with `Session.run` in a place of its choice.

    What else an engine may state: `one_at_a_time = True`; `elsewhere = True`, where other machines choose the device;
    and `check(options)`, which raises a BenchError for options that it does not take, or where it cannot run at all.
    """

    title: str
    """Where trials run, in words."""

    def run(self, queue: TrialQueue, session: Session, tell: Tell) -> None:
        """Run every trial: `queue.next()`, `session.run(...)`, `queue.settle(outcome)`, until nothing is left.

        Args:
            queue: the trials; `settle` says whether an outcome is to be told.
            session: of this process. Elsewhere, `Session(session.arguments)` is its like: the arguments can be pickled,
                and say how many trials may run at once, how many on a GPU, and the engine's own options.
            tell: told, in this process, of every epoch, notice and outcome.
        """


ENGINES: Registry[Engine] = Registry("engine", home="usfm_bench.execution.engines")
"""Name -> engine."""


def check_engine(
    name: str | None, workers: int | None, per_gpu: int | None = None, options: Mapping[str, str] | None = None
) -> None:
    """That a chosen engine, where one is, can run so many trials at once, with these options of its own.

    Raises:
        BenchError: no such engine, one that states `one_at_a_time = True` and is to run several, one that lacks what
            it needs here, or options that it does not take.
    """
    engine = ENGINES[name] if name is not None else None
    asked = {"--workers": workers, "--per-gpu": per_gpu}
    several = [f"{option} {number}" for option, number in asked.items() if (number or 1) > 1]
    if several and getattr(engine, "one_at_a_time", False):
        raise BenchError(
            f"Engine '{name}' runs one trial at a time, and {several[0]} asks for several at once. "
            f"Use --engine {default_engine(workers, per_gpu)}, or leave {several[0].split()[0]} out."
        )
    check = getattr(engine, "check", None)
    if check is not None:
        check(options or {})
    elif options:
        raise BenchError(f"Engine '{name or default_engine(workers, per_gpu)}' takes no {shown_option(*options)}.")


def chooses_device(name: str | None) -> bool:
    """Whether the machines of an engine, and not this one, choose the device."""
    return name is not None and bool(getattr(ENGINES[name], "elsewhere", False))


def shown_option(*names: str) -> str:
    """Options of an engine as they are given: `--engine-option a, --engine-option b`."""
    return ", ".join("--address" if name == "address" else f"--engine-option {name}" for name in names)


def default_engine(workers: int | None, per_gpu: int | None = None) -> str:
    """Name of the engine for so many trials at once, where the user has chosen none."""
    return "local" if (workers or 1) > 1 or per_gpu else "here"
