"""`run`: check what lies there, run what is missing, count how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import compress
from pathlib import Path

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import file_sha256
from usfm_bench.core.locks import LockHeldError
from usfm_bench.data.splits import split_dataset, split_hash, twins_of
from usfm_bench.execution.engine import ENGINES, Tell, check_engine, chooses_device, default_engine
from usfm_bench.execution.outcome import Event, Outcome, Status
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.pretraining.weights import ensure_weights
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import DatasetSpec, load_registry
from usfm_bench.specs.model import checked_weight_file, has_registered_hash, resolve
from usfm_bench.specs.trial import TrialSpec


@dataclass
class Tally:
    """How the trials of one call ended."""

    kept: list[TrialSpec] = field(default_factory=list)
    """Already finished before, with the same settings and data."""
    outcomes: list[Outcome] = field(default_factory=list)

    def count(self, status: str) -> int:
        """Number of outcomes of a status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """0: everything is done. 1: a trial failed, was skipped or is another process's. 2: nothing could run."""
        if len(self.outcomes) == self.count("done"):
            return 0
        return 1 if self.kept or self.count("done") or self.count("busy") else 2


def sort_trials(trials: Sequence[TrialSpec], store: Store, *, fresh: bool) -> tuple[list[TrialSpec], list[TrialSpec]]:
    """Divide trials into (finished with these settings, to do). With `fresh`, all are to do.

    Raises:
        BenchError: the store holds results of other settings; names every field that differs.
    """
    if fresh:
        return [], list(trials)
    changed = {spec.label: fields for spec in trials if (fields := store.changed_settings(spec))}
    if changed:
        raise settings_changed(changed, store.root)
    done = [store.record(spec) is not None for spec in trials]
    return list(compress(trials, done)), [spec for spec, it_is in zip(trials, done, strict=True) if not it_is]


def settings_changed(changed: Mapping[str, Sequence[str]], runs: Path) -> BenchError:
    """The error for results of other settings or data: which fields differ, and what to do."""
    by_fields: dict[tuple[str, ...], list[str]] = {}
    for label, differing in changed.items():
        by_fields.setdefault(tuple(differing), []).append(label)
    lines = [f"{runs} holds results with other settings, images or weights; nothing was overwritten."]
    for fields, labels in by_fields.items():
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        lines += [f"  {labels[0]}{more}:", *(f"    {line}" for line in fields)]
    lines.append("Run with --fresh to set the old results aside, or with --runs DIR to write elsewhere.")
    return BenchError("\n".join(lines))


def check_data(kept: Sequence[TrialSpec], store: Store, session: Session) -> None:
    """Compare finished trials with the data as it is now.

    Raises:
        BenchError: a data set, its split or a weight file has changed since.
    """
    changed = {}
    weight_hash = cache(_weight_hash)
    for spec in kept:
        record = store.record(spec)
        if record is None:
            continue
        dataset = session.dataset(spec)
        sides = split_dataset(dataset, spec.split, spec.fold, task=spec.task)
        now = {
            "data_hash": dataset.content_hash,
            "split_hash": split_hash(dataset, sides),
            "weight_hash": weight_hash(spec.model),
        }
        # A weight file that is no longer here says nothing about the results that were made with it.
        if now["weight_hash"] is None:
            now["weight_hash"] = record.weight_hash
        then = {key: getattr(record, key) for key in now}
        if now != then:
            changed[spec.label] = [
                f"{key}: {str(then[key])[:12]} -> {str(now[key])[:12]}" for key in then if then[key] != now[key]
            ]
    if changed:
        raise settings_changed(changed, store.root)


def _weight_hash(model: str) -> str | None:
    entry = resolve(model)
    path = entry.weight_file
    return file_sha256(path) if path is not None and path.is_file() else None


def run_trials(
    trials: Sequence[TrialSpec],
    *,
    data_root: Path,
    runs: Path,
    device: str,
    workers: int | None,
    engine: str | None = None,
    per_gpu: int | None = None,
    options: Mapping[str, str] | None = None,
    fresh: bool,
    wait: bool = True,
    tell: Tell,
    say: Callable[[str], None],
    keep: Callable[[Sequence[TrialSpec]], None],
    allow_hash: bool = False,
    keep_weights: bool = True,
    registry: Mapping[str, DatasetSpec] | None = None,
) -> Tally:
    """Run every trial that the store does not hold yet.

    Args:
        trials: the grid.
        data_root: where data set paths are resolved.
        runs: the store.
        device: `cpu` or `cuda`; `auto` for an engine whose machines choose.
        workers: trials at once; None: one, or so many as the engine has room for.
        per_gpu: trials at once on each GPU; None: not limited.
        options: settings of the engine's own.
        engine: a name of `ENGINES`, where trials run; None: this process, or local workers for several at once.
        fresh: set aside what is there and start over.
        wait: wait in the end for trials that other processes are running; else they are left to those.
        tell: told of every epoch and outcome.
        say: told, in words, what is going on before the first trial.
        keep: told which trials were finished before.
        allow_hash: take weight files with another sha256 than the registry's, and mark the records.
        keep_weights: keep the trained weights of each trial.
        registry: all data sets, for weights that are pre-trained first; those of `load_registry()` when None.

    Raises:
        BenchError: results of other settings or data are in the way, no such engine, or one that runs
            one at a time for several workers; nothing was run.
    """
    store = Store(runs)
    check_engine(engine, workers, per_gpu, options)  # before anything is read
    own = tuple((options or {}).items())
    session = Session(SessionArguments(data_root, runs, device, allow_hash, keep_weights, workers, per_gpu, own))
    store.check_writable(say)
    kept, todo = sort_trials(trials, store, fresh=fresh)
    tally = Tally(kept)

    def note(event: Event) -> None:
        if isinstance(event, Outcome):
            tally.outcomes.append(event)
        tell(event)

    unusable = _open_datasets(trials, session, say)
    if todo and not kept and all(spec.dataset.name in unusable for spec in todo):
        raise BenchError("\n".join(unusable.values()))
    check_data([spec for spec in kept if spec.dataset.name not in unusable], store, session)
    keep(kept)
    _tell_unusable(unusable, todo, note, say)
    todo = [spec for spec in todo if spec.dataset.name not in unusable]
    if fresh:
        for spec in todo:
            store.set_aside(spec)
    known = load_registry() if registry is None else registry
    own_device = "auto" if chooses_device(engine) and device != "cpu" else device
    todo = _with_weights(todo, known, data_root, own_device, note, say, allow_hash=allow_hash, wait=wait)
    name = engine or default_engine(min(workers or 1, len(todo)), per_gpu)
    ENGINES[name].run(TrialQueue(todo, wait=wait), session, note)
    for spec in _left_behind(todo, tally):
        note(Outcome(spec, "failed", f"engine '{name}' ended without running it"))
    return tally


def _tell_unusable(
    faults: Mapping[str, str], todo: Sequence[TrialSpec], note: Tell, say: Callable[[str], None]
) -> None:
    """That trials of data sets with faults have failed."""
    for name, fault in faults.items():
        lost = [spec for spec in todo if spec.dataset.name == name]
        if not lost:
            say(f"{name}: cannot be checked, its finished trials are kept. {fault}")
        for spec in lost:
            note(Outcome(spec, "failed", fault if spec is lost[0] else "as above"))


def _left_behind(todo: Sequence[TrialSpec], tally: Tally) -> list[TrialSpec]:
    """Trials whose end nobody told; of a model without weights, one trial is told of for all."""
    ended = {outcome.spec.label for outcome in tally.outcomes}
    skipped = {outcome.spec.model for outcome in tally.outcomes if outcome.status == "skipped"}
    return [spec for spec in todo if spec.label not in ended and spec.model not in skipped]


def _with_weights(
    todo: Sequence[TrialSpec],
    registry: Mapping[str, DatasetSpec],
    data_root: Path,
    device: str,
    note: Tell,
    say: Callable[[str], None],
    *,
    allow_hash: bool,
    wait: bool,
) -> list[TrialSpec]:
    """Pre-train what has a recipe and no weights yet; trials of a model without the right weights are noted as failed.

    Weights that are missing are the trial's own matter: it is skipped.
    """
    faults: dict[str, tuple[Status, str]] = {}
    for name in dict.fromkeys(spec.model for spec in todo):
        try:
            ensure_weights(resolve(name), registry, data_root, device, say, wait=wait)
            _check_hash(name, say, allow_hash=allow_hash)
        except LockHeldError:
            faults[name] = "busy", "another process is pre-training its weights"
        except BenchError as error:
            faults[name] = "failed", str(error)
    said = set()
    for spec in todo:
        if spec.model in faults:
            status, message = faults[spec.model]
            note(Outcome(spec, status, "as above" if spec.model in said else message))
            said.add(spec.model)
    return [spec for spec in todo if spec.model not in faults]


def _check_hash(name: str, say: Callable[[str], None], *, allow_hash: bool) -> None:
    entry = resolve(name)
    if entry.weight_file is None or not entry.weight_file.is_file():
        return
    checked_weight_file(entry, allow_hash=allow_hash)
    if not has_registered_hash(entry):
        say(f"{name}: '{entry.weight_file}' is not the file that the registry knows; --allow-hash goes on with it.")


def _open_datasets(trials: Sequence[TrialSpec], session: Session, say: Callable[[str], None]) -> dict[str, str]:
    """Decode every data set; the faults of those that cannot be used, by name."""
    unusable = {}
    by_name = {spec.dataset.name: spec for spec in trials}
    for name, spec in by_name.items():
        try:
            dataset = session.dataset(spec)
            split = split_dataset(dataset, spec.split, spec.fold, task=spec.task)  # said once, before any trial
        except BenchError as error:
            unusable[name] = str(error)
            continue
        simulated = ", simulated and not from patients" if spec.dataset.synthetic else ""
        say(f"{name}: {len(dataset.samples)} images{simulated}")
        leak = twins_of(dataset.groups, split)
        for line in (*dataset.notes, *([f"this split leaks: {leak}"] if leak.elsewhere else [])):
            say(f"  {line}")
    return unusable
