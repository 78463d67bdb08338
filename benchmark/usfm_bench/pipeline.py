"""One trial, from data to record. Read this first."""

from __future__ import annotations

import time

import torch

from usfm_bench.core.environment import code_version, describe_environment, now
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import network_data
from usfm_bench.data.splits import split_dataset, split_hash, twins_of
from usfm_bench.data.transforms import Normalise
from usfm_bench.models import build_model
from usfm_bench.pretraining.card import read_card, seen_in_pretraining
from usfm_bench.results.record import Cost, Record
from usfm_bench.results.store import Store
from usfm_bench.specs.model import resolve
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.tasks.scoring import case_table, score_cases
from usfm_bench.training.costs import network_costs
from usfm_bench.training.device import build_fabric, describe_device, peak_memory_mb, reset_peak_memory
from usfm_bench.training.dtypes import watch_dtypes
from usfm_bench.training.finetune import OnEpoch, finetune
from usfm_bench.training.predict import predict
from usfm_bench.training.seeding import Stream, torch_seeded


def run_one(
    spec: TrialSpec,
    dataset: Dataset,
    store: Store,
    *,
    device: str = "cpu",
    device_index: int = 0,
    allow_hash: bool = False,
    on_epoch: OnEpoch = lambda row: None,
) -> Record:
    """Train one model with one seed, score it on the test cases of its fold and store the record.

    Raises:
        TrialError: the trial cannot go on; others can.
        WeightsError: the model's weights are missing or do not fit.
    """
    clock = time.perf_counter
    started = clock()
    task, recipe = TASKS[spec.task], spec.training
    split = split_dataset(dataset, spec.split, spec.fold, task=spec.task)
    train, val, test = (dataset.subset(rows) for rows in split)
    fabric = build_fabric(recipe, device, device_index)
    reset_peak_memory(fabric)

    with torch_seeded(spec.seed, Stream.INITIALISATION):
        model = build_model(spec.model, task, train, recipe, allow_hash=allow_hash)
        model = model.to(memory_format=torch.channels_last)
    normalise = fabric.to_device(Normalise(model.mean, model.std))
    train_net, val_net = (network_data(side, task, recipe.image_size) for side in (train, val))
    entry = resolve(spec.model)
    card = read_card(entry.weight_file) if entry.weight_file else None
    sides = split_hash(dataset, split)
    folder = store.begin(
        spec,
        data_hash=dataset.content_hash,
        split_hash=sides,
        weight_hash=model.weight_hash,
        code=code_version(),
    )
    before_s = clock() - started
    fit = finetune(
        model,
        train_net,
        val_net,
        recipe,
        seed=spec.seed,
        fabric=fabric,
        normalise=normalise,
        state=folder / "state.pt",
        on_epoch=on_epoch,
    )
    started = clock()
    with watch_dtypes(model, fit.dtypes), fabric.autocast():  # as in validation
        test_net = network_data(test, task, recipe.image_size)
        predictions = predict(model, normalise, test, test_net, recipe.batch_size, fabric.device, val=val_net)
    tuned, definitions = task.tune(predictions, spec.dataset.positive), task.definitions(predictions)
    cases = score_cases(task, predictions, case_table(test), tuned=tuned)

    record = Record(
        spec=spec.without_place(),
        spec_hash=spec.hash,
        data_hash=dataset.content_hash,
        split_hash=sides,
        weight_hash=model.weight_hash,
        registered_hash=model.registered_hash,
        reading=model.reading,
        seen_in_pretraining=seen_in_pretraining(entry, card, dataset, test),
        pretraining_hash=card.recipe_hash if card else None,
        n_train=len(train),
        n_val=len(val),
        n_test=len(test),
        n_test_groups=len(set(test.groups)),
        n_leaked=twins_of(dataset.groups, split).elsewhere,
        grouped_by=dataset.grouped_by,
        groups=dataset.groups_in_words,
        notes=dataset.notes,
        classes=dataset.classes,
        definitions=definitions,
        scores=task.summarise(cases, definitions, dataset.classes),
        tuned=tuned,
        best_epoch=fit.best_epoch,
        cost=Cost(
            wall_s=before_s + fit.wall_s + clock() - started,
            train_images_per_s=fit.train_images / fit.train_s if fit.train_s else None,
            peak_memory_mb=peak_memory_mb(fabric),
            **network_costs(model, normalise, test_net.images, fabric),
        ),
        environment=describe_environment() | describe_device(fabric, fit.dtypes) | {"finished": now()},
    )
    return store.save(record, cases, predictions, fit.history)
