"""Fewer lines, fewer pixels, lossy files."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.core.errors import BenchError
from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.sample import Image

LINES = (2, 3, 4, 6, 8)
"""Pixels across that one scan line stands for, by severity."""
BLOCKS = (0.5, 0.35, 0.25, 0.15, 0.1)
"""Share of the pixels a side that is left, by severity."""
QUALITIES = (50, 30, 15, 10, 7)
"""JPEG quality, by severity."""


def fewer_lines(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Each row as few means across, with straight lines between them; nothing changes down the rows."""
    height, width = image.shape
    lines = max(1, round(width / LINES[severity - 1]))
    few = cv2.resize(image, (lines, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def pixelate(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Means over blocks."""
    (height, width), share = image.shape, BLOCKS[severity - 1]
    small = max(1, int(width * share)), max(1, int(height * share))
    few = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(few, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def as_jpeg(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Written and read as JPEG, by OpenCV."""
    good, written = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITIES[severity - 1]])
    if not good:
        raise BenchError(f"OpenCV cannot write an image of {image.shape[0]} x {image.shape[1]} px as JPEG.")
    return np.asarray(cv2.imdecode(written, cv2.IMREAD_GRAYSCALE), np.uint8)


CORRUPTIONS.register("few-lines")(
    Corruption(
        title="Low lateral resolution",
        imitates="A probe of fewer elements or a fast frame rate: one scan line for "
        f"{', '.join(map(str, LINES))} px across",
        source="This project's own",
        apply=fewer_lines,
    )
)
CORRUPTIONS.register("pixelation")(
    Corruption(
        title="Pixelation",
        imitates=f"A picture of a picture, or a small export: {', '.join(f'{100 * b:g}' for b in BLOCKS)} % of the "
        "pixels a side",
        source="As ImageNet-C's (Hendrycks and Dietterich 2019), with other severities",
        apply=pixelate,
    )
)
CORRUPTIONS.register("jpeg")(
    Corruption(
        title="JPEG",
        imitates=f"A lossy export: JPEG of quality {', '.join(map(str, QUALITIES))}",
        source="Severities of MedMNIST-C (arXiv 2406.17536)",
        apply=as_jpeg,
    )
)
