"""Find near-duplicate images of a data set and write their groups, keyed by a hash of the decoded grey pixels.

    python scripts/find_near_duplicates.py busi DATA_ROOT benchmark/usfm_bench/data/group_files/busi.csv

Two images are near-duplicates when, on a 64 x 64 grid, they correlate by at least 0.97, or when their perceptual
hashes (signs of the 63 lowest AC coefficients of the cosine transform on a 32 x 32 grid, against their median) differ
in at most 4 bits. Groups are the connected components: grouping too much costs a little freedom in drawing splits,
grouping too little leaks test images into training.
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from usfm_bench.data.dataset import decode, open_reader
from usfm_bench.data.groups import pixel_hash
from usfm_bench.data.spec import find_dataset, load_registry

MIN_CORRELATION = 0.97
MAX_DISTANCE = 4


def correlations(images: list[np.ndarray]) -> np.ndarray:
    """(N, N) correlation of the images on a 64 x 64 grid."""
    small = np.stack([cv2.resize(i, (64, 64), interpolation=cv2.INTER_AREA).ravel() for i in images]).astype(np.float32)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True) + 1e-12
    return small @ small.T


def hash_distances(images: list[np.ndarray]) -> np.ndarray:
    """(N, N) number of differing bits between the images' 63-bit perceptual hashes."""
    bits = []
    for image in images:
        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        low = cv2.dct(small)[:8, :8].ravel()[1:]
        bits.append(low > np.median(low))
    signs = np.where(np.stack(bits), 1.0, -1.0)
    return ((signs.shape[1] - signs @ signs.T) / 2).round()


def main(name: str, data_root: str, out: str) -> None:
    """Read the data set, group its images and write the file `out`."""
    reader = open_reader(find_dataset(name, load_registry()), Path(data_root))
    samples, faults = decode(reader, reader.cases())
    if faults:
        sys.exit("\n".join(faults))
    images = [sample.image for sample in samples]
    near = (correlations(images) >= MIN_CORRELATION) | (hash_distances(images) <= MAX_DISTANCE)
    np.fill_diagonal(near, False)
    component = connected_components(coo_array(near), directed=False)[1]
    sizes = np.bincount(component)
    grouped = sorted((pixel_hash(image), int(c)) for image, c in zip(images, component, strict=True) if sizes[c] > 1)
    first = {c: h for h, c in reversed(grouped)}
    with Path(out).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["pixel_hash", "group"])
        writer.writerows(sorted({(h, first[c]) for h, c in grouped}))
    labels = np.array([sample.case.label for sample in samples])
    crossing = near & (labels[:, None] != labels)
    print(
        f"{near.sum() // 2} pairs ({crossing.sum() // 2} between classes), {(sizes > 1).sum()} groups, "
        f"{len(grouped)} images, largest group {sizes.max()}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
