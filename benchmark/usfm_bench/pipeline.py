"""One trial, from data to record. Read this first."""

from __future__ import annotations

import time

import torch

from usfm_bench.catalog import resolve
from usfm_bench.config import TrialSpec
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import network_data
from usfm_bench.data.splits import split_dataset, split_hash, twins_of
from usfm_bench.data.transforms import Normalise
from usfm_bench.environment import code_version, describe_environment, now
from usfm_bench.models import build_model
from usfm_bench.models.build import state_sha256
from usfm_bench.pretraining.card import read_card, seen_in_pretraining
from usfm_bench.results.record import Cost, Record
from usfm_bench.results.store import Store
from usfm_bench.scoring import case_table, definition_ids, score_cases, summarise, tune
from usfm_bench.training.device import build_fabric, describe_device, peak_memory_mb, reset_peak_memory
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
    on_epoch: OnEpoch = lambda row: None,
) -> Record:
    """Train one model with one seed, score it on the test cases of its fold and store the record.

    Raises:
        TrialError: the trial cannot go on; others can.
        WeightsError: the model's weights are missing or do not fit.
    """
    clock = time.perf_counter
    started = clock()
    recipe = spec.training
    split = split_dataset(dataset, spec.split, spec.fold, task=spec.task, seed=spec.seed)
    train, val, test = (dataset.subset(rows) for rows in split)
    fabric = build_fabric(recipe, device, device_index)
    reset_peak_memory(fabric)

    counts = train.class_counts if spec.task == "classification" else None
    with torch_seeded(spec.seed, Stream.INITIALISATION):
        model = build_model(
            spec.model, spec.task, n_classes=len(dataset.classes), training=recipe, class_counts=counts
        ).to(memory_format=torch.channels_last)
    normalise = fabric.to_device(Normalise(model.mean, model.std))
    train_net, val_net = (network_data(side, spec.task, recipe.image_size) for side in (train, val))
    entry = resolve(spec.model)
    card = read_card(entry.weight_file) if entry.weight_file else None
    sides = split_hash(dataset, split_dataset(dataset, spec.split, spec.fold, task=spec.task))  # of all seeds alike
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
    with fabric.autocast():  # as in validation
        predictions = predict(model, normalise, test, spec, fabric.device, val=val_net)
    tuned = tune(predictions, spec.dataset.positive)
    cases, definitions = score_cases(predictions, case_table(test), tuned=tuned), definition_ids(predictions)

    record = Record(
        spec=spec.without_place(),
        spec_hash=spec.hash,
        data_hash=dataset.content_hash,
        split_hash=sides,
        weight_hash=model.weight_hash,
        trained_hash=state_sha256(model),
        seen_in_pretraining=seen_in_pretraining(entry, card, dataset, test),
        pretraining_hash=card.recipe_hash if card else None,
        n_train=len(train),
        n_val=len(val),
        n_test=len(test),
        n_test_groups=len(set(test.groups)),
        n_leaked=twins_of(dataset.groups, split).elsewhere,
        notes=(*dataset.notes, *_note_on_lots(spec)),
        classes=dataset.classes,
        definitions=definitions,
        scores=summarise(cases, definitions, dataset.classes),
        tuned=tuned,
        best_epoch=fit.best_epoch,
        cost=Cost(
            wall_s=before_s + fit.wall_s + clock() - started,
            train_images_per_s=fit.train_images / fit.train_s if fit.train_s else None,
            peak_memory_mb=peak_memory_mb(fabric),
            parameters=sum(p.numel() for p in model.parameters()),
        ),
        environment=describe_environment() | describe_device(fabric) | {"finished": now()},
    )
    return store.save(record, cases, predictions, fit.history)


def _note_on_lots(spec: TrialSpec) -> list[str]:
    part = spec.dataset.training
    return ["each seed drew its own part of the training side"] if part and part.lot == "trial" else []
