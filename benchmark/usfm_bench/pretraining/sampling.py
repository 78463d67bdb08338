"""Which images a step sees: every organ as often as any other; and random draws for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from usfm_bench.pretraining.data import Images
from usfm_bench.training.seeding import Stream, generator, torch_generator


class OrganSampler:
    """Which images each step sees, from the step's number and the seed alone: nothing to save, the same when resumed.

    Positions run on without end. Each block of as many positions as there are organs has every organ once, in random
    order; within an organ, images come in random order, each once before any comes again.

    Args:
        organs: (N,) organ of each image; no label is looked at.
        seed: of the pre-training.
    """

    def __init__(self, organs: Sequence[str], seed: int) -> None:
        names, index = np.unique(np.asarray(organs), return_inverse=True)
        self.names: list[str] = names.tolist()
        self._members = [np.flatnonzero(index == k) for k in range(len(names))]
        self._seed = seed
        self._orders: dict[int, tuple[int, NDArray[np.int64]]] = {}  # of each organ's present cycle

    def images(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """(P,) image numbers at positions; disjoint shares of a step's positions shard it across processes."""
        return np.array([self._image(*divmod(int(p), len(self.names))) for p in positions], dtype=np.int64)

    def _image(self, block: int, place: int) -> int:
        organ = int(self._random(0, block).permutation(len(self.names))[place])
        members = self._members[organ]
        cycle, turn = divmod(block, len(members))
        if organ not in self._orders or self._orders[organ][0] != cycle:
            self._orders[organ] = (cycle, self._random(1 + organ, cycle).permutation(members))
        return int(self._orders[organ][1][turn])

    def _random(self, purpose: int, number: int) -> np.random.Generator:
        return generator(self._seed, Stream.SAMPLING, purpose, number)


class Reader:
    """The images that each step sees, read while the step before is computed.

    Args:
        images: (N, S, S) grey levels.
        organs: (N,) organ of each.
        seed: of the pre-training.
    """

    def __init__(self, images: Images, organs: Sequence[str], seed: int) -> None:
        self._images, self._sampler = images, OrganSampler(organs, seed)
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[bytes, Future[NDArray[np.uint8]]] | None = None

    def batch(self, positions: NDArray[np.int64], ahead: int = 0) -> NDArray[np.uint8]:
        """(P, S, S) grey levels at positions.

        Args:
            positions: (P,).
            ahead: those which lie this far ahead are begun to be read, for the next call; 0: none.

        Raises:
            BenchError: they lie in a file, which cannot be read.
        """
        begun, self._ahead = self._ahead, None
        if begun is None or begun[0] != positions.tobytes():
            begun = self._begin(positions)
        images = begun[1].result()
        if ahead:
            self._ahead = self._begin(positions + ahead)
        return images

    def _begin(self, positions: NDArray[np.int64]) -> tuple[bytes, Future[NDArray[np.uint8]]]:
        return positions.tobytes(), self._pool.submit(lambda: self._images[self._sampler.images(positions)])


T = TypeVar("T", bound=torch.Tensor | tuple[torch.Tensor, ...])


class Step:
    """A step, for the images at some places of its batch.

    Args:
        number: of the step, from 0.
        places: (B,) which images of the whole batch.
        batch_size: of the whole batch.
        seed: of the pre-training.
    """

    def __init__(self, number: int, places: NDArray[np.int64], batch_size: int, seed: int) -> None:
        self.number = number
        self._places, self._batch_size = torch.from_numpy(places), batch_size
        self._generator = torch_generator(seed, Stream.MASKS, number)

    def draw(self, numbers: Callable[[int, torch.Generator], T]) -> T:
        """What `numbers(batch_size, generator)` draws for these images, however the batch is divided.

        The tensor that it gives, or each of a named tuple, has a row an image; it is drawn on the CPU, and further
        calls go on where this one stopped.
        """
        drawn: Any = numbers(self._batch_size, self._generator)
        rows: Any = self._of(drawn) if isinstance(drawn, torch.Tensor) else type(drawn)(*map(self._of, drawn))
        return cast(T, rows)

    def _of(self, drawn: torch.Tensor) -> torch.Tensor:
        return drawn[self._places.to(drawn.device)]
