"""Many masks at one bit a pixel, and many images, as arrays one case at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import overload

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Image, Mask
from usfm_bench.data.scratch import Touched, scratch_array

Shape = tuple[int, ...]


class PackedMasks(Sequence[Mask]):
    """Masks of any shapes, one behind the other without a gap, as `np.packbits` packs them all at once.

    Args:
        shapes: of each mask, (H, W) or (K, H, W).
        bits: of all of them; None: they are all False, and `put` fills them in.

    Raises:
        ValueError: more or fewer bits than the shapes have.
    """

    def __init__(self, shapes: Sequence[Shape], bits: NDArray[np.uint8] | None = None) -> None:
        self.shapes = tuple(shapes)
        self._starts = list(accumulate(map(math.prod, self.shapes), initial=0))
        n_bytes = -(-self._starts[-1] // 8)
        self.bits = scratch_array([n_bytes], np.uint8) if bits is None else bits
        if self.bits.shape != (n_bytes,):
            raise ValueError(f"{self.bits.shape} bytes of masks where their shapes have {n_bytes}")
        self._touched = Touched(self.bits)

    def put(self, index: int, mask: Mask) -> None:
        """Fill in a mask that has not been filled in before."""
        start = self._starts[index]
        packed = np.packbits(np.concatenate([np.zeros(start % 8, bool), mask.ravel()]))
        # Neighbours share a byte where a mask does not end with one.
        self.bits[start // 8 : start // 8 + len(packed)] |= packed
        self._touched.add(len(packed))

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Mask, ...]: ...
    def __getitem__(self, index: int | slice) -> Mask | tuple[Mask, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        place = range(len(self))[index]
        start, end = self._starts[place : place + 2]
        packed = self.bits[start // 8 : -(-end // 8)]
        bits = np.unpackbits(packed)
        self._touched.add(len(packed))
        return bits[start % 8 : start % 8 + end - start].view(np.bool_).reshape(self.shapes[place])

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[Mask]:
        return (self[i] for i in range(len(self)))


class FlatImages(Sequence[Image]):
    """Images of any shapes, one behind the other.

    Args:
        shapes: (H, W) of each.
        flat: levels of all of them; None: they are all black, and `put` fills them in.

    Raises:
        ValueError: more or fewer levels than the shapes have.
    """

    def __init__(self, shapes: Sequence[Shape], flat: NDArray[np.uint8] | None = None) -> None:
        self.shapes = tuple(shapes)
        self._starts = list(accumulate(map(math.prod, self.shapes), initial=0))
        self.flat = scratch_array([self._starts[-1]], np.uint8) if flat is None else flat
        if self.flat.shape != (self._starts[-1],):
            raise ValueError(f"{self.flat.shape} levels of images where their shapes have {self._starts[-1]}")
        self._touched = Touched(self.flat)

    def put(self, index: int, image: Image) -> None:
        """Fill in an image."""
        self.flat[self._starts[index] : self._starts[index + 1]] = image.ravel()
        self._touched.add(image.size)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Image, ...]: ...
    def __getitem__(self, index: int | slice) -> Image | tuple[Image, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        place = range(len(self))[index]
        levels = self.flat[self._starts[place] : self._starts[place + 1]]
        self._touched.add(len(levels))
        return np.asarray(levels).reshape(self.shapes[place])

    def __len__(self) -> int:
        return len(self.shapes)


class Channel(Sequence[Mask]):
    """The same structure of every case: `masks[i][k]`."""

    def __init__(self, masks: Sequence[Mask], k: int) -> None:
        self._masks, self._k = masks, k

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Mask, ...]: ...
    def __getitem__(self, index: int | slice) -> Mask | tuple[Mask, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        mask: Mask = self._masks[index][self._k]
        return mask

    def __len__(self) -> int:
        return len(self._masks)


def pack(masks: Sequence[Mask]) -> PackedMasks:
    """The same masks, packed."""
    if isinstance(masks, PackedMasks):
        return masks
    packed = PackedMasks([mask.shape for mask in masks])
    for i, mask in enumerate(masks):
        packed.put(i, mask)
    return packed
