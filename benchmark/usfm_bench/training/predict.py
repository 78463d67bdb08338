"""What a model says of images, and how validation judges it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.specs.task import Predictions


def predict_logits(
    model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device
) -> Tensor:
    """(N, ...) outputs for every image, on the CPU in float32."""
    return torch.cat(list(_logits(model, normalise, data, batch_size, device)))


def _logits(
    model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device
) -> Iterator[Tensor]:
    """(B, ...) outputs of each batch of images in turn, on the CPU in float32."""
    outputs = _outputs(model, normalise, data, batch_size, device)
    while True:
        with torch.inference_mode():  # not across `yield`, where it would hold for the caller
            batch = next(outputs, None)
            if batch is None:
                return
            logits = batch[0].float().cpu()
        yield logits


@torch.inference_mode()
def validate(model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device) -> float:
    """What chooses the checkpoint: the task's validation score, in [0, 1]."""
    return data.task.validate(_outputs(model, normalise, data, batch_size, device))


def predict(
    model: Any,
    normalise: Normalise,
    dataset: Dataset,
    data: NetworkData,
    batch_size: int,
    device: torch.device,
    *,
    val: NetworkData | None = None,
) -> Predictions:
    """Predictions for test cases, as their task keeps them.

    Args:
        model: trained.
        normalise: of its inputs.
        dataset: the test cases.
        data: the same cases on the network's grid.
        batch_size: images at once.
        device: where the model is.
        val: validation cases, for tasks that tune decisions on them.
    """

    def of_validation() -> tuple[Tensor, Tensor] | None:
        if val is None:
            return None
        return predict_logits(model, normalise, val, batch_size, device), val.targets[:]

    with torch.inference_mode():
        logits = _logits(model, normalise, data, batch_size, device)
        return data.task.predict_batches(logits, dataset, of_validation)


def _outputs(
    model: Any, normalise: Normalise, data: NetworkData, batch_size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    model.eval()
    for images, targets in data.batches(batch_size, device, np.arange(len(data))):
        yield model(normalise(images)), targets
