"""`weights.safetensors` of a trial: the whole state of the trained network, and what it takes to build it again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from usfm_bench.core.errors import WeightsError
from usfm_bench.core.files import write_atomic
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.sample import Case, Sample
from usfm_bench.models.build import empty_model
from usfm_bench.models.checkpoint import uncovered
from usfm_bench.models.networks import Network
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.task import Task
from usfm_bench.specs.training import TrainingSpec

WEIGHTS = "weights.safetensors"
"""The file's name in a trial's folder."""
_FACTS = "usfm_bench"  # key of the header's metadata
_AGAIN = "Train again with `usfm-bench run ... --fresh`"


def keep_weights(path: Path, network: Network) -> None:
    """Write parameters, buffers and normalisation of a network, atomically; nothing is pickled.

    Raises:
        BenchError: no space, no permission.
    """
    facts = {"mean": list(network.mean), "std": list(network.std), "encoder": network.shape}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in own_state(network).items()}
    content = save(state, {"format": "pt", _FACTS: json.dumps(facts)})
    write_atomic(path, lambda stream: stream.write(content))


def own_state(network: Network) -> dict[str, Tensor]:
    """The state dict with each tensor once, where several modules hold the same."""
    first = {name for name, _ in chain(network.named_parameters(), network.named_buffers())}
    return {name: tensor for name, tensor in network.state_dict().items() if name in first}


def restore_network(
    path: Path, model: str, task: Task, recipe: TrainingSpec, dataset: DatasetSpec, classes: tuple[str, ...]
) -> Network:
    """The network that `keep_weights` wrote, without the file that its training began with.

    Args:
        path: the file.
        model: name of the model.
        task: what it was trained for.
        recipe: of its training.
        dataset: that it was trained on.
        classes: of the data set, in label order.

    Raises:
        WeightsError: the file is damaged, or of another network; names the tensors.
    """
    state, facts = _read(path)
    network = empty_model(model, task, stand_in(dataset, classes), recipe, encoder=facts["encoder"])
    network.expect(state)
    if lines := uncovered(state, own_state(network)):
        raise WeightsError(f"{path}: holds the weights of another network. {'; '.join(lines)}. {_AGAIN}.")
    network.load_state_dict(state, strict=False)  # a tensor that two modules share is there under one name
    network.mean, network.std = facts["mean"], facts["std"]
    return network.to(memory_format=torch.channels_last)


def stand_in(spec: DatasetSpec, classes: Sequence[str]) -> Dataset:
    """A data set with one blank case a class, for networks that are built and not trained."""
    blank = np.zeros((1, 1), np.uint8)
    cases = [Case(name, label=name) for name in classes] or [Case("blank")]
    samples = tuple(Sample(case, blank, blank.astype(bool)) for case in cases)
    return Dataset(spec.model_copy(update={"classes": tuple(classes)}), samples)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            facts = json.loads((file.metadata() or {})[_FACTS])
        if not {"mean", "std", "encoder"} <= facts.keys():
            raise KeyError(_FACTS)
    except FileNotFoundError:
        raise WeightsError(f"{path}: is not there. {_AGAIN}.") from None
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: damaged, or not a file of kept weights ({said}). {_AGAIN}.") from None
    return state, facts
