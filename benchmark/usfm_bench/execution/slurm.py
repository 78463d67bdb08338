"""Trials in an array of Slurm jobs: each takes trials from the shared runs folder until none is left."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from usfm_bench.core.errors import BenchError, listed
from usfm_bench.core.words import counted
from usfm_bench.execution.engine import Tell
from usfm_bench.execution.node import versions
from usfm_bench.execution.outcome import Event, Notice, Outcome
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.execution.share import Events, Share, events_path, write_trials
from usfm_bench.results.store import Store
from usfm_bench.specs.trial import TrialSpec

LOGS = "slurm"
"""Folder of logs and of what jobs tell, in the runs folder."""
TIME = "04:00:00"
_OURS = ("array", "output", "error", "signal", "open-mode", "nodes", "ntasks", "ntasks-per-node")
_GPUS = ("gpus", "gres", "gpus-per-node", "gpus-per-task")
_LOOK_S, _ASK_S = 1.0, 30.0  # between looks at what jobs tell, and questions to Slurm, which many users share
_TIMEOUTS = 100  # a job that runs out of time goes on in a new one this often


class Slurm:
    """An array of `--workers` jobs; they share the runs folder and need no connection to this process."""

    title = "in an array of Slurm jobs that share the runs folder"
    elsewhere = True

    def check(self, options: Mapping[str, str]) -> None:
        """Raise a BenchError where Slurm or submitit is not here, or an option is none of sbatch."""
        if find_spec("submitit") is None:
            raise BenchError(
                "--engine slurm needs 'submitit', which is not installed: pip install 'usfm-bench[slurm]'."
            )
        if lacking := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
            raise BenchError(
                f"--engine slurm: {listed(lacking)} not found on this machine. Run it where jobs are submitted, "
                "such as a cluster's login node."
            )
        for name, value in options.items():
            if not re.fullmatch(r"[a-z][a-z-]*", name) or not value.isprintable():
                raise BenchError(f"--engine-option {name}: expected a long option of sbatch, such as partition=gpu.")
            if name in _OURS:
                raise BenchError(
                    f"--engine-option {name}: is set by usfm-bench; --workers says how many jobs there are."
                )
        minutes(options.get("time", TIME))

    def run(self, queue: TrialQueue, session: Session, tell: Tell) -> None:
        """Submit the array and follow it; without waiting, leave the trials to it.

        Raises:
            BenchError: Slurm refuses the jobs; says its words.
        """
        waits, trials = queue.waits, queue.drain()
        if not trials:
            return
        array = submit(trials, session.arguments)
        tell(Notice(None, f"Slurm job {array.id}: {counted(len(trials), 'trial')}, logs in '{array.logs}'"))
        if not waits:
            for spec in trials:
                tell(Outcome(spec, "busy", f"left to Slurm job {array.id}"))
            return
        try:
            _follow(array, trials, Store(session.arguments.runs), tell)
        except BaseException:
            array.cancel()
            raise


@dataclass(frozen=True)
class Array:
    """Submitted jobs."""

    id: str
    """As Slurm knows the array."""
    jobs: Sequence[Any]
    """submitit's jobs."""
    logs: Path
    folder: Path
    """Of `Share`."""

    def cancel(self) -> None:
        """Have Slurm end all jobs; trials in hand stay resumable."""
        subprocess.run(["scancel", self.id], capture_output=True, check=False)

    def over(self) -> bool:
        """Whether every job has ended; a preempted one that waits to go on has not."""
        if all(job.paths.result_pickle.exists() for job in self.jobs):
            return True
        asked = subprocess.run(
            ["squeue", "--noheader", "--format=%i", f"--jobs={self.id}"], capture_output=True, text=True, check=False
        )
        if asked.returncode:  # jobs of some minutes ago are forgotten; a server that does not answer says nothing
            return "Invalid job id" in asked.stderr
        return not asked.stdout.strip()


def submit(trials: Sequence[TrialSpec], arguments: SessionArguments) -> Array:
    """Submit an array of so many jobs as there are workers.

    Raises:
        BenchError: sbatch refuses.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    logs = arguments.runs.resolve() / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=time.strftime("run-%Y%m%d-%H%M%S-"), dir=logs))
    folder.chmod(logs.stat().st_mode)
    write_trials(folder, trials)
    here = replace(arguments, runs=arguments.runs.resolve(), data_root=arguments.data_root.resolve())
    jobs = min(arguments.workers or 1, len(trials))
    executor = submitit.SlurmExecutor(logs, max_num_timeout=_TIMEOUTS)
    executor.update_parameters(**parameters(dict(arguments.options), arguments.device), array_parallelism=jobs)
    try:
        submitted = executor.submit_array([Share(here, folder, i, jobs, versions()) for i in range(jobs)])
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        shutil.rmtree(folder)
        said = " ".join(str(error).split()).removeprefix("sbatch: ")
        raise BenchError(
            f"Slurm does not take the jobs: {said} (--engine-option NAME=VALUE sets sbatch's options)."
        ) from None
    return Array(submitted[0].job_id.partition("_")[0], submitted, logs, folder)


def parameters(options: Mapping[str, str], device: str) -> dict[str, Any]:
    """What submitit is told, of the options of sbatch that the user has given."""
    named = dict(options)
    if device != "cpu" and not set(_GPUS) & set(named):
        named["gres"] = "gpu:1"
    own = {"time": minutes(named.pop("time", TIME)), "job_name": named.pop("job-name", "usfm-bench")}
    return {**own, "stderr_to_stdout": True, "additional_parameters": named}


def minutes(time_limit: str) -> int:
    """Minutes of one of Slurm's forms of a time limit, a part of one counted as a whole.

    >>> minutes("90"), minutes("02:30"), minutes("04:00:00"), minutes("1-12"), minutes("1-12:30")
    (90, 3, 240, 2160, 2190)

    Reference: sbatch(1), --time.

    Raises:
        BenchError: none of the forms.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time_limit)
    if match is None:
        raise BenchError(
            f"--engine-option time={time_limit}: expected a time limit of sbatch, such as 04:00:00 or 1-12."
        )
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    assert first is not None
    if days is not None:
        seconds = 86400 * days + 3600 * first + 60 * (second or 0) + (third or 0)
    elif third is not None:
        seconds = 3600 * first + 60 * (second or 0) + third
    else:
        seconds = 60 * first + (second or 0)
    return max(1, math.ceil(seconds / 60))


def _follow(array: Array, trials: Sequence[TrialSpec], store: Store, tell: Tell) -> None:
    """Tell of what the jobs tell, until every trial has ended or every job has."""
    following = _Following(array, {spec.label: spec for spec in trials}, tell)
    told = [Events(events_path(array.folder, i), dict(following.left)) for i in range(len(array.jobs))]
    asked, over = time.monotonic(), False
    while following.left:
        for number, events in enumerate(told):
            for event in events:
                following.take(number, event)
        if over:
            break
        over = all(job.paths.result_pickle.exists() for job in array.jobs)
        if not over and time.monotonic() - asked >= _ASK_S:
            over, asked = array.over(), time.monotonic()
        if not over and following.left:
            time.sleep(_LOOK_S)
    following.give_up(store)


@dataclass
class _Following:
    """What is known of the trials of an array."""

    array: Array
    left: dict[str, TrialSpec]
    """Trials of which no end is known, by label."""
    tell: Tell
    in_hand: dict[str, int] = field(default_factory=dict)
    """Label to the number of the job that trained it last."""
    refusals: list[str] = field(default_factory=list)
    """Why machines took no trial."""

    def take(self, number: int, event: Event) -> None:
        """Note and tell what a job says; of a trial that has ended, nothing more is told."""
        if event.spec is None:
            self.refusals += [event.text] if isinstance(event, Notice) else []
        elif event.spec.label not in self.left or (isinstance(event, Outcome) and event.status == "busy"):
            return
        elif isinstance(event, Outcome):
            self._end(event)
        else:
            self.in_hand[event.spec.label] = number
        self.tell(event)

    def _end(self, outcome: Outcome) -> None:
        """Take a trial out; of a model without weights all trials, since one is told of for all."""
        for label, spec in list(self.left.items()):
            if label == outcome.spec.label or (outcome.status == "skipped" and spec.model == outcome.spec.model):
                del self.left[label]

    def give_up(self, store: Store) -> None:
        """Tell how trials ended that no job told of, when all jobs have ended."""
        why = f": {self.refusals[0]}" if self.refusals else f"; logs are in '{self.array.logs}'"
        for label, spec in self.left.items():
            if store.running(spec):
                self.tell(Outcome(spec, "busy", "another process is running it"))
            elif (number := self.in_hand.get(label)) is not None:
                log = self.array.jobs[number].paths.stdout
                self.tell(Outcome(spec, "failed", f"its job ended before it; its log is '{log}'"))
            else:
                self.tell(Outcome(spec, "failed", f"no job of Slurm's {self.array.id} is left to run it{why}"))
