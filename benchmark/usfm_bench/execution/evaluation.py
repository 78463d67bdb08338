"""`evaluate`: finished trials on other cases, without training."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from usfm_bench.core.environment import describe_environment, now
from usfm_bench.core.errors import BenchError
from usfm_bench.core.locks import locked
from usfm_bench.data.dataset import Dataset
from usfm_bench.execution.evaluation_cases import Cases, Sources
from usfm_bench.execution.evaluation_jobs import Job
from usfm_bench.execution.trained import Trained, kept_weights, open_trained
from usfm_bench.models.memory import free_device, out_of_memory
from usfm_bench.pipeline import evaluate
from usfm_bench.pretraining.card import read_card, seen_in_pretraining
from usfm_bench.results.evaluation import (
    Evaluation,
    changed_fields,
    evaluation_folder,
    read_evaluation,
    save_evaluation,
)
from usfm_bench.results.frames import ModelResults, gather, stored_cases
from usfm_bench.results.record import Record
from usfm_bench.results.store import lock_path, put_aside, read_record, remove_temporary
from usfm_bench.results.trials import by_model
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.model import resolve
from usfm_bench.training.device import describe_device

_KEPT = 8  # networks: the seeds of a model or two, which are asked about the same pictures


@dataclass
class Evaluated:
    """How the evaluations of one call ended."""

    done: list[tuple[Path, Record]] = field(default_factory=list)
    """Evaluation folders with the trial's record as if it had been tested there, see `Evaluation.as_trial`."""
    evaluations: list[Evaluation] = field(default_factory=list)
    """The same, as they are recorded."""
    n_kept: int = 0
    """How many of them were there before."""
    failed: list[tuple[Job, str]] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0: everything is done. 1: some could not be evaluated. 2: none could."""
        return 0 if not self.failed else 1 if self.done else 2

    def results(self) -> list[ModelResults]:
        """One entry a model and set of cases, for tables."""
        return [gather(trials, stored_cases) for trials in by_model(self.done).values()]


class Evaluator:
    """Evaluates jobs one after the other and keeps data sets, and the networks of the last trials.

    Args:
        registry: all data sets.
        data_root: where their paths are resolved.
        device: `cpu` or `cuda`.
        allow_seen: score cases that a model was trained on, and mark the results.
        fresh: set aside what lies there and evaluate anew.
        say: told, in words, what a user should know.
    """

    def __init__(
        self,
        registry: Mapping[str, DatasetSpec],
        data_root: Path,
        device: str,
        *,
        allow_seen: bool = False,
        fresh: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._sources, self._device = Sources(registry, data_root, say), device
        self._allow_seen, self._fresh, self._say = allow_seen, fresh, say
        self._trained: dict[Path, Trained] = {}

    def run(self, jobs: Sequence[Job], tell: Callable[[Job, str], None] = lambda job, text: None) -> Evaluated:
        """Every job; `tell` hears of each how it ended. One that cannot be done does not stop the others."""
        ended = Evaluated()
        for job in jobs:
            try:
                waiting = partial(self._say, f"{job.label}: another process has the trial in hand; waiting for it ...")
                with locked(lock_path(job.folder), wait=True, before_waiting=waiting):
                    evaluation, kept = self._evaluate(job)
            except BenchError as error:
                ended.failed.append((job, str(error)))
            except Exception as error:  # where it is not the user's fault, the trace helps whoever mends it
                ended.failed.append((job, out_of_memory(error) or traceback.format_exc()))
            else:
                ended.done.append((evaluation_folder(job.folder, job.name), evaluation.as_trial(job.record)))
                ended.evaluations.append(evaluation)
                ended.n_kept += kept
                tell(job, "done before" if kept else "done")
                continue
            tell(job, f"failed: {ended.failed[-1][1]}")
            free_device()
        return ended

    def _evaluate(self, job: Job) -> tuple[Evaluation, bool]:
        """The evaluation, and whether it was there before."""
        record = read_record(job.folder / "record.json")
        if record != job.record:
            raise BenchError("another process has run this trial anew meanwhile. Evaluate again.")
        cases = Cases(job, self._sources, allow_seen=self._allow_seen)
        planned = self._planned(job, cases)
        return evaluate_once(job.folder, planned, lambda: self._network(job), cases, fresh=self._fresh)

    def _planned(self, job: Job, cases: Cases) -> Evaluation:
        """The record but for the numbers.

        Raises:
            BenchError: the cases have no class that the model knows, or were seen in training.
        """
        weights, spec = kept_weights(job.folder, job.record), job.record.spec
        cases.check_classes()
        seen = cases.seen
        if seen is not None and seen.counts and not self._allow_seen:
            raise BenchError(
                f"'{job.name}' is not new to this model: {seen}. A score on cases that were trained on says nothing of "
                "others. --allow-seen goes on, and marks the results."
            )
        scored = cases.scored
        entry = resolve(spec.model)
        card = read_card(entry.weight_file) if entry.weight_file else None
        return Evaluation(
            name=job.name,
            trial=spec.label,
            spec_hash=job.record.spec_hash,
            weights=weights.sha256,
            dataset=spec.model_copy(update={"dataset": cases.whole.spec}).without_place().dataset,
            data_hash=scored.content_hash,
            condition=job.condition,
            own_test=job.dataset is None,
            seen=seen,
            seen_in_pretraining=seen_in_pretraining(entry, card, cases.whole, scored),
            n_test=len(scored),
            n_test_groups=len(set(scored.groups)),
            left_out=cases.left_out,
            known_left_out=cases.known_left_out,
            seen_scored=self._allow_seen and seen is not None and seen.most > 0,
            grouped_by=cases.whole.grouped_by,
            groups=cases.whole.groups_in_words,
            notes=cases.whole.notes,
            definitions={},
            scores={},
        )

    def _network(self, job: Job) -> Trained:
        if job.folder not in self._trained:
            while len(self._trained) >= _KEPT:  # before the next one is built
                del self._trained[next(iter(self._trained))]
            self._trained[job.folder] = open_trained(job.folder, self._device)
        return self._trained[job.folder]


def evaluate_once(
    trial: Path,
    planned: Evaluation,
    network: Callable[[], Trained],
    cases: Cases | Dataset,
    *,
    fresh: bool = False,
) -> tuple[Evaluation, bool]:
    """An evaluation in a trial's folder, made where it is not there; and whether it was. The caller holds the lock.

    Args:
        trial: its folder.
        planned: the record but for the numbers.
        network: gives the trial's, where it is needed.
        cases: what is scored; of `Cases` their pictures, which are made where they are needed.
        fresh: set aside what lies there and evaluate anew.

    Raises:
        BenchError: what lies there is of other cases or weights.
    """
    folder = evaluation_folder(trial, planned.name)
    before = None if fresh else read_evaluation(folder)
    if before is not None:
        if changed := changed_fields(before, planned):
            raise BenchError(
                f"{folder}: holds an evaluation of other cases or weights; nothing was overwritten "
                f"({'; '.join(changed)}). --fresh sets it aside."
            )
        return before, True
    trained = network()
    record = trained.record
    pictures = cases.pictures if isinstance(cases, Cases) else cases
    scored = evaluate(trained.network, record.spec, pictures, trained.fabric, tuned=record.tuned)
    about = describe_environment() | describe_device(trained.fabric, {}) | {"finished": now()}
    found = {"definitions": scored.definitions, "scores": scored.scores, "environment": about}
    evaluation = planned.model_copy(update=found)
    if (folder / "record.json").exists():
        put_aside(folder, evaluation.data_hash[:8])
    remove_temporary(folder)
    save_evaluation(folder, evaluation, scored.cases, scored.predictions)
    return evaluation, False


def seen_lines(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """What readers of the table must know of its cases, each line once."""
    for name in dict.fromkeys(evaluation.name for evaluation in evaluations):
        own = [evaluation for evaluation in evaluations if evaluation.name == name]
        if seen := [e.seen for e in own if e.seen is not None and (e.seen.counts or e.seen_scored)]:
            yield f"{name}: SEEN IN TRAINING (--allow-seen): {max(seen, key=lambda each: each.most)}."
        if known := {_source(e): e.known_left_out for e in own if e.known_left_out}:
            counts = ", ".join(f"{n} that {source} shows too" for source, n in known.items())
            yield f"{name}: left out, as the same or nearly the same picture, or of its group: {counts}."
        if any(evaluation.seen is None for evaluation in own):
            yield f"{name}: whether the models were trained on these cases is not known; their data are not here."
        if left_out := own[0].left_out:
            classes = ", ".join(f"{n} of class '{label}'" for label, n in left_out.items())
            yield f"{name}: left out, since the model does not know their class: {classes}."
        if absent := dict.fromkeys(label for e in own for label in e.scores.get("absent", ())):
            yield f"{name}: no case of class {', '.join(absent)}, which the model knows."


def _source(evaluation: Evaluation) -> str:
    """The data set that the trial was trained on."""
    return evaluation.trial.partition(" / ")[0]
