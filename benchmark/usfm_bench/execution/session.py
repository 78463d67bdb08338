"""Runs trials one after the other in one process, keeping decoded data sets, and turns faults into outcomes."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from usfm_bench.core.errors import BenchError, WeightsMissingError
from usfm_bench.core.locks import LockHeldError, holder
from usfm_bench.core.words import duration, with_unit
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.execution.outcome import Notice, Outcome, Tick
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store, lock_path
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.trial import TrialSpec


@dataclass(frozen=True)
class SessionArguments:
    """What a `Session` is made of, in whatever process; it can be pickled."""

    data_root: Path
    """Where data set paths are resolved."""
    runs: Path
    """The store of results."""
    device: str
    """`cpu` or `cuda`; `auto` where the engine's machines choose."""
    allow_hash: bool = False
    """Take weight files with another sha256 than the registry's, and mark the records."""
    keep_weights: bool = True
    """Keep the trained weights of each trial."""
    workers: int | None = 1
    """Trials at once, for engines that run several; a session runs one. None: as many as the engine has room for."""
    per_gpu: int | None = None
    """Trials at once on each GPU; None: not limited, the workers take turns at the GPUs."""
    options: tuple[tuple[str, str], ...] = ()
    """Names and values of the engine's own settings."""


class Session:
    """One process's view of a run: where data is, where results go, on which device."""

    def __init__(
        self,
        arguments: SessionArguments,
        device_index: int = 0,
        open_data: Callable[[TrialSpec], Dataset] | None = None,
    ) -> None:
        # open_data: where a data set comes from, if not from the data root.
        self.arguments = arguments
        self._store, self._device_index = Store(arguments.runs), device_index
        self._open = open_data or (lambda spec: open_dataset(spec.dataset, arguments.data_root))
        self._datasets: dict[str, Dataset] = {}

    def dataset(self, spec: TrialSpec) -> Dataset:
        """The trial's data set, decoded once for all parts of its training side."""
        key = data_key(spec)
        if key not in self._datasets:
            self._datasets[key] = self._open(spec)
        return self._datasets[key].under(spec.dataset)

    def run(self, spec: TrialSpec, tell: Callable[[Tick | Notice], None], *, wait: bool) -> Outcome:
        """Claim a trial and run it, unless another process has finished it meanwhile.

        Args:
            spec: the trial.
            tell: told of every finished epoch, and where another process is waited for.
            wait: when another process holds the trial, wait for it; otherwise the outcome is `busy`.
        """
        try:
            with self._claim(spec, tell, wait=wait):
                return self._attempt(spec, tell)
        except LockHeldError:
            return self._busy(spec)
        except BenchError as error:
            return Outcome(spec, "failed", str(error))

    def claim(self, spec: TrialSpec, tell: Callable[[Notice], None], *, wait: bool) -> ExitStack | Outcome:
        """Claim a trial for a session elsewhere: the lock, held until it is closed, or how the trial ended instead."""
        with ExitStack() as stack:
            try:
                stack.enter_context(self._claim(spec, tell, wait=wait))
                record = self._finished_meanwhile(spec)
            except LockHeldError:
                return self._busy(spec)
            except BenchError as error:
                return Outcome(spec, "failed", str(error))
            return Outcome(spec, "done", headline(record)) if record else stack.pop_all()

    def _claim(self, spec: TrialSpec, tell: Callable[[Notice], None], *, wait: bool) -> AbstractContextManager[None]:
        lock = lock_path(self._store.folder(spec))

        def waiting() -> None:
            tell(Notice(spec, f"another process is running it{holder(lock)}; waiting for that one ..."))

        return self._store.lock(spec, wait=wait, before_waiting=waiting)

    def _busy(self, spec: TrialSpec) -> Outcome:
        return Outcome(spec, "busy", f"another process is running it{holder(lock_path(self._store.folder(spec)))}")

    def _attempt(self, spec: TrialSpec, tell: Callable[[Tick | Notice], None]) -> Outcome:
        from usfm_bench.models.memory import free_device

        outcome = self._outcome(spec, tell)
        # Out here no error is being handled, whose frames would keep their tensors. Others may share the GPU.
        free_device()
        return outcome

    def _outcome(self, spec: TrialSpec, tell: Callable[[Tick | Notice], None]) -> Outcome:
        from usfm_bench.models.memory import out_of_memory
        from usfm_bench.pipeline import run_one

        try:
            record = self._finished_meanwhile(spec) or run_one(
                spec,
                self.dataset(spec),
                self._store,
                device=self.arguments.device,
                device_index=self._device_index,
                allow_hash=self.arguments.allow_hash,
                keep=self.arguments.keep_weights,
                on_epoch=lambda row: tell(Tick(spec, row)),
            )
        except WeightsMissingError as error:
            return Outcome(spec, "skipped", f"weights missing: {error}")
        except BenchError as error:
            return Outcome(spec, "failed", str(error))
        except Exception as error:
            # Where it is not the user's fault, the trace helps whoever mends it. The other trials go on.
            return Outcome(spec, "failed", _with_recipe(out_of_memory(error), spec) or traceback.format_exc())
        return Outcome(spec, "done", headline(record))

    def _finished_meanwhile(self, spec: TrialSpec) -> Record | None:
        record = self._store.record(spec)
        if record is not None and record.spec_hash != spec.hash:
            raise BenchError("another process has finished this trial with other settings; nothing was overwritten.")
        return record


def data_key(spec: TrialSpec) -> str:
    """What trials share that use one decoded data set."""
    return spec.dataset.model_dump_json(exclude={"name", "training"})


def _with_recipe(said: str | None, spec: TrialSpec) -> str | None:
    now = f"{spec.training.batch_size} images of {spec.training.image_size} px"
    return said and f"{said} than {now}, in a profile of your own (--profile FILE.yaml)"


def headline(record: Record) -> str:
    """The trial's own means in a few words, such as `DSC 71.2 %`."""
    units = {d.name: d.unit for d in TASKS[record.spec.task].primary()}
    names = [name for name in TASKS[record.spec.task].summary if record.scores.get(name) is not None]
    shown = [f"{name} {with_unit(record.scores[name], units.get(name, 'fraction'))}" for name in names]
    return f"{'  '.join(shown)}  ({duration(record.cost.wall_s)})"
