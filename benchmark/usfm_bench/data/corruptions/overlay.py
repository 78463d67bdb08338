"""Marks and words that somebody drew into the image."""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.data.corruptions.base import CORRUPTIONS, Corruption
from usfm_bench.data.sample import Image

PAIRS = (1, 2, 3, 4, 6)
"""Pairs of calipers, each with a line of text, by severity."""
WORDS = ("RT BREAST", "LT BREAST", "12.4 mm", "8.7 mm", "RAD 3:00", "ANTI-RAD", "DIST 1", "TRANS")


def draw_calipers(image: Image, severity: int, rng: np.random.Generator) -> Image:
    """Crosses joined by dots, anywhere, and words in a corner; white, without soft edges."""
    height, width = image.shape
    size = max(2, min(height, width) // 50)
    for k in range(PAIRS[severity - 1]):
        ends = (rng.uniform(0.1, 0.9, (2, 2)) * (width, height)).astype(int)
        for x, y in ends:
            cv2.line(image, (x - size, y), (x + size, y), 255)
            cv2.line(image, (x, y - size), (x, y + size), 255)
        for x, y in np.linspace(ends[0], ends[1], 2 + int(np.hypot(*(ends[1] - ends[0])) / (3 * size))).astype(int):
            image[y, x] = 255
        word = WORDS[int(rng.integers(len(WORDS)))]
        text = np.zeros_like(image)
        cv2.putText(text, word, (size, height - size * (1 + 5 * k)), cv2.FONT_HERSHEY_PLAIN, size / 6, 255)
        image[text >= 128] = 255
    return image


CORRUPTIONS.register("calipers")(
    Corruption(
        title="Calipers and text",
        imitates=f"Measurements left in the picture: {', '.join(map(str, PAIRS))} pairs of crosses with dots between "
        "them, and as many lines of text",
        source="This project's own; a third of BUSI's images have such marks",
        apply=draw_calipers,
    )
)
