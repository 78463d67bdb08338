"""What a trial keeps of its network: `weights.safetensors`, and `frozen.safetensors` of an encoder that is not trained.

The second is equal in all trials of that encoder, so it is one file on the disk with a name in each trial's folder (a
hard link): a folder that is copied elsewhere is whole, and the disk holds the encoder once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from usfm_bench.core.errors import WeightsError
from usfm_bench.core.files import file_sha256, write_atomic
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
FROZEN = "frozen.safetensors"
"""Parameters that were not trained, beside it."""
_FACTS = "usfm_bench"  # key of the header's metadata
_FROZEN = "frozen"  # key of the facts: sha256 of the other file
_AGAIN = "Train again with `usfm-bench run ... --fresh`"


def keep_weights(path: Path, network: Network, shared: Path) -> None:
    """Write parameters, buffers and normalisation of a network, atomically; nothing is pickled.

    Args:
        path: `weights.safetensors` of a trial's folder.
        network: that was trained.
        shared: folder for what several trials have in common, on the same file system; it may be deleted at any time.

    Raises:
        BenchError: no space, no permission.
    """
    facts: dict[str, Any] = {"mean": list(network.mean), "std": list(network.std), "encoder": network.shape}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in own_state(network).items()}
    fixed = frozen_names(network)
    if fixed:
        frozen = save({name: state.pop(name) for name in sorted(fixed)}, {"format": "pt"})
        facts[_FROZEN] = hashlib.sha256(frozen).hexdigest()
        _share(frozen, path.with_name(FROZEN), shared / f"{facts[_FROZEN]}.safetensors")
    content = save(state, {"format": "pt", _FACTS: json.dumps(facts)})
    write_atomic(path, lambda stream: stream.write(content))


def frozen_names(network: Network) -> set[str]:
    """Of the parameters that no step changes."""
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


def _share(content: bytes, path: Path, common: Path) -> None:
    """Give the file of a content another name, or write it where there is none, or none can be given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or the file system has no links
        if file_sha256(common) == common.stem:
            os.link(common, path)
            return
    write_atomic(path, lambda stream: stream.write(content))
    with suppress(OSError):
        common.parent.mkdir(parents=True, exist_ok=True)
        common.unlink(missing_ok=True)
        os.link(path, common)


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
    if digest := facts.get(_FROZEN):
        state |= _read_frozen(path.with_name(FROZEN), digest)
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
    with _said(path), safe_open(path, framework="pt") as file:
        facts = json.loads((file.metadata() or {})[_FACTS])
        if not {"mean", "std", "encoder"} <= facts.keys():
            raise KeyError(_FACTS)
        return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 - not a mapping


def _read_frozen(path: Path, digest: str) -> dict[str, Tensor]:
    with _said(path):
        if file_sha256(path) != digest:
            raise ValueError(f"its sha256 is not {digest[:12]}")
        state: dict[str, Tensor] = load_file(path)
        return state


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """What is wrong with a file of weights, in words."""
    try:
        yield
    except FileNotFoundError:
        raise WeightsError(f"{path}: is not there. {_AGAIN}.") from None
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: damaged, or not a file of kept weights ({said}). {_AGAIN}.") from None
