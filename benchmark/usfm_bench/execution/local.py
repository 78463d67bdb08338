"""Trials in this process, or in N worker processes of this machine with one GPU each where there are GPUs."""

from __future__ import annotations

import multiprocessing
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from usfm_bench.core.cores import wait_passively
from usfm_bench.execution.engine import ENGINES, Tell
from usfm_bench.execution.outcome import Event, Outcome
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
        """Run trials in `workers` processes. A process that dies costs its own trial only."""
        workers = min(session.arguments.workers, len(queue))
        pool = [_Worker(index, session.arguments) for index in range(workers)]
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


ENGINES.register("here")(Here())
ENGINES.register("local")(Local())


class _Worker:
    """A process and the trial that it has in hand."""

    def __init__(self, index: int, session_arguments: SessionArguments) -> None:
        self._index, self._session_arguments = index, session_arguments
        self.spec: TrialSpec | None = None
        self._start()

    def _start(self) -> None:
        self.pipe, there = _CONTEXT.Pipe()
        arguments = (there, self._session_arguments, self._index)
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
        self._process.terminate()
        self._process.join()


def _work(pipe: Connection, session_arguments: SessionArguments, index: int) -> None:
    # Waiting threads of several processes would otherwise spin on the cores that the others need.
    wait_passively()
    session = Session(session_arguments, index)
    try:
        while True:
            spec, wait_for_it = pipe.recv()
            pipe.send(session.run(spec, pipe.send, wait=wait_for_it))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        return  # the parent is gone, or is being stopped and says so itself
