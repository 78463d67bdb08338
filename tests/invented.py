"""A store of finished trials whose predictions come from a seeded generator instead of a network."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from usfm_bench.core.files import write_text
from usfm_bench.data.dataset import Dataset, open_dataset
from usfm_bench.data.splits import split_dataset
from usfm_bench.results.evaluation import Evaluation, Seen, evaluation_folder, save_evaluation
from usfm_bench.results.record import Cost, Record, Weights
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import DatasetSpec, load_registry
from usfm_bench.specs.task import TASKS, Predictions
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.tasks.classification import ClassificationPredictions
from usfm_bench.tasks.scoring import case_table, score_cases
from usfm_bench.tasks.segmentation import SegmentationPredictions

ALL = ("usfm-micro-scratch", "unet-resnet18-scratch", "timm:resnet18@scratch")


def invent_store(
    folder: Path,
    registry: Path,
    models: Sequence[str] = ALL,
    datasets: Sequence[str] = ("tiny-lesion",),
    seeds: int = 3,
    suite: str = "demo",
    repeats: int | None = None,
) -> Store:
    """Finished trials of a suite under `folder`/runs: a copy of a store that is invented once in a process."""
    metrics = tuple(d.id for task in TASKS.values() for d in task.primary())  # a test may have added one
    built = _built(registry.read_text(), tuple(models), tuple(datasets), seeds, suite, metrics, repeats)
    shutil.copytree(built / "runs", folder / "runs", dirs_exist_ok=True)
    return Store(folder / "runs")


@cache
def _built(
    registry: str,
    models: tuple[str, ...],
    datasets: tuple[str, ...],
    seeds: int,
    suite: str,
    metrics: tuple[str, ...],
    repeats: int | None,
) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="usfm-bench-invented-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / "registry.yaml").write_text(registry)
    _invent(folder, folder / "registry.yaml", models, datasets, seeds, suite, repeats)
    return folder


def _invent(
    folder: Path,
    registry: Path,
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: int,
    suite: str,
    repeats: int | None,
) -> None:
    store = Store(folder / "runs")
    what = {"models": models, "datasets": datasets, "seeds": range(seeds), "repeats": repeats}
    trials = plan_suite(load_suite(suite), load_registry(registry), **what)
    open_once = cache(lambda name: open_dataset(load_registry(registry)[name], folder))
    for spec in trials:
        whole = dataset = open_once(spec.dataset.name.partition("@")[0])  # a part of a training side has its test cases
        if repeats:
            dataset = dataset.subset(split_dataset(dataset, spec.split, spec.fold, task=spec.task).test)
        predictions = invent_predictions(spec, dataset)
        task = TASKS[spec.task]
        tuned = task.tune(predictions, spec.dataset.positive)
        cases = score_cases(task, predictions, case_table(dataset), tuned=tuned)
        record = invent_record(spec, dataset, cases, task.definitions(predictions), tuned)
        record = record.model_copy(update={"data_hash": whole.content_hash})
        store.save(record, cases, predictions, [{"epoch": 1, "loss": 0.5}])


def invent_predictions(spec: TrialSpec, dataset: Dataset) -> Predictions:
    """Shifted references, or noisy labels; another model errs more."""
    rng = np.random.default_rng([spec.seed, *spec.model.encode(), *[spec.fold] * (spec.fold > 0)])
    case_ids = tuple(sample.case.case_id for sample in dataset.samples)
    if spec.task == "classification":
        logits, val_logits = rng.normal(size=(2, len(dataset), len(dataset.classes))).astype(np.float32)
        training, positive = spec.dataset.training, spec.dataset.positive
        learnt = 1.5 * (1 + 0.4 * np.log10((training and training.fraction) or 1))  # less from fewer images
        for each in (logits, val_logits):
            each[np.arange(len(dataset)), dataset.labels] += np.float32(learnt)
            if positive and training and training.prevalence:  # a class that is rare in training is called less often
                odds = training.prevalence / (1 - training.prevalence)
                each[:, dataset.classes.index(positive)] += np.float32(np.log(odds))
        return ClassificationPredictions(
            case_ids, logits, dataset.labels, dataset.classes, val_logits=val_logits, val_labels=dataset.labels
        )
    masks = tuple(sample.mask for sample in dataset.samples if sample.mask is not None)
    shifted = tuple(np.roll(mask, tuple(rng.integers(-4, 5, size=2)), axis=(0, 1)) for mask in masks)
    shifted = (np.zeros_like(shifted[0]), *shifted[1:])  # the first lesion is missed
    if not masks[1].any():
        shifted[1][:8, :8] = True
    grid = np.zeros((len(masks), 8, 8), dtype=bool)
    return SegmentationPredictions(case_ids, shifted, masks, grid, tuple(s.spacing for s in dataset.samples))


def invent_record(spec: TrialSpec, dataset: Dataset, cases, definitions, tuned=None) -> Record:
    """A record around invented predictions."""
    return Record(
        spec=spec,
        spec_hash=spec.hash,
        data_hash=dataset.content_hash,
        split_hash="0" * 64,
        weight_hash=None,
        seen_in_pretraining=False,
        n_train=500,
        n_val=1,
        n_test=len(dataset),
        n_test_groups=len(set(dataset.groups)),
        grouped_by=dataset.grouped_by,
        groups=dataset.groups_in_words,
        notes=dataset.notes,
        classes=dataset.classes,
        definitions=definitions,
        scores=TASKS[spec.task].summarise(cases, definitions, dataset.classes),
        tuned=tuned,
        best_epoch=1,
        cost=Cost(wall_s=1.0, train_images_per_s=10.0, peak_memory_mb=100.0, parameters=1000),
    )


def invent_evaluations(store: Store, dataset: DatasetSpec, data_root: Path, suite: str = "demo", **fields) -> None:
    """Evaluations of all finished trials of the data set's tasks on it; the records get weights that are not there."""
    whole = open_dataset(dataset, data_root)
    for folder, found in list(store.finished(suite)):
        if found.spec.task not in dataset.tasks or found.spec.dataset.name == dataset.name:
            continue
        weights = Weights(sha256=found.spec.hash, size=1)
        record = found.model_copy(update={"weights": weights})
        write_text(folder / "record.json", record.model_dump_json())
        task, known = TASKS[found.spec.task], dataset.model_copy(update={"classes": found.classes or dataset.classes})
        cases_of = Dataset(known, whole.samples, whole.notes, whole.grouped_by)
        predictions = invent_predictions(found.spec, cases_of)
        if isinstance(predictions, ClassificationPredictions):
            predictions = replace(predictions, val_logits=None, val_labels=None)
        cases = score_cases(task, predictions, case_table(cases_of), tuned=found.tuned)
        definitions = task.definitions(predictions)
        evaluation = Evaluation(
            name=dataset.name,
            trial=found.spec.label,
            spec_hash=found.spec_hash,
            weights=weights.sha256,
            dataset=dataset,
            data_hash=whole.content_hash,
            own_test=False,
            seen=Seen(n=len(whole), same_dataset=False, pixels=0, groups=0, near_duplicates=0),
            seen_in_pretraining=False,
            n_test=len(whole),
            n_test_groups=len(set(whole.groups)),
            grouped_by=whole.grouped_by,
            groups=whole.groups_in_words,
            notes=whole.notes,
            definitions=definitions,
            scores=task.summarise(cases, definitions, cases_of.classes),
        ).model_copy(update=fields)
        save_evaluation(evaluation_folder(folder, dataset.name), evaluation, cases, predictions)
