"""Samples as tensors on the network's grid: resized once, kept as bytes, batched without worker processes."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from usfm_bench.data.dataset import Dataset
from usfm_bench.data.grids import whole_grid
from usfm_bench.data.resize import resize_image
from usfm_bench.data.scratch import IN_MEMORY, Touched
from usfm_bench.specs.task import Task

_SHARE_OF_DEVICE = 0.1


@dataclass(frozen=True)
class Picked:
    """Rows of a tensor that stays where it is, such as in a file that is mapped."""

    whole: Tensor
    """(M, ...), on the CPU."""
    rows: Tensor
    """(N,) int64."""
    touched: Touched
    """Of the whole."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Tensor:
        found = self.whole[self.rows[index]]
        self.note(len(found))
        return found

    def note(self, n_rows: int) -> None:
        """So many rows were read; each touches a page at least."""
        self.touched.add(n_rows * max(mmap.PAGESIZE, self.whole[:1].nbytes))

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
        return self.whole.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its rows."""
        return self.whole.nbytes // max(1, len(self.whole)) * len(self)


@dataclass(frozen=True)
class NetworkData:
    """Images and targets of one side of a split, on the network's grid."""

    images: Tensor | Picked
    """(N, 1, S, S) uint8 grey levels."""
    targets: Tensor | Picked
    """What the task's `targets` gives: uint8 maps, which batches hold as float, or (N,) int64 labels."""

    task: Task
    """What the targets are of."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) of targets that are labels."""
        assert isinstance(self.targets, Tensor)
        labels: NDArray[np.int64] = self.targets.numpy()
        return labels

    def near(self, device: torch.device) -> NetworkData:
        """The same on the device, where it takes at most a tenth of the memory that is free there; else as it is."""
        size = self.images.nbytes + self.targets.nbytes
        if device.type != "cuda" or size > _SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
            return self
        return replace(self, images=self.images[:].to(device), targets=self.targets[:].to(device))

    def batches(self, size: int, device: torch.device, order: NDArray[np.int64]) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (images in [0, 1], targets) on the device, in the given order; the last may be smaller."""
        place = self.images.device if isinstance(self.images, Tensor) else "cpu"
        for rows in torch.split(torch.from_numpy(order).to(place), size):
            images = _taken(self.images, rows, device).float() / 255
            targets = _taken(self.targets, rows, device)
            yield images, targets.float() if targets.dtype == torch.uint8 else targets


def _taken(of: Tensor | Picked, rows: Tensor, device: torch.device) -> Tensor:
    """Rows, on the device."""
    if isinstance(of, Picked):
        of.note(len(rows))
        whole, rows = of.whole, of.rows[rows]
    else:
        whole = of
    if whole.device.type == "cuda" or device.type != "cuda":
        return whole.index_select(0, rows).to(device)
    # From pinned memory a copy runs beside the step before; torch gives the memory out again when it has ended.
    pinned = torch.empty((len(rows), *whole.shape[1:]), dtype=whole.dtype, pin_memory=True)
    return torch.index_select(whole, 0, rows, out=pinned).to(device, non_blocking=True)


def network_data(dataset: Dataset, task: Task, size: int) -> NetworkData:
    """Resize every sample to (size, size), without keeping the aspect ratio, as the published code does.

    Of many images, all sides of a data set use one file, see `data.grids`.
    """

    def images(part: Dataset) -> NDArray[Any]:
        return np.stack([resize_image(sample.image, size) for sample in part.samples])[:, None]

    def targets(part: Dataset) -> NDArray[Any]:
        return task.targets(part, size)

    if len(dataset) * size**2 <= IN_MEMORY:
        return NetworkData(torch.from_numpy(images(dataset)), torch.from_numpy(targets(dataset)), task)
    return NetworkData(_picked(dataset, f"image {size}", images), _targets(dataset, task, size, targets), task)


def _targets(dataset: Dataset, task: Task, size: int, made: Callable[[Dataset], NDArray[Any]]) -> Tensor | Picked:
    if made(dataset.subset([0])).ndim == 1:  # a number a case
        return torch.from_numpy(made(dataset))
    return _picked(dataset, f"{task.name} {size}", made, type(task))


def _picked(dataset: Dataset, what: str, made: Callable[[Dataset], NDArray[Any]], code: object = None) -> Picked:
    grid, rows = whole_grid(dataset, what, made, code)
    return Picked(torch.from_numpy(grid), torch.tensor(rows, dtype=torch.int64), Touched(grid))
