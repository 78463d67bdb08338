"""One trial, from data to record. Read this first."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from usfm_bench.core.environment import code_version, describe_environment, now
from usfm_bench.core.files import file_sha256
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import NetworkData, network_data
from usfm_bench.data.splits import split_dataset, split_hash, twins_of
from usfm_bench.data.transforms import Normalise
from usfm_bench.metrics.operating import Tuned
from usfm_bench.models import build_model
from usfm_bench.models.hub import state_sha256
from usfm_bench.models.kept import WEIGHTS, keep_weights
from usfm_bench.models.networks import Network
from usfm_bench.models.probes import Probe
from usfm_bench.pretraining.card import Card, read_card, seen_cases, seen_in_pretraining
from usfm_bench.results.record import Cost, Record, Weights
from usfm_bench.results.store import Store
from usfm_bench.specs.model import resolve
from usfm_bench.specs.task import TASKS, Predictions
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.tasks.scoring import case_table, score_cases
from usfm_bench.training.checkpoint import Progress
from usfm_bench.training.costs import network_costs
from usfm_bench.training.device import build_fabric, describe_device, peak_memory_mb, reset_peak_memory
from usfm_bench.training.dtypes import Dtypes, watch_dtypes
from usfm_bench.training.finetune import OnEpoch, finetune, unfitted
from usfm_bench.training.predict import predict
from usfm_bench.training.probe import fit_probe
from usfm_bench.training.seeding import Stream, torch_seeded

if TYPE_CHECKING:
    import pandas as pd


def run_one(
    spec: TrialSpec,
    dataset: Dataset,
    store: Store,
    *,
    device: str = "cpu",
    device_index: int = 0,
    allow_hash: bool = False,
    keep: bool = True,
    on_epoch: OnEpoch = lambda row: None,
) -> Record:
    """Train one model with one seed, score it on the test cases of its fold and store the record.

    Args:
        spec: the trial.
        dataset: of the trial, whole.
        store: where it goes.
        device: `cpu` or `cuda`.
        device_index: which GPU, cyclically.
        allow_hash: take a weight file with another sha256 than the registry's.
        keep: keep the trained weights.
        on_epoch: told of each finished epoch.

    Raises:
        TrialError: the trial cannot go on; others can.
        WeightsError: the model's weights are missing or do not fit.
    """
    clock = time.perf_counter
    started = clock()
    sides = Sides(spec, dataset)
    fabric = build_fabric(spec.training, device, device_index)
    reset_peak_memory(fabric)
    network = untrained(spec, sides, allow_hash=allow_hash)
    seen = _seen(spec, sides)
    folder = store.begin(spec, **sides.hashes, weight_hash=network.weight_hash, code=code_version())
    before_s = clock() - started
    fit = train(network, spec, sides, fabric, state=folder / "state.pt", on_epoch=on_epoch)
    started = clock()
    scored = evaluate(network, spec, sides.test, fabric, val=sides.val_net, dtypes=fit.dtypes)
    weights = _keep(folder / WEIGHTS, network, store.shared) if keep else None
    cost = _cost(fit, network, sides, fabric, wall_s=before_s + fit.wall_s + clock() - started)
    about = describe_environment() | describe_device(fabric, fit.dtypes) | {"finished": now()}
    record = assemble(spec, sides, network, scored, seen=seen, weights=weights, fit=fit, cost=cost, environment=about)
    cases = scored.cases if seen.cases is None else scored.cases.assign(seen=seen.cases)
    return store.save(record, cases, scored.predictions, fit.history)


def _seen(spec: TrialSpec, sides: Sides) -> Seen:
    """Found out before training, or a registry that was broken in the meantime would cost the trial."""
    entry = resolve(spec.model)
    card = read_card(entry.weight_file) if entry.weight_file else None
    cases = None if card is None else seen_cases(card, sides.whole, sides.test)
    return Seen(seen_in_pretraining(entry, card, sides.whole, sides.test), card, cases)


def _keep(path: Path, network: Network, shared: Path) -> Weights:
    keep_weights(path, network, shared)
    return Weights(sha256=file_sha256(path), size=path.stat().st_size)


@dataclass(frozen=True)
class Sides:
    """The cases of a trial on the sides of its fold."""

    spec: TrialSpec
    whole: Dataset

    @cached_property
    def split(self) -> Any:
        """Positions of the cases on each side."""
        spec = self.spec
        return split_dataset(self.whole, spec.split, spec.fold, task=spec.task, seed=spec.seed)

    @cached_property
    def train(self) -> Dataset:
        """What the weights are fitted to."""
        return self.whole.subset(self.split.train)

    @cached_property
    def val(self) -> Dataset:
        """What chooses the checkpoint, thresholds and temperature."""
        return self.whole.subset(self.split.val)

    @cached_property
    def test(self) -> Dataset:
        """What is scored."""
        return self.whole.subset(self.split.test)

    @cached_property
    def val_net(self) -> NetworkData:
        """Validation cases on the network's grid."""
        return network_data(self.val, TASKS[self.spec.task], self.spec.training.image_size)

    @cached_property
    def hashes(self) -> dict[str, Any]:
        """Of the data and of the sides, as the record has them."""
        spec = self.spec
        of_all_seeds = split_dataset(self.whole, spec.split, spec.fold, task=spec.task)
        return {"data_hash": self.whole.content_hash, "split_hash": split_hash(self.whole, of_all_seeds)}


@dataclass(frozen=True)
class Scored:
    """What a network is worth on some cases."""

    predictions: Predictions
    cases: pd.DataFrame
    """`cases.parquet`."""
    definitions: dict[str, str]
    """Metric -> versioned definition id."""
    scores: dict[str, Any]
    """Means, for a quick look."""
    tuned: Tuned | None
    """What validation chose."""


@dataclass(frozen=True)
class Seen:
    """What the weights saw of the test images in pre-training."""

    verdict: bool | None
    """None: unknown."""
    card: Card | None
    """Of the pre-training, where one lies beside the weights."""
    cases: NDArray[np.bool_] | None
    """(N,) by test case, where a card says it."""


def untrained(spec: TrialSpec, sides: Sides, *, allow_hash: bool = False) -> Network:
    """The network as its training begins: weights from a file or the hub, the rest drawn from the trial's seed."""
    with torch_seeded(spec.seed, Stream.INITIALISATION):
        network = build_model(spec.model, TASKS[spec.task], sides.train, spec.training, allow_hash=allow_hash)
        return network.to(memory_format=torch.channels_last)


def train(
    network: Network,
    spec: TrialSpec,
    sides: Sides,
    fabric: Any,
    *,
    state: Path | None = None,
    on_epoch: OnEpoch = lambda row: None,
) -> Progress:
    """Fit a network in place and leave it at the checkpoint that did best on the validation cases.

    Raises:
        TrialError: the loss is not finite, or there are too few images.
    """
    if not network.fitted:
        return unfitted(network, sides.val_net, spec.training, fabric, _normalise(network, fabric), on_epoch)
    data = network_data(sides.train, TASKS[spec.task], spec.training.image_size)
    common = {"fabric": fabric, "normalise": _normalise(network, fabric), "on_epoch": on_epoch}
    if isinstance(network, Probe):  # solved, not stepped: it has no epochs to go on from, and draws nothing
        return fit_probe(network, data, sides.val_net, spec.training, **common)
    return finetune(network, data, sides.val_net, spec.training, seed=spec.seed, state=state, **common)


def answer(
    network: Network, spec: TrialSpec, cases: Dataset, fabric: Any, *, val: NetworkData | None = None
) -> Predictions:
    """What a trained network says of cases, as its task keeps it; `val`: cases that its decisions are tuned on."""
    recipe = spec.training
    data = network_data(cases, TASKS[spec.task], recipe.image_size)
    with fabric.autocast():  # as in validation
        return predict(network, _normalise(network, fabric), cases, data, recipe.batch_size, fabric.device, val=val)


def evaluate(
    network: Network,
    spec: TrialSpec,
    cases: Dataset,
    fabric: Any,
    *,
    val: NetworkData | None = None,
    tuned: Tuned | None = None,
    dtypes: Dtypes | None = None,
) -> Scored:
    """Score a trained network on cases that have the truth.

    Args:
        network: on the fabric's device.
        spec: of its trial.
        cases: any cases of its task, with its classes.
        fabric: device and precision.
        val: cases that thresholds and temperature are chosen on.
        tuned: what was chosen before, where there are no such cases.
        dtypes: what the network computes with is added to it.
    """
    task = TASKS[spec.task]
    with watch_dtypes(network, {} if dtypes is None else dtypes):
        predictions = answer(network, spec, cases, fabric, val=val)
    if val is not None:
        tuned = task.tune(predictions, spec.dataset.positive)
    table = score_cases(task, predictions, case_table(cases), tuned=tuned)
    definitions = task.definitions(predictions)
    return Scored(predictions, table, definitions, task.summarise(table, definitions, cases.classes), tuned)


def assemble(
    spec: TrialSpec,
    sides: Sides,
    network: Network,
    scored: Scored,
    *,
    seen: Seen,
    weights: Weights | None,
    fit: Progress,
    cost: Cost,
    environment: dict[str, Any],
) -> Record:
    """The record of a trial that has just ended."""
    dataset = sides.whole
    return Record(
        spec=spec.without_place(),
        spec_hash=spec.hash,
        **sides.hashes,
        weight_hash=network.weight_hash,
        registered_hash=network.registered_hash,
        trained_hash=state_sha256(network),
        reading=network.reading,
        weights=weights,
        seen_in_pretraining=seen.verdict,
        pretraining_hash=None if seen.card is None else seen.card.recipe_hash,
        pretrained=None if seen.card is None else seen.card.pretrained,
        n_train=len(sides.train),
        n_val=len(sides.val),
        n_test=len(sides.test),
        n_test_groups=len(set(sides.test.groups)),
        n_leaked=twins_of(dataset.groups, sides.split).elsewhere,
        grouped_by=dataset.grouped_by,
        groups=dataset.groups_in_words,
        notes=(*dataset.notes, *_note_on_lots(spec)),
        classes=dataset.classes,
        definitions=scored.definitions,
        scores=scored.scores,
        tuned=scored.tuned,
        best_epoch=fit.best_epoch,
        cost=cost,
        environment=environment,
    )


def _normalise(network: Network, fabric: Any) -> Normalise:
    normalise: Normalise = fabric.to_device(Normalise(network.mean, network.std))
    return normalise


def _cost(fit: Progress, network: Network, sides: Sides, fabric: Any, *, wall_s: float) -> Cost:
    network.forget()
    return Cost(
        wall_s=wall_s,
        train_images_per_s=fit.train_images / fit.train_s if fit.train_s else None,
        peak_memory_mb=peak_memory_mb(fabric),
        **network_costs(network, _normalise(network, fabric), sides.val_net.images, fabric),
    )


def _note_on_lots(spec: TrialSpec) -> list[str]:
    part = spec.dataset.training
    return ["each seed drew its own part of the training side"] if part and part.lot == "trial" else []
