"""From finished trials to a submission: what a verifier needs, and nothing that says who a patient is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from usfm_bench.board.manifest import hidden
from usfm_bench.board.submission import NAME, Statement, Submission, store_of, suite_digest
from usfm_bench.core.environment import code_version, now
from usfm_bench.core.errors import BenchError, unknown
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.files import write_atomic, write_text
from usfm_bench.results.frames import read_cases
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store
from usfm_bench.results.trials import Trial, by_model, gather_trials
from usfm_bench.specs.dataset import DatasetSpec, find_dataset, load_registry
from usfm_bench.specs.model import ADAPTATIONS, MODELS, ModelEntry, resolve
from usfm_bench.specs.seen import VERDICTS, seen_by
from usfm_bench.specs.task import TASKS, Predictions
from usfm_bench.suites.plan import Suite


@dataclass(frozen=True)
class Said:
    """What only the submitter can say."""

    contact: str
    name: str = ""
    """The board's name of the model; empty: as it was run."""
    licence: str = ""
    """Of the weights; empty: the registry's, where it knows the model."""
    contamination: Statement | None = None
    """Where neither a card nor the registry knows it."""
    about: str = ""


def submit(store: Store, suite: Suite, profile: str, model: str, out: Path, said: Said) -> Path:
    """Pack one model's finished trials as `out/<suite>/<model>/r<revision>/`.

    Args:
        store: of the trials.
        suite: that they are of.
        profile: of the trials.
        model: as it was run.
        out: a board, or a folder of its own; nothing that lies there is overwritten.
        said: by the submitter.

    Returns:
        The submission's folder.

    Raises:
        BenchError: nothing is finished, seeds are incomplete, or something must not be passed on; every fault.
    """
    trials = [t for t in store.finished(suite.name, profile) if t[1].spec.model == model]
    if not trials:
        names = {record.spec.model for _, record in store.finished(suite.name, profile)}
        raise unknown("model", model, names, hint=f"Finished in '{store.root}': {', '.join(sorted(names)) or 'none'}.")
    shipped, entry = load_registry(None), _entry(model)
    _check(trials, suite, model, said)
    name = said.name or model
    place = out / encode_name(suite.name) / encode_name(name)
    revision = 1 + max((int(p.name[1:]) for p in place.glob("r*") if p.name[1:].isdigit()), default=0)
    folder = place / f"r{revision}"
    records = [_copy(trial, store_of(folder), name, shipped) for trial in trials]
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    whole = Submission(
        suite=suite.name,
        suite_hash=suite_digest(suite),
        profile=profile,
        model=name,
        adaptation=_adaptation(model),
        revision=revision,
        created=now(),
        contact=said.contact,
        licence=said.licence or (entry.licence if entry else "") or _no_weights(records),
        contamination={r.spec.dataset.name: _statement(r, entry, shipped, said) for r in records},
        private=tuple(sorted({r.spec.dataset.name for r in records if not is_public(r.spec.dataset, shipped)})),
        about=said.about,
        code=code_version(),
        files={key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items()},
    )
    whole = whole.model_copy(update={"digest": whole.own_digest})
    write_text(folder / NAME, json.dumps(whole.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
    return folder


def to_settle(trials: Sequence[Trial]) -> list[str]:
    """What a submitter has to settle before others get the files, in words."""
    datasets = {r.spec.dataset.name: r.spec.dataset for _, r in trials if TASKS[r.spec.task].needs == "mask"}
    return [
        f"{name}: predictions come with the masks that they are scored against, and its entry does not say whether "
        "those may be passed on. Settle that before you publish them."
        for name, dataset in datasets.items()
        if dataset.redistributable is None and not dataset.synthetic
    ]


def is_public(dataset: DatasetSpec, shipped: dict[str, DatasetSpec]) -> bool:
    """Whether it is an entry of the shipped registry, and not one of the user's under the same name."""
    try:
        return find_dataset(dataset.name, shipped).model_dump(exclude={"path"}) == dataset.model_dump(exclude={"path"})
    except BenchError:
        return False


def _entry(model: str) -> ModelEntry | None:
    try:
        return resolve(model)
    except BenchError:
        return None


def _adaptation(model: str) -> str:
    return next((a for a in ADAPTATIONS if model.endswith(f"@{a}")), "full")


def _no_weights(records: Sequence[Record]) -> str:
    return "random weights" if all(record.weight_hash is None for record in records) else ""


def _check(trials: Sequence[Trial], suite: Suite, model: str, said: Said) -> None:
    faults = []
    base = model.rpartition("@")[0] if _adaptation(model) != "full" else model
    if base not in MODELS and resolve(base).weights == "file" and not said.name:
        faults.append(f"{model}: is the path of a file on this machine. Give the model a name with --name.")
    if ":" in said.name and said.name != model:
        faults.append(f"--name {said.name}: a name without ':', please; that is how the path of a file reads.")
    if not said.contact.strip():
        faults.append("--contact is empty; say whom to ask, such as an address or a page.")
    faults += _unfinished(trials, suite, model)
    for dataset in {record.spec.dataset.name: record.spec.dataset for _, record in trials}.values():
        task = TASKS[next(r.spec.task for _, r in trials if r.spec.dataset.name == dataset.name)]
        if task.needs == "pair":
            faults.append(f"{dataset.name}: predictions of {task.name} are images, and no image goes on a board.")
        elif task.needs == "mask" and dataset.redistributable is False and not dataset.synthetic:
            faults.append(f"{dataset.name}: its terms forbid passing its masks on, and predictions come with them.")
    faults += [
        f"{folder}: has no predictions.npz." for folder, _ in trials if not (folder / "predictions.npz").exists()
    ]
    if faults:
        raise BenchError("\n".join(dict.fromkeys(faults)))


def _unfinished(trials: Sequence[Trial], suite: Suite, model: str) -> list[str]:
    """Seeds and folds that lack."""
    faults = []
    for of_model in by_model(trials).values():
        name, seeds = of_model[0][1].spec.dataset.name, {record.spec.seed for _, record in of_model}
        if lost := sorted(set(range(max(suite.seeds, max(seeds) + 1))) - seeds):
            faults.append(f"{model} on {name}: seed {', '.join(map(str, lost))} is not finished; a submission has all.")
        try:
            faults += [f"{model}: {note}." for note in gather_trials(of_model).notes]
        except BenchError as error:
            faults.append(str(error))
    return faults


def _statement(record: Record, entry: ModelEntry | None, shipped: dict[str, DatasetSpec], said: Said) -> Statement:
    """What a card found by images, else what the registry knows by names, else what the submitter says."""
    if entry is not None and (found := seen_by(entry, record.spec.dataset, shipped)).verdict is not None:
        return Statement(verdict=_word(found.verdict), why=found.why[:1000])
    if record.pretraining_hash is not None and record.seen_in_pretraining is not None:
        return Statement(verdict=_word(record.seen_in_pretraining), why="by the pixels that the weights' card lists")
    return said.contamination or Statement(verdict="unknown", why="nothing is said of it")


def _word(verdict: bool | None) -> Any:
    return VERDICTS[verdict]


def _copy(trial: Trial, target: Store, name: str, shipped: dict[str, DatasetSpec]) -> Record:
    folder, record = trial
    predictions, cases = load_predictions(folder / "predictions.npz"), read_cases(folder, record)
    spec = record.spec.without_place().model_copy(update={"model": name})
    notes = record.notes
    if not is_public(record.spec.dataset, shipped):
        spec = spec.model_copy(update={"dataset": _unnamed(spec.dataset)})
        notes = ()
        predictions, cases = _hidden_names(predictions, cases)
    record = record.model_copy(update={"spec": spec, "spec_hash": spec.hash, "notes": notes})
    place = target.folder(spec)
    write_atomic(place / "cases.parquet", lambda stream: cases.to_parquet(stream, index=False))
    save_predictions(place / "predictions.npz", predictions)
    write_text(place / "record.json", record.model_dump_json(indent=1))
    return record


def _unnamed(dataset: DatasetSpec) -> DatasetSpec:
    """A private data set without paths, files, and the names of cases."""
    return dataset.model_copy(
        update={
            "path": "",
            "options": {},
            "groups": None,
            "exclude": {hidden(case): "" for case in dataset.exclude},
            "source": "",
        }
    )


def _hidden_names(predictions: Predictions, cases: pd.DataFrame) -> tuple[Predictions, pd.DataFrame]:
    found: Any = predictions
    ids = tuple(hidden(case) for case in predictions.case_ids)
    named = cases.assign(case_id=cases["case_id"].map(hidden), group_id=cases["group_id"].astype(str).map(hidden))
    return replace(found, case_ids=ids), named
