"""Samples as tensors on the network's grid: resized once, kept as bytes, batched without worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usfm_bench.data.dataset import Dataset
from usfm_bench.data.resize import resize_image
from usfm_bench.specs.task import Task

_SHARE_OF_DEVICE = 0.1


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

    def near(self, device: torch.device) -> NetworkData:
        """The same on the device, where it takes at most a tenth of the memory that is free there; else as it is."""
        size = self.images.nbytes + self.targets.nbytes
        if device.type != "cuda" or size > _SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(self, images=self.images.to(device), targets=self.targets.to(device))

    def batches(self, size: int, device: torch.device, order: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (images in [0, 1], targets) on the device, in the given order; the last may be smaller."""
        for rows in torch.split(torch.from_numpy(order).to(self.images.device), size):
            images = _taken(self.images, rows, device).float() / 255
            targets = _taken(self.targets, rows, device)
            yield images, targets.float() if targets.dtype == torch.uint8 else targets


def _taken(whole: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Rows of a tensor, on the device."""
    if whole.device.type == "cuda" or device.type != "cuda":
        return whole.index_select(0, rows).to(device)
    # From pinned memory a copy runs beside the step before; torch gives the memory out again when it has ended.
    pinned = torch.empty((len(rows), *whole.shape[1:]), dtype=whole.dtype, pin_memory=True)
    return torch.index_select(whole, 0, rows, out=pinned).to(device, non_blocking=True)


def network_data(dataset: Dataset, task: Task, size: int) -> NetworkData:
    """Resize every sample to (size, size), without keeping the aspect ratio, as the published code does."""
    images = np.stack([resize_image(sample.image, size) for sample in dataset.samples])
    return NetworkData(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(task.targets(dataset, size)), task)
