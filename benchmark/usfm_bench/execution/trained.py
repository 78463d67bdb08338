"""A finished trial's network, ready to be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from usfm_bench.core.errors import BenchError, WeightsError, listed
from usfm_bench.core.files import file_sha256
from usfm_bench.models.kept import WEIGHTS, restore_network
from usfm_bench.models.networks import Network
from usfm_bench.results.record import Record, Weights
from usfm_bench.results.rescore import find_trials
from usfm_bench.results.store import read_record
from usfm_bench.specs.task import TASKS
from usfm_bench.training.device import build_fabric


class Trained(NamedTuple):
    """A network on its device, with the weights that its trial kept."""

    record: Record
    network: Network
    fabric: Any


def open_trained(folder: Path, device: str) -> Trained:
    """The network of the trial in a folder, with its normalisation, input size and precision.

    Args:
        folder: a trial's.
        device: `cpu` or `cuda`.

    Raises:
        WeightsError: its weights were not kept, are damaged, or are not those of the record.
        BenchError: no trial's folder.
    """
    record = trial_record(folder)
    spec, path = record.spec, folder / WEIGHTS
    weights = kept_weights(folder, record)
    network = restore_network(path, spec.model, TASKS[spec.task], spec.training, spec.dataset, record.classes)
    if (found := file_sha256(path)) != weights.sha256:
        raise WeightsError(
            f"{path}: sha256 is {found[:12]}, the trial's record says {weights.sha256[:12]}: these are other "
            "weights than those that were scored. Put the trial's own file back, or run it again with --fresh."
        )
    fabric = build_fabric(spec.training, device)
    return Trained(record, fabric.to_device(network).eval(), fabric)


def kept_weights(folder: Path, record: Record) -> Weights:
    """What the record says of the trained weights.

    Raises:
        WeightsError: they were not kept.
    """
    if record.weights is None:
        raise WeightsError(
            f"{folder}: its trained weights were not kept (--no-keep-weights, or an earlier version). "
            "`usfm-bench run ... --fresh` trains it again and keeps them."
        )
    return record.weights


def trial_record(folder: Path) -> Record:
    """The record of the trial in a folder.

    Raises:
        BenchError: no trial's folder; names those in it, where it is a runs folder or a part of one.
    """
    path = folder / "record.json"
    if path.is_file():
        return read_record(path)
    try:
        inside = [str(trial) for trial, _ in find_trials(folder)]
    except BenchError:
        inside = []
    hint = f" Trials in it: {listed(inside, 3)}." if inside else " `usfm-bench run` makes trials."
    raise BenchError(f"'{folder}' is no finished trial's folder: it has no record.json.{hint}")
