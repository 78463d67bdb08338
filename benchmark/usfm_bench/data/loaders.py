"""Samples as tensors on the network's grid: resized once, kept as bytes, batched without worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usfm_bench.data.dataset import Dataset
from usfm_bench.data.resize import resize_image
from usfm_bench.specs.task import Task


@dataclass(frozen=True)
class NetworkData:
    """Images and targets of one side of a split, on the network's grid."""

    images: Tensor
    """(N, 1, S, S) uint8 grey levels."""
    targets: Tensor
    """What the task's `targets` gives: uint8 maps, which batches hold as float, or (N,) int64 labels."""

    task: Task
    """What the targets are of."""

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int, device: torch.device, order: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (images in [0, 1], targets) on the device, in the given order; the last may be smaller."""
        for start in range(0, len(order), size):
            rows = torch.from_numpy(order[start : start + size])
            images = self.images[rows].to(device, non_blocking=True).float() / 255
            targets = self.targets[rows].to(device, non_blocking=True)
            yield images, targets.float() if targets.dtype == torch.uint8 else targets


def network_data(dataset: Dataset, task: Task, size: int) -> NetworkData:
    """Resize every sample to (size, size), without keeping the aspect ratio, as the published code does."""
    images = np.stack([resize_image(sample.image, size) for sample in dataset.samples])
    return NetworkData(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(task.targets(dataset, size)), task)
