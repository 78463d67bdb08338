"""How a reference mask comes to the network's grid; repositories differ in it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from usfm_bench.data.resize import resize_mask
from usfm_bench.data.sample import Mask


def _by_cv2(mask: Mask, size: int, interpolation: int) -> Mask:
    resized = cv2.resize(mask.astype(np.float32), (size, size), interpolation=interpolation)
    return np.asarray(resized >= 0.5)


GRIDS: dict[str, Callable[[Mask, int], Mask]] = {
    "network": resize_mask,
    "network, nearest": lambda mask, size: _by_cv2(mask, size, cv2.INTER_NEAREST),
    "network, nearest centre": lambda mask, size: _by_cv2(mask, size, cv2.INTER_NEAREST_EXACT),
    "network, bilinear": lambda mask, size: _by_cv2(mask, size, cv2.INTER_LINEAR),
}
"""Name to (mask (H, W), size) -> (size, size). `network` is what networks are trained on: pixels half covered or more.
`nearest` is cv2's and albumentations', `nearest centre` Pillow's."""
