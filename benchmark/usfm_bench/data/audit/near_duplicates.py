"""Near-duplicate images: nearly the same picture, whatever its size, file format or brightness.

Two images are near-duplicates when, on a 64 x 64 grid, they correlate by at least 0.97; or by at least 0.8, and their
perceptual hashes differ in at most 4 of 63 bits. The hash is the signs of the 63 lowest AC coefficients of the cosine
transform on a 32 x 32 grid, against their median; alone it decides nothing, since images of one layout, and dark ones,
share it by chance. The same is asked of each image's mirror image. Groups are the connected components: grouping too
much costs a little freedom in drawing splits, grouping too little leaks test images into training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from usfm_bench.core.cores import available_cores
from usfm_bench.data.resize import resample
from usfm_bench.data.sample import Image

MIN_CORRELATION = 0.97
"""Enough alone."""
MAX_BITS, MIN_CORRELATION_OF_HASHES = 4, 0.8
"""Enough together; the 195 pairs of BUSI correlate by 0.83 or more."""
_GRID, _HASH_GRID, _COEFFICIENTS = 64, 32, 8
_FLAT = 1e-3  # length of a thumbnail below which there is rounding and no picture
_BLOCK = 512  # rows compared at once: bounds the memory, whatever the number of images


class Fingerprints(NamedTuple):
    """What images are compared by."""

    thumbnails: NDArray[np.float32]
    """(N, 64, 64) pixels, without mean, of length 1; all the same for an image of one grey level, so that it is like
    another such image and like no picture."""
    coefficients: NDArray[np.float32]
    """(N, 8, 8) lowest coefficients of the cosine transform on the 32 x 32 grid."""

    def mirrored(self) -> Fingerprints:
        """The fingerprints of the same images, left and right exchanged."""
        odd = np.where(np.arange(_COEFFICIENTS) % 2, -1, 1).astype(np.float32)
        return Fingerprints(self.thumbnails[:, :, ::-1], self.coefficients * odd)

    def hashes(self) -> NDArray[np.uint64]:
        """(N,) perceptual hashes of 63 bits."""
        low = self.coefficients.reshape(-1, _COEFFICIENTS**2)[:, 1:]
        bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
        return bits.view(np.uint64)[:, 0]


class NearPair(NamedTuple):
    """Two images that are near-duplicates, and how near they are."""

    first: int
    second: int
    correlation: float
    """On the 64 x 64 grid, -1 to 1."""
    bits: int
    """Bits in which the perceptual hashes differ, of 63."""
    mirrored: bool
    """One is like the other with left and right exchanged."""


def fingerprints(images: Iterable[Image]) -> Fingerprints:
    """Fingerprints of (H, W) grey images, on all cores: OpenCV resizes without the interpreter's lock."""
    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(_fingerprint, images))
    thumbnails = [thumbnail for thumbnail, _ in found]
    coefficients = [low for _, low in found]
    return Fingerprints(
        np.stack(thumbnails) if found else np.empty((0, _GRID, _GRID), np.float32),
        np.stack(coefficients) if found else np.empty((0, _COEFFICIENTS, _COEFFICIENTS), np.float32),
    )


def near_pairs(one: Fingerprints, other: Fingerprints | None = None) -> list[NearPair]:
    """Near-duplicates within one set of images, each pair once, or between two sets, by position."""
    upright = _compare(one, other or one, mirrored=False)
    seen = {pair[:2] for pair in upright}
    pairs = upright + [p for p in _compare(one, (other or one).mirrored(), mirrored=True) if p[:2] not in seen]
    return sorted(pair for pair in pairs if other is not None or pair.first < pair.second)


def _compare(one: Fingerprints, other: Fingerprints, *, mirrored: bool) -> list[NearPair]:
    flat, columns = (f.thumbnails.reshape(-1, _GRID**2) for f in (one, other))
    hashes, other_hashes = one.hashes(), other.hashes()
    found = []
    for start in range(0, len(flat), _BLOCK):
        rows = slice(start, start + _BLOCK)
        correlation = flat[rows] @ columns.T
        bits = np.bitwise_count(hashes[rows, None] ^ other_hashes)
        near = (correlation >= MIN_CORRELATION) | ((bits <= MAX_BITS) & (correlation >= MIN_CORRELATION_OF_HASHES))
        found += [
            NearPair(int(i) + start, int(j), round(float(correlation[i, j]), 4), int(bits[i, j]), mirrored)
            for i, j in zip(*near.nonzero(), strict=True)
        ]
    return found


def components(n: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Number of the connected component of each of `n` images."""
    first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(n, n))
    labels: list[int] = connected_components(graph, directed=False)[1].tolist()
    return labels


def _fingerprint(image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    small = resample(image, (_GRID, _GRID), cv2.INTER_AREA).astype(np.float32)
    small -= small.mean()
    tiny = resample(image, (_HASH_GRID, _HASH_GRID), cv2.INTER_AREA).astype(np.float32)
    length = np.linalg.norm(small)
    thumbnail = small / length if length > _FLAT else np.full_like(small, 1 / _GRID)
    return thumbnail, cv2.dct(tiny)[:_COEFFICIENTS, :_COEFFICIENTS]
