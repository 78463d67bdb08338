"""Submissions of invented trials on the test cases that a suite really has, and a board with their manifests."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from invented import invent_predictions, invent_record
from usfm_bench.board.manifest import manifest_of, write_manifest
from usfm_bench.board.pack import Said, submit
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.splits import split_dataset, split_hash
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.tasks.scoring import case_table, score_cases

SUITE = "phantom"
SEEDS = 3
MODELS = ("unet-resnet18-scratch", "usfm-micro-scratch", "timm:test_resnet@scratch")


@cache
def phantoms(name: str) -> Dataset:
    return open_dataset(load_registry()[name], Path())


def invent_runs(folder: Path, models: Sequence[str] = MODELS) -> Store:
    """Finished trials whose split, cases and hashes are those of a real run: a copy of what is invented once."""
    built = _built()
    for spec in plan_suite(load_suite(SUITE), load_registry(), models=models, seeds=range(SEEDS)):
        shutil.copytree(built.folder(spec), Store(folder).folder(spec))
    return Store(folder)


@cache
def _built() -> Store:
    store = Store(Path(tempfile.mkdtemp(prefix="usfm-bench-submitted-")))
    atexit.register(shutil.rmtree, store.root, ignore_errors=True)
    for spec in plan_suite(load_suite(SUITE), load_registry(), models=MODELS, seeds=range(SEEDS)):
        whole, task = phantoms(spec.dataset.name), TASKS[spec.task]
        sides = split_dataset(whole, spec.split, spec.fold, task=spec.task)
        test = whole.subset(sides.test)
        predictions = invent_predictions(spec, test)
        tuned = task.tune(predictions, spec.dataset.positive)
        cases = score_cases(task, predictions, case_table(test), tuned=tuned)
        record = invent_record(spec, test, cases, task.definitions(predictions), tuned)
        hashes = {"data_hash": whole.content_hash, "split_hash": split_hash(whole, sides)}
        store.save(record.model_copy(update=hashes), cases, predictions, [])
    return store


def invent_board(folder: Path, models: Sequence[str] = MODELS) -> Path:
    """A board with manifests and one submission a model."""
    board, suite = folder / "board", load_suite(SUITE)
    store = invent_runs(folder / "runs", models)
    for part in suite.parts:
        for name in part.datasets:
            whole = phantoms(name)
            write_manifest(board, manifest_of(whole, part.task, suite.split), whole.spec)
    for model in models:
        submit(store, suite, "smoke", model, board, Said(contact="Ann <ann@example.org>"))
    return board
