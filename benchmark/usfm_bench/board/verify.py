"""Is a submission what it says? Every prediction is scored again; nothing that it states is taken on trust."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from usfm_bench.board.guard import content_faults, folder_faults, list_faults
from usfm_bench.board.manifest import Manifest, is_digest, manifest_faults, manifest_of, path_of, read_manifest
from usfm_bench.board.pack import is_public
from usfm_bench.board.submission import Submission, read_submission, store_of, suite_digest
from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import differing_fields
from usfm_bench.data.dataset import open_dataset
from usfm_bench.regression.baseline import make_baseline
from usfm_bench.regression.check import check
from usfm_bench.results.frames import read_table
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.record import Record
from usfm_bench.results.rescore import find_trials, rescore
from usfm_bench.results.store import Store
from usfm_bench.results.trials import Trial
from usfm_bench.specs.dataset import DatasetSpec, find_dataset, load_registry
from usfm_bench.specs.model import resolve
from usfm_bench.specs.seen import seen_by
from usfm_bench.specs.task import TASKS, Predictions
from usfm_bench.suites.plan import Suite, load_suite, suite_names
from usfm_bench.suites.recipes import load_profile

Tier = Literal["claimed", "re-scored", "re-run"]
_ONE_NETWORK = ("linear", "knn")  # of fixed weights, all seeds can give the same answers


@dataclass(frozen=True)
class Verified:
    """What was found."""

    folder: Path
    submission: Submission | None
    faults: tuple[str, ...]
    """Why it is refused; empty: it is not."""
    notes: tuple[str, ...]
    """What was not or could not be looked at."""
    tier: Tier | None
    """None: refused."""
    answers: Mapping[str, str]
    """`<dataset>/<fold>/<seed>` -> digest of what the network said, whatever file it stands in."""


def verify(folder: Path, board: Path, data_root: Path | None = None, rerun: Path | None = None) -> Verified:
    """Check one submission, from its files to its numbers; a stage is reached when the one before found nothing.

    Args:
        folder: of the submission.
        board: holds manifests of the suites' test cases.
        data_root: where the data lie; with them the manifests are drawn anew. None: as the board has them.
        rerun: a runs folder of somebody's own training of the same trials.
    """
    submission = None
    if faults := folder_faults(folder):
        return Verified(folder, None, tuple(faults), (), None, {})
    try:
        submission = read_submission(folder)
        faults = list_faults(submission, folder) or list(content_faults(folder))
        trials = [] if faults else find_trials(store_of(folder).root)
    except BenchError as error:
        faults, trials = str(error).replace(f"{folder}/", "").split("\n"), []
    except RecursionError:
        faults, trials = ["record.json: is nested too deeply."], []
    if faults or submission is None:
        return Verified(folder, submission, tuple(faults), (), None, {})
    faults = _plan_faults(submission, trials, folder)
    notes: list[str] = []
    answers: dict[str, str] = {}
    if not faults:
        faults, notes, answers = _content(submission, trials, folder, board, data_root)
    tier: Tier | None = None
    if not faults:
        tier = "claimed" if any("no manifest" in note for note in notes) else "re-scored"
        if rerun is not None:
            faults, notes = _rerun(submission, folder, rerun, notes)
            tier = "re-run" if tier == "re-scored" and not faults else tier
    return Verified(folder, submission, tuple(faults), tuple(notes), tier if not faults else None, answers)


def _plan_faults(submission: Submission, trials: Sequence[Trial], folder: Path) -> list[str]:
    """Another suite, another recipe, seeds or folds that lack, trials that lie where they do not belong."""
    if submission.suite not in suite_names():
        return [f"suite '{submission.suite}' is none of this usfm-bench, so nothing says what its trials should be."]
    suite = load_suite(submission.suite)
    if submission.suite_hash != suite_digest(suite):
        return [f"is of another version of suite '{suite.name}' than this usfm-bench has. Run it with this version."]
    faults = []
    store, shipped = store_of(folder), load_registry(None)
    for place, record in trials:
        spec = record.spec
        where = place.relative_to(folder).as_posix()
        if (spec.suite, spec.profile, spec.model) != (suite.name, submission.profile, submission.model):
            faults.append(f"{where}: is of {spec.suite}, {spec.profile}, {spec.model}; the submission is of another.")
        elif store.folder(spec) != place:
            faults.append(f"{where}: holds the trial {spec.label}, which belongs elsewhere (a copy, or renamed).")
        elif spec.hash != record.spec_hash:
            faults.append(f"{where}/record.json: its settings were edited (spec_hash is another).")
        elif spec.dataset.name not in submission.private and not is_public(spec.dataset, shipped):
            faults.append(f"{where}: {spec.dataset.name} is not that data set of this usfm-bench.")
        else:
            faults += [f"{where}: recipe: {line}" for line in _recipe_faults(suite, record)]
    return faults or _seed_faults(suite, trials)


def _recipe_faults(suite: Suite, record: Record) -> list[str]:
    """What the suite asks for and the trial did not do, whatever the model."""
    spec = record.spec
    try:
        profile = load_profile(spec.profile)
        part = next(p for p in suite.parts if p.task == spec.task)
        recipe = profile.recipe(part.task, part.training, suite.name)
    except (BenchError, StopIteration):
        return [f"suite '{suite.name}' with profile '{spec.profile}' has no recipe for {spec.task} here"]
    asked = {"training": recipe.model_dump(mode="json"), "split": suite.split.model_dump(mode="json")}
    did = {"training": spec.training.model_dump(mode="json"), "split": spec.split.model_dump(mode="json")}
    for each in (asked, did):
        each["split"].pop("repeats", None)
    return differing_fields(asked, did)


def _seed_faults(suite: Suite, trials: Sequence[Trial]) -> list[str]:
    """Seeds are 0, 1, 2 and so on, as many as the suite has or more, so that none was chosen by its result."""
    faults = []
    for name in sorted({record.spec.dataset.name for _, record in trials}):
        of = [record.spec for _, record in trials if record.spec.dataset.name == name]
        seeds = sorted({spec.seed for spec in of})
        wanted = range(max(suite.seeds, seeds[-1] + 1))
        done = {(spec.seed, spec.fold) for spec in of}
        parts = max(spec.split.parts for spec in of)
        if lost := [f"seed {s} fold {f}" for s in wanted for f in range(parts) if (s, f) not in done]:
            faults.append(f"{name}: lacks {', '.join(lost[:8])}; a submission has all seeds from 0.")
    return faults


def _content(
    submission: Submission, trials: Sequence[Trial], folder: Path, board: Path, data_root: Path | None
) -> tuple[list[str], list[str], dict[str, str]]:
    faults, notes, answers = [], [], {}
    for place, record in trials:
        where, spec = place.relative_to(folder).as_posix(), record.spec
        try:
            predictions, cases = load_predictions(place / "predictions.npz"), read_table(place)
        except BenchError as error:
            faults.append(str(error).replace(f"{folder}/", ""))
            continue
        if TASKS[spec.task].read_predictions(predictions.arrays()) is None:
            faults.append(f"{where}: its predictions are of another task.")
            continue
        manifest = _manifest(spec.dataset, spec.task, load_suite(spec.suite), board, data_root)
        if isinstance(manifest, str):
            notes.append(manifest)
        else:
            faults += [f"{where}: {fault}" for fault in manifest_faults(manifest, record, predictions, cases)]
        if spec.dataset.name in submission.private:
            plain = [n for n in map(str, cases["case_id"]) if not is_digest(n)]
            faults += [f"{where}: names of private cases are no digests."] if plain else []
        answers[f"{spec.dataset.name}/{spec.fold}/{spec.seed}"] = _answer(predictions)
        faults += [f"{where}: {fault}" for fault in _record_faults(record, predictions)]
    if not faults:
        _, found = rescore(trials)
        faults = [line.replace(f"{folder}/", "") for line in found]
        faults += _summary_faults(trials, folder)
    faults += _copies(submission, answers) + _contamination_faults(submission, [r for _, r in trials])
    return faults, list(dict.fromkeys(notes)), answers


@cache
def _drawn(dataset: str, task: str, suite: str, data_root: Path) -> Manifest:
    spec = find_dataset(dataset, load_registry(None))
    return manifest_of(open_dataset(spec, data_root), task, load_suite(suite).split)


def _manifest(dataset: DatasetSpec, task: str, suite: Suite, board: Path, data_root: Path | None) -> Manifest | str:
    if data_root is not None:
        try:
            return _drawn(dataset.name, task, suite.name, data_root)
        except BenchError as error:
            return f"{dataset.name}: no manifest from data: {str(error).splitlines()[0]}"
    found = read_manifest(path_of(board, dataset, task, suite.split))
    return found or (
        f"{dataset.name}: the board has no manifest of its test cases, so that they and their references are taken on "
        "trust; --data-root draws one from the data."
    )


def _answer(predictions: Predictions) -> str:
    """Digest of what was said, whatever the order of the file and its compression."""
    found = hashlib.sha256()
    for name, values in sorted(predictions.arrays().items()):
        if name not in {"grid_prediction", "grid_shape"}:
            found.update(f"{name} {values.shape}".encode() + np.ascontiguousarray(values).tobytes())
    return found.hexdigest()[:32]


def _record_faults(record: Record, predictions: Predictions) -> list[str]:
    task = TASKS[record.spec.task]
    faults = []
    if task.definitions(predictions) != record.definitions:
        faults.append("was scored by other definitions than today's; `usfm-bench score --update` scores it anew.")
    if record.n_test != len(predictions.case_ids):
        faults.append(f"record.json: n_test is {record.n_test}, and {len(predictions.case_ids)} cases are predicted.")
    tuned = task.tune(predictions, record.spec.dataset.positive)
    stored, again = (r.model_dump(mode="json")["tuned"] for r in (record, record.model_copy(update={"tuned": tuned})))
    if _apart(stored, again):
        faults.append("record.json: thresholds or temperature are not those that its predictions give.")
    return faults


def _summary_faults(trials: Sequence[Trial], folder: Path) -> list[str]:
    """The means that records show for a quick look."""
    faults = []
    for place, record in trials:
        again = TASKS[record.spec.task].summarise(read_table(place), record.definitions, record.classes)
        if lines := _apart(record.scores, json.loads(_json(again))):
            faults.append(
                f"{place.relative_to(folder).as_posix()}/record.json: scores that its cases do not give: {lines[0]}"
            )
    return faults


def _apart(stored: object, again: object, name: str = "scores") -> list[str]:
    """Leaves that differ by more than another machine's last bits."""
    if isinstance(stored, dict) and isinstance(again, dict):
        return [
            line
            for k in sorted(stored.keys() | again.keys())
            for line in _apart(stored.get(k), again.get(k), f"{name}.{k}")
        ]
    if isinstance(stored, float) and isinstance(again, (float, int)):
        return [] if np.isclose(stored, again, rtol=1e-9, atol=1e-12) else [f"{name}: {stored} is {again}"]
    return [] if _json(stored) == _json(again) else [f"{name} differs"]


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=lambda v: v.item() if hasattr(v, "item") else list(v))


def _copies(submission: Submission, answers: Mapping[str, str]) -> list[str]:
    """One training passed off as several seeds."""
    if submission.adaptation in _ONE_NETWORK:
        return []
    first: dict[str, str] = {}
    twice = [(first[a], key) for key, a in answers.items() if first.setdefault(a, key) != key]
    return [f"{one} and {other} (data set/fold/seed) have the same predictions." for one, other in twice]


def _contamination_faults(submission: Submission, records: Sequence[Record]) -> list[str]:
    faults = []
    for record in records:
        name = record.spec.dataset.name
        said = submission.contamination.get(name)
        if said is None:
            faults.append(f"{name}: nothing is said of whether the weights saw it.")
        elif said.verdict != "yes" and (record.seen_in_pretraining or _known(submission.model, record)):
            faults.append(f"{name}: is said not to have been seen, and the weights saw it.")
    return list(dict.fromkeys(faults))


def _known(model: str, record: Record) -> bool:
    try:
        return seen_by(resolve(model), record.spec.dataset).verdict is True
    except BenchError:
        return False


def _rerun(submission: Submission, folder: Path, rerun: Path, notes: list[str]) -> tuple[list[str], list[str]]:
    """`check` against the submission: a paired test of the other's training against it."""
    try:
        baseline, _ = make_baseline(store_of(folder), submission.suite, submission.profile)
        found = check(baseline, Store(rerun))
    except BenchError as error:
        return [f"re-run: {line}" for line in str(error).split("\n")], notes
    bad = [f for f in found.findings if f.outcome in {"regression", "diverged"}]
    faults = [f"re-run: {f.dataset}, {f.definition.name}: {f.outcome}." for f in bad]
    unsure = [
        f"re-run: {f.dataset}, {f.definition.name}: cannot tell." for f in found.findings if f.outcome == "cannot tell"
    ]
    return faults, [*notes, *unsure]
