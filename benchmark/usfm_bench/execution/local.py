"""Trials in this process, or in N worker processes of this machine with one GPU each where there are GPUs."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from usfm_bench.core.cores import share_cores, wait_passively
from usfm_bench.core.errors import BenchError
from usfm_bench.core.free_memory import too_many
from usfm_bench.core.words import counted
from usfm_bench.execution.engine import Tell
from usfm_bench.execution.outcome import Event, Notice, Outcome
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.specs.trial import TrialSpec

# A fresh interpreter: forking a process that has initialised torch's threads or CUDA is not safe.
_CONTEXT = multiprocessing.get_context("spawn")


class Here:
    """Trials one after the other in this process."""

    title = "in this process, one after the other"
    one_at_a_time = True

    def run(self, queue: TrialQueue, session: Session, tell: Tell) -> None:
        """Run trials until the queue is empty."""
        while (task := queue.next()) is not None:
            outcome = session.run(task[0], tell, wait=task[1])
            if queue.settle(outcome):
                tell(outcome)


class Local:
    """Trials in worker processes of this machine; the i-th worker uses the i-th GPU, cyclically."""

    title = "in processes of this machine, a GPU each where there are GPUs"

    def run(self, queue: TrialQueue, session: Session, tell: Tell) -> None:
        """Run trials in `workers` processes. A process that dies costs its own trial only.

        Raises:
            BenchError: more workers than the GPUs have room for, or GPUs to be shared where there are none.
        """
        workers = min(workers_here(session.arguments), len(queue))
        if workers > 1 and (warning := too_many(workers)):
            tell(Notice(None, warning))
        pool = [_Worker(index, workers, session.arguments) for index in range(workers)]
        try:
            for worker in pool:
                worker.take(queue.next())
            while busy := {worker.pipe: worker for worker in pool if worker.spec is not None}:
                for pipe in wait(list(busy)):
                    worker = busy[pipe]  # type: ignore[index]
                    event = worker.receive()
                    if not isinstance(event, Outcome):
                        tell(event)
                        continue
                    if queue.settle(event):
                        tell(event)
                    worker.take(queue.next())
        finally:
            for worker in pool:
                worker.stop()


def workers_here(arguments: SessionArguments) -> int:
    """Trials at once on this machine: so many as are asked for, or for which there is room on its GPUs.

    Raises:
        BenchError: more are asked for than `per_gpu` trials on each GPU, or it is given where no GPU is used.
    """
    workers, per_gpu = arguments.workers, arguments.per_gpu
    if arguments.device != "cuda":
        if per_gpu is not None:
            raise BenchError("--per-gpu shares GPUs, and trials run on the CPU here. --workers N runs N at once.")
        return workers or 1
    if workers is not None and per_gpu is None:
        return workers
    import torch

    gpus = torch.cuda.device_count()
    room = gpus * (per_gpu or 1)
    if workers is not None and workers > room:
        raise BenchError(
            f"--workers {workers} with --per-gpu {per_gpu}: {counted(gpus, 'GPU')} have room for {room} trials at "
            f"once. Use --workers {room}, or leave --workers out."
        )
    return workers or room


class _Worker:
    """A process and the trial that it has in hand."""

    def __init__(self, index: int, workers: int, session_arguments: SessionArguments) -> None:
        self._index, self._workers, self._session_arguments = index, workers, session_arguments
        self.spec: TrialSpec | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, there = _CONTEXT.Pipe()
        arguments = (there, self._session_arguments, self._index, self._workers)
        self._process: SpawnProcess = _CONTEXT.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        there.close()

    def take(self, task: tuple[TrialSpec, bool] | None) -> None:
        """Hand the process its next trial."""
        self.spec = task[0] if task else None
        if not task:
            return
        try:
            self.pipe.send(task)
        except ConnectionError:  # it died between two trials
            self._process.join()
            self._start()
            self.pipe.send(task)

    def receive(self) -> Event:
        """What the process says next; when it is dead, that its trial failed, and a new process takes its place."""
        assert self.spec is not None
        try:
            event: Event = self.pipe.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode
            self._start()
            return Outcome(self.spec, "failed", f"its process died (exit code {code}); -9 is usually out of memory")
        return event

    def stop(self) -> None:
        """End the process; a trial in hand stays resumable."""
        self._process.kill()  # files appear whole or not at all, and half-done work has its last state
        self._process.join()


def _work(pipe: Connection, session_arguments: SessionArguments, index: int, workers: int) -> None:
    # Waiting threads of several processes would otherwise spin on the cores that the others need.
    wait_passively()
    if session_arguments.device == "cuda":  # on a CPU the recipe says how many threads, which moves the last bits
        share_cores(workers)
    if "SLURM_JOB_ID" in os.environ:  # Slurm warns every process of a job, and the parent is the one that answers
        for warning in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(warning, signal.SIG_IGN)
    session = Session(session_arguments, index)
    try:
        while True:
            spec, wait_for_it = pipe.recv()
            pipe.send(session.run(spec, pipe.send, wait=wait_for_it))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return  # the parent is gone, or is being stopped and says so itself
