"""Masks as SVG paths, images as data URIs: what a case is drawn from."""

from __future__ import annotations

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.resize import shrink
from usfm_bench.data.sample import Image, Mask

SCALE = 2
"""Units of a path in a pixel, so that contours run along pixels' borders and not through their centres."""
_TOLERANCE = 1.0  # units: half a pixel
_SIDE = 512  # longest side of an image on a page, in pixels
_QUALITY = 82


def path_of(mask: Mask) -> str:
    """The `d` of a path around a mask (H, W), holes included, in units of half a pixel; empty for an empty mask.

    The path is at most half a pixel from the mask's border; the even-odd rule fills it.
    """
    bits = mask.view(np.uint8)
    x, y, width, height = cv2.boundingRect(bits)
    if not width:
        return ""
    part = bits[y : y + height, x : x + width].repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    found, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(SCALE * x, SCALE * y))
    return "".join(_closed(cv2.approxPolyDP(line, _TOLERANCE, closed=True)[:, 0]) for line in found)


def _closed(points: NDArray[np.int32]) -> str:
    """(P, 2) points -> one closed subpath with relative steps, which are the shortest to write."""
    steps = np.diff(points, axis=0).ravel().tolist()
    x, y = points[0].tolist()
    return f"M{x} {y}" + ("l" + " ".join(map(str, steps)) if steps else "h1") + "z"


def jpeg_of(image: Image) -> str:
    """An image (H, W) as the data URI of a JPEG, no side longer than 512 pixels."""
    _, content = cv2.imencode(".jpg", shrink(image, _SIDE), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
