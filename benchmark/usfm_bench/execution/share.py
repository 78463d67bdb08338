"""One job's share of a run: trials that no other job has in hand, told of in a file that the run follows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_text
from usfm_bench.execution.engine import ENGINES
from usfm_bench.execution.node import device_here, missing_inputs, refusal, version_faults, versions
from usfm_bench.execution.outcome import Event, Notice, Outcome, Tick
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.results.store import Store
from usfm_bench.specs.trial import TrialSpec

_TRIALS, _ENDED = "trials.jsonl", "ended"


@dataclass(frozen=True)
class Share:
    """What a job runs. It can be pickled, is called in the job, and again where the job was preempted."""

    arguments: SessionArguments
    folder: Path
    """Of the run: the trials, which of them have ended, and what each job tells."""
    number: int
    """Of this job, from 0."""
    jobs: int
    versions: Mapping[str, str]
    """Of the process that planned the run."""

    def __call__(self) -> None:
        """Run trials until each is finished, has failed, or is another job's. Not a fault of the job: one that failed.

        Raises:
            BenchError: this machine lacks what the trials need, and took none.
        """
        trials = read_trials(self.folder)
        with events_path(self.folder, self.number).open("ab", buffering=0) as stream:
            try:
                self._run(trials, stream)
            except BenchError as error:
                _append(stream, Notice(None, str(error)))
                raise

    def checkpoint(self, *_: object) -> Any:
        """What submitit starts again after a preemption: the same; a trial in hand goes on from its `state.pt`."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _run(self, trials: list[TrialSpec], stream: IO[bytes]) -> None:
        faults = version_faults(self.versions, versions()) + missing_inputs(self.arguments, trials)
        if faults:
            raise BenchError(refusal(faults))
        arguments = replace(self.arguments, device=device_here(self.arguments.device), workers=None)
        begin = self.number * len(trials) // self.jobs  # jobs begin apart, so that few meet at a trial
        trials = trials[begin:] + trials[:begin]
        ended = Ended(self.folder)

        def tell(event: Event) -> None:
            if isinstance(event, Outcome) and event.status != "busy":
                ended.add(event.spec)
            _append(stream, event)

        while True:  # again while a pass finds work: a job that died has left a trial behind
            queue = _Open(trials, Store(arguments.runs), ended)
            # In a process of its own even where it is one: Slurm's warnings reach this one, and end no trial as failed.
            ENGINES["local"].run(queue, Session(arguments), tell)
            if not queue.ran:
                return


class Ended:
    """Trials of a run that have ended, whatever way, as empty files that all its jobs see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _ENDED
        self._folder.mkdir(exist_ok=True)

    def add(self, spec: TrialSpec) -> None:
        """Note that a trial has ended."""
        self._path(spec).touch()

    def __contains__(self, spec: TrialSpec) -> bool:
        return self._path(spec).exists()

    def _path(self, spec: TrialSpec) -> Path:
        return self._folder / spec.hash


class _Open(TrialQueue):
    """Trials of which none has ended when it is taken; what others have in hand is left to them."""

    def __init__(self, trials: list[TrialSpec], store: Store, ended: Ended) -> None:
        super().__init__(trials, wait=False)
        self._store, self._ended = store, ended
        self.ran = 0

    def next(self) -> tuple[TrialSpec, bool] | None:
        while (task := super().next()) is not None:
            if task[0] not in self._ended and not (self._store.folder(task[0]) / "record.json").exists():
                return task
        return None

    def settle(self, outcome: Outcome) -> bool:
        self.ran += outcome.status != "busy"
        return super().settle(outcome)


def write_trials(folder: Path, trials: Iterable[TrialSpec]) -> None:
    """Put the trials of a run where its jobs read them."""
    write_text(folder / _TRIALS, "".join(f"{spec.model_dump_json()}\n" for spec in trials))


def read_trials(folder: Path) -> list[TrialSpec]:
    """The trials of a run."""
    lines = (folder / _TRIALS).read_text(encoding="utf-8").splitlines()
    return [TrialSpec.model_validate_json(line) for line in lines]


def events_path(folder: Path, number: int) -> Path:
    """The file in which a job tells of its trials, a line an event."""
    return folder / f"events-{number}.jsonl"


def _append(stream: IO[bytes], event: Event) -> None:
    content: dict[str, Any] = {"label": event.spec.label if event.spec else None}
    if isinstance(event, Outcome):
        content |= {"status": event.status, "message": event.message}
    elif isinstance(event, Tick):
        content |= {"row": event.row}
    else:
        content |= {"text": event.text}
    stream.write(f"{json.dumps(content)}\n".encode())  # one write, so that a job that is killed leaves no half line


class Events:
    """What a job has told since it was last asked."""

    def __init__(self, path: Path, by_label: Mapping[str, TrialSpec]) -> None:
        self._path, self._by_label, self._read = path, by_label, 0

    def __iter__(self) -> Iterator[Event]:
        """New events, in order; none while the job has not begun."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._read)
                content = stream.read()
        except FileNotFoundError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if (event := self._event(json.loads(line))) is not None:
                yield event

    def _event(self, content: dict[str, Any]) -> Event | None:
        spec = self._by_label.get(content["label"])
        if "text" in content:
            return Notice(spec, content["text"])
        if spec is None:
            return None
        return Tick(spec, content["row"]) if "row" in content else Outcome(spec, content["status"], content["message"])
