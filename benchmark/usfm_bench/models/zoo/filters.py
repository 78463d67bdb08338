"""Filters that a reader of an enhancement table asks for first: nothing is trained, an image is made of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import unknown
from usfm_bench.data.sample import Image
from usfm_bench.specs.family import FAMILIES, Family

if TYPE_CHECKING:
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.model import ModelEntry


def _noise(levels: NDArray[np.float64]) -> float:
    """Standard deviation of white noise: Immerkaer (1996), doi:10.1006/cviu.1996.0060."""
    kernel = np.array([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]])
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(cv2.filter2D(levels, -1, kernel)[1:-1, 1:-1]).mean())


def _non_local_means(image: Image) -> Image:
    from skimage.restoration import denoise_nl_means

    levels = image.astype(np.float64) / 255
    sigma = _noise(levels)
    found = denoise_nl_means(levels, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True)
    return np.asarray(np.clip(255 * found, 0, 255).round(), dtype=np.uint8)


FILTERS: Mapping[str, Callable[[Image], Image]] = {
    "identity": lambda image: image,
    "median": lambda image: np.asarray(cv2.medianBlur(image, 5), np.uint8),
    "bilateral": lambda image: np.asarray(cv2.bilateralFilter(image, d=9, sigmaColor=25, sigmaSpace=3), np.uint8),
    "nlmeans": _non_local_means,
    "clahe": lambda image: np.asarray(cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(image), np.uint8),
}
"""Name -> filter of (H, W) grey levels of 8 bits."""


class Filters(Family):
    """Filters by name."""

    name = "filter"
    title = "Filter"
    gives = ("image",)
    reads_files = False
    mean, std = (0.0,) * 3, (1.0,) * 3

    def image_filter(self, entry: ModelEntry) -> Network:
        """The filter as a network without parameters."""
        from usfm_bench.models.enhancer import FilterNetwork

        if entry.architecture not in FILTERS:
            raise unknown("filter", entry.architecture, FILTERS)
        return FilterNetwork(FILTERS[entry.architecture])


FAMILIES.register(Filters.name)(Filters())
