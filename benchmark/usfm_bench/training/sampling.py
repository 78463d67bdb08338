"""Which training images an epoch sees, and in which order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.loaders import NetworkData
from usfm_bench.specs.training import TrainingSpec


def epoch_order(data: NetworkData, spec: TrainingSpec, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) positions of the images of one epoch: whole batches, or all images where there are fewer than one batch."""
    length = len(data) // spec.batch_size * spec.batch_size or len(data)
    if spec.sampling == "balanced":
        return balanced_order(data.labels, length, rng)
    return rng.permutation(len(data))[:length]


def balanced_order(labels: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(length,) positions of images in random order, as many of each class, drawn with replacement within the class.

    Args:
        labels: (N,) class of each image; a class that none has is left out.
        length: positions to draw; where the classes do not divide it, random classes get one more.
        rng: source of the draws.
    """
    classes = rng.permutation(np.unique(labels))
    sizes = [length // len(classes) + (k < length % len(classes)) for k in range(len(classes))]
    drawn = [rng.choice(np.flatnonzero(labels == c), size) for c, size in zip(classes, sizes, strict=True)]
    return rng.permutation(np.concatenate(drawn))
