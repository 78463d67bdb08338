"""How a reference mask comes to the network's grid; repositories differ in it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.resize import resize_mask
from usfm_bench.data.sample import Mask

Floats = NDArray[np.float32]


def _by_cv2(mask: Mask, size: int, interpolation: int) -> Floats:
    return np.asarray(cv2.resize(mask.astype(np.float32), (size, size), interpolation=interpolation))


GRIDS: dict[str, Callable[[Mask, int], Mask]] = {
    "network": resize_mask,
    "network, nearest": lambda mask, size: _by_cv2(mask, size, cv2.INTER_NEAREST) > 0,
    "network, nearest centre": lambda mask, size: _by_cv2(mask, size, cv2.INTER_NEAREST_EXACT) > 0,
    "network, bilinear": lambda mask, size: _by_cv2(mask, size, cv2.INTER_LINEAR) >= 0.5,
    "network, bilinear, above half": lambda mask, size: _by_cv2(mask, size, cv2.INTER_LINEAR) > 0.5,
}
"""Name to (mask (H, W), size) -> (size, size). `network` is what networks are trained on: pixels half covered or more.
`nearest` is cv2's and albumentations', `nearest centre` Pillow's."""
