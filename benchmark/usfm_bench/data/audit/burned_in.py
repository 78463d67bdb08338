"""Text, calipers and arrows that were drawn into an image: a hint, by one simple rule.

Strokes of letters and calipers are narrow from side to side, bright, and have sharp edges; tissue hardly ever is, since
the beam blurs it sideways. A pixel counts when it and its 5 neighbours above and below have at least 150 of 255 grey
levels and are at least 80 brighter than what is left of them by a grey opening over 7 pixels across. Images with 20
such pixels or more are flagged. Strokes of other sizes, dark text and small images escape the rule.
"""

from __future__ import annotations

import cv2
import numpy as np

from usfm_bench.data.sample import Image

MIN_PIXELS = 20
_LEVEL, _STEP, _WIDTH, _HEIGHT = 150, 80, 7, 6


def stroke_pixels(image: Image) -> int:
    """Number of pixels of an (H, W) image in the middle of a narrow, bright, upright stroke."""
    wide = cv2.morphologyEx(image, cv2.MORPH_OPEN, np.ones((1, _WIDTH), np.uint8))
    narrow = (cv2.subtract(image, wide) >= _STEP) & (image >= _LEVEL)
    upright = cv2.erode(narrow.astype(np.uint8), np.ones((_HEIGHT, 1), np.uint8), borderValue=0)
    return int(upright.sum())
