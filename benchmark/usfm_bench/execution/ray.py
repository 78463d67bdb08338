"""Trials in actors of a Ray cluster. This process alone reads data and writes the store, so no disk is shared."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from usfm_bench.core.errors import BenchError, listed, unknown
from usfm_bench.core.words import counted
from usfm_bench.execution.carried import Files, RemoteSession, carry
from usfm_bench.execution.engine import Tell
from usfm_bench.execution.node import version_faults, versions
from usfm_bench.execution.outcome import Event, Notice, Outcome
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.results.store import Store
from usfm_bench.specs.trial import TrialSpec

_OPTIONS = ("address", "cpus")
_DIAL_S, _ANSWER_S, _NODE_S, _WAIT_S = 10, 60, 60, 60
_JOIN = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False)"
# Read when torch is loaded in an actor, which is before any of our own lines there.
_VARIABLES = {"OMP_WAIT_POLICY": "passive"}


class Ray:
    """Actors with a GPU each, or a part of one, wherever the cluster has room; data and weights travel to them."""

    title = "in actors of a Ray cluster, which need no shared disk"
    elsewhere = True

    def check(self, options: Mapping[str, str]) -> None:
        """Raise a BenchError where Ray is not installed, or an option is none of this engine."""
        if find_spec("ray") is None:
            raise BenchError("--engine ray needs 'ray', which is not installed: pip install 'usfm-bench[ray]'.")
        for name, value in options.items():
            if name not in _OPTIONS:
                raise unknown("option of engine ray:", name, _OPTIONS)
            if name == "cpus" and not (value.isascii() and value.isdigit() and int(value)):
                raise BenchError(f"--engine-option cpus={value}: expected a number of processor cores for each trial.")
        if (address := options.get("address", "")).startswith("ray://"):
            raise BenchError(
                f"--address {address}: Ray's client does not pass on progress. Start usfm-bench on a machine of the "
                "cluster with --address auto, such as by `ray job submit -- usfm-bench run ...`."
            )

    def run(self, queue: TrialQueue, session: Session, tell: Tell) -> None:
        """Run trials in so many actors as are asked for, or as the cluster has room for.

        Raises:
            BenchError: the cluster does not answer, lacks the GPUs or the packages that are needed.
        """
        if not len(queue):
            return
        import ray

        options = dict(session.arguments.options)
        _connect(options.get("address"))
        try:
            _check_nodes()
            share = _share(session.arguments, options)
            workers = session.arguments.workers or _room(share)
            workers = min(workers, len(queue))
            crew = _Crew(queue, session, tell, share, workers)
            tell(Notice(None, f"Ray: {counted(workers, 'actor')} on {counted(len(ray.nodes()), 'machine')}."))
            crew.work()
        finally:
            ray.shutdown()  # which ends the actors, too


def _connect(address: str | None) -> None:
    """Join the cluster at an address, or start one on this machine.

    Raises:
        BenchError: nothing answers there in time.
    """
    import ray

    address = address or os.environ.get("RAY_ADDRESS") or None
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    if address is None:
        ray.init(include_dashboard=False, **quiet)
        return
    failed = f"--address {address}: no Ray cluster answers there"
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _DIAL_S).close()
        except OSError as error:
            raise BenchError(
                f"{failed} ({error.strerror or error}). `ray status --address {address}` asks it."
            ) from None
    # Ray itself waits for minutes, or ends the process: a process that may be ended tries it first.
    words = [sys.executable, "-c", _JOIN, address]
    try:
        tried = subprocess.run(words, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{failed} within {_ANSWER_S} s. Is it a Ray cluster of the same version of Ray?") from None
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BenchError(f"{failed}: {last[:300]}")
    ray.init(address=address, **quiet)


def _check_nodes() -> None:
    """Ask every machine of the cluster for its packages.

    Raises:
        BenchError: one has others than this process; all of them are named.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def packages() -> dict[str, str]:  # travels by its code, so that it runs where usfm-bench is not installed
        try:
            from usfm_bench.execution.node import versions

            return versions()
        except ImportError as error:
            return {"fault": f"{type(error).__name__}: {error}"}

    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    remote = ray.remote(num_cpus=0)(packages)
    asked = {
        name: remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote()
        for node, name in nodes.items()
    }
    here, faults = versions(), []
    for name, answer in asked.items():
        try:
            there = ray.get(answer, timeout=_NODE_S)
        except (ray.exceptions.RayError, ray.exceptions.GetTimeoutError) as error:
            there = {"fault": f"does not answer ({type(error).__name__})"}
        wrong = [there["fault"]] if "fault" in there else version_faults(here, there)
        faults += [f"machine {name}: {listed(wrong, 4)}"] if wrong else []
    if faults:
        raise BenchError(
            "\n".join(["No trial was begun, for the cluster has other packages than this machine:", *faults])
        )


@dataclass(frozen=True)
class _Share:
    """What an actor takes of the cluster."""

    cpus: int
    gpus: float
    device: str


def _share(arguments: SessionArguments, options: Mapping[str, str]) -> _Share:
    import ray

    gpus = ray.cluster_resources().get("GPU", 0)
    if arguments.device == "cuda" and not gpus:
        raise BenchError("--device cuda: the Ray cluster has no GPU. Use --device cpu, or add a machine with one.")
    device = "cuda" if arguments.device != "cpu" and gpus else "cpu"
    if arguments.per_gpu is not None and device == "cpu":
        raise BenchError("--per-gpu shares GPUs, and the Ray cluster has none. --workers N runs N trials at once.")
    part = 1 / (arguments.per_gpu or 1) if device == "cuda" else 0.0
    return _Share(int(options.get("cpus", 1)), part, device)


def _room(share: _Share) -> int:
    """Actors for which the cluster has room."""
    import ray

    has = ray.cluster_resources()
    by_cores = int(has.get("CPU", 0)) // share.cpus
    return max(1, min(by_cores, int(has["GPU"] / share.gpus + 1e-6)) if share.gpus else by_cores)


class _Runner:
    """An actor, the trial that it has in hand, and the lock of that trial, which this process holds for it."""

    def __init__(self, carried: Any, share: _Share) -> None:
        import ray

        wants = {"num_cpus": share.cpus, "num_gpus": share.gpus, "runtime_env": {"env_vars": _VARIABLES}}
        self._start = partial(ray.remote(**wants)(RemoteSession).remote, carried, share.device)
        self._actor = self._start()
        self.spec: TrialSpec | None = None
        self.stream: Any = None
        self._lock = ExitStack()

    def take(self, spec: TrialSpec, lock: ExitStack) -> None:
        """Hand the actor a trial whose lock is held."""
        self.spec, self._lock = spec, lock
        self.stream = self._actor.run.options(num_returns="streaming").remote(spec)

    def hear(self) -> Event | Files:
        """What the actor says next; when it has died, that its trial failed, and a new one takes its place."""
        import ray

        assert self.spec is not None
        try:
            said: Event | Files = ray.get(next(self.stream))
        except (ray.exceptions.RayError, StopIteration) as error:
            self._actor = self._start()
            why = (str(error).strip().splitlines() or ["it ended without a word"])[0]
            return Outcome(self.spec, "failed", f"its actor died ({type(error).__name__}: {why[:200]})")
        return said

    def rest(self) -> None:
        """The trial has ended."""
        self._lock.close()
        self.spec, self.stream = None, None


class _Crew:
    """The actors of a run, and the queue that they work off."""

    def __init__(self, queue: TrialQueue, session: Session, tell: Tell, share: _Share, workers: int) -> None:
        import ray

        self._queue, self._session, self._tell = queue, session, tell
        self._store = Store(session.arguments.runs)
        carried = ray.put(carry(session, queue.trials, ray.put, ray.get))
        self._runners = [_Runner(carried, share) for _ in range(workers)]

    def work(self) -> None:
        """Run trials until none is left."""
        import ray

        silent = False
        try:
            for runner in self._runners:
                self._next(runner)
            while busy := {runner.stream: runner for runner in self._runners if runner.spec is not None}:
                ready, _ = ray.wait(list(busy), num_returns=1, timeout=_WAIT_S)
                if not ready and not silent:
                    left = ", ".join(f"{ray.available_resources().get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
                    self._tell(Notice(None, f"Ray has been silent for {_WAIT_S} s; of the cluster, {left} are free."))
                silent = not ready
                for stream in ready:
                    self._listen(busy[stream])
        finally:
            for runner in self._runners:
                runner.rest()

    def _listen(self, runner: _Runner) -> None:
        said = runner.hear()
        if isinstance(said, Files):
            said = said.store(self._store)
        if not isinstance(said, Outcome):
            self._tell(said)
            return
        runner.rest()
        if self._queue.settle(said):
            self._tell(said)
        self._next(runner)

    def _next(self, runner: _Runner) -> None:
        """Hand an actor the next trial that no other process has in hand or has finished."""
        while (task := self._queue.next()) is not None:
            spec, wait = task
            others = any(other.spec is not None for other in self._runners)
            # What they say is not heard while this process waits for another one.
            claim = self._session.claim(spec, self._tell, wait=wait and not others)
            if not isinstance(claim, Outcome):
                runner.take(spec, claim)
                return
            if self._queue.settle(claim):
                self._tell(claim)
            elif wait:
                return  # until another actor has ended its trial
