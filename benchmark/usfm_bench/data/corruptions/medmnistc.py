"""The seven corruptions of MedMNIST-C for BreastMNIST, under their published parameters (arXiv 2406.17536).

Theirs are of 224 x 224 px: lengths are scaled here to the shorter side of an image. Motion blur follows ImageMagick's
kernel, half a Gaussian on one side of each pixel, along a direction between -45 and 45 degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from PIL import Image as Pillow

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.corruptions.echo import Floats
from usfm_bench.data.sample import Image

GROUP = "medmnistc"
SIDE = 224
PIXELATE = (0.30, 0.25, 0.20, 0.15, 0.10)
JPEG = (50, 30, 15, 10, 7)
SPECKLE = (0.10, 0.15, 0.20, 0.25, 0.30)
MOTION = ((5, 5), (9, 7), (9, 10), (13, 10), (17, 12))
"""Radius and standard deviation in pixels."""
BRIGHT = (1.4, 1.5, 1.6, 1.8, 2.0)
DARK = (0.55, 0.5, 0.45, 0.4, 0.3)
CONTRAST = (0.9, 0.8, 0.7, 0.6, 0.4)
ALEXNET = {
    "medmnistc-pixelate": 0.46127819548872184,
    "medmnistc-jpeg": 0.2986215538847118,
    "medmnistc-speckle": 0.38709273182957393,
    "medmnistc-motion": 0.25902255639097743,
    "medmnistc-bright": 0.3197994987468672,
    "medmnistc-dark": 0.21127819548872181,
    "medmnistc-contrast": 0.15864661654135334,
}
"""Balanced error of the publication's AlexNet on BreastMNIST, mean over five severities (medmnistc-api, baselines)."""
ALEXNET_CLEAN = 0.14536340852130336


def _truncated(levels: Floats) -> Image:
    """As the published code turns numbers into levels: cut off, then rounded down."""
    return np.clip(levels, 0, 255).astype(np.uint8)


def _pixelate(image: Image, severity: int, rng: np.random.Generator) -> Image:
    height, width = image.shape
    small = [max(1, int(length * PIXELATE[severity - 1])) for length in (width, height)]
    few = Pillow.fromarray(image).resize((small[0], small[1]), Pillow.Resampling.BOX)
    return np.array(few.resize((width, height), Pillow.Resampling.BOX))


def _jpeg(image: Image, severity: int, rng: np.random.Generator) -> Image:
    written = BytesIO()
    Pillow.fromarray(image).save(written, "JPEG", quality=JPEG[severity - 1])
    return np.array(Pillow.open(written))


def _speckle(image: Image, severity: int, rng: np.random.Generator) -> Image:
    return _truncated(image * (1 + rng.normal(scale=SPECKLE[severity - 1], size=image.shape)))


def _motion(image: Image, severity: int, rng: np.random.Generator) -> Image:
    scale = min(image.shape) / SIDE
    radius, sigma = (scale * length for length in MOTION[severity - 1])
    angle = np.deg2rad(rng.uniform(-45, 45))
    steps = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    rows, columns = (np.ceil(steps * f(angle) - 0.5).astype(int) for f in (np.sin, np.cos))
    reach = int(steps[-1]) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    np.add.at(kernel, (reach + rows, reach + columns), weights / weights.sum())
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _contrast(image: Image, severity: int, rng: np.random.Generator) -> Image:
    mean = int(image.mean() + 0.5)  # as Pillow takes it
    return _truncated(mean + (image - float(mean)) * CONTRAST[severity - 1])


def _add(name: str, title: str, parameters: object, apply: Callable[[Image, int, np.random.Generator], Image]) -> None:
    CORRUPTIONS.register(f"{GROUP}-{name}")(
        Corruption(
            title=f"{title} (MedMNIST-C)",
            imitates=f"The benchmark MedMNIST-C, parameters {parameters}",
            source="arXiv 2406.17536 and francescodisalvo05/medmnistc-api at 8acfd27",
            apply=apply,
            group=GROUP,
        )
    )


_add("pixelate", "Pixelation", PIXELATE, _pixelate)
_add("jpeg", "JPEG", JPEG, _jpeg)
_add("speckle", "Speckle noise", SPECKLE, _speckle)
_add("motion", "Motion blur", MOTION, _motion)
_add("bright", "Brighter", BRIGHT, lambda image, severity, rng: _truncated(image * BRIGHT[severity - 1]))
_add("dark", "Darker", DARK, lambda image, severity, rng: _truncated(image * DARK[severity - 1]))
_add("contrast", "Lower contrast", CONTRAST, _contrast)
