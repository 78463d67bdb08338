"""Images and masks on the network's grid. Without torch: scoring on that grid needs it too."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.data.sample import Image, Mask


def resize_image(image: Image, size: int) -> Image:
    """(H, W) grey levels -> (size, size); by area when shrinking (no aliasing), bicubic when enlarging."""
    shrinks = image.shape[0] >= size and image.shape[1] >= size
    resized = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(resized, dtype=np.uint8)


def resize_mask(mask: Mask, size: int) -> Mask:
    """(H, W) bool -> (size, size) bool: pixels at least half covered."""
    covered = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(covered >= 0.5)
