"""The same body seen otherwise: masks go where the image goes."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.sample import Image

ZOOMS = (1.05, 1.1, 1.2, 1.3, 1.5)
"""Magnification, by severity."""


def zoom(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """A window with the middle of the image in it, by lot, at the size of the whole."""
    (height, width), share = image.shape, 1 / ZOOMS[severity - 1]
    place = rng.uniform(0, 1, 2) * (1 - share) * (height, width)
    scale = np.array([[1 / share, 0, -place[1] / share], [0, 1 / share, -place[0] / share]])
    found = cv2.warpAffine(image, scale, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


def flip(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Left is right, at every severity."""
    return np.ascontiguousarray(image[:, ::-1])


CORRUPTIONS.register("zoom")(
    Corruption(
        title="Crop and zoom",
        imitates=f"A shallower or narrower view: magnified by {', '.join(f'{z:g}' for z in ZOOMS)}, at a place by "
        "lot; what leaves the view leaves the mask too",
        source="This project's own",
        apply=zoom,
        moves=True,
    )
)
CORRUPTIONS.register("flip")(
    Corruption(
        title="Left and right changed",
        imitates="A probe that is held the other way around; the same at every severity",
        source="This project's own",
        apply=flip,
        moves=True,
    )
)
