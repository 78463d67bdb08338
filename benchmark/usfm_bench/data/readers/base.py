"""What every reader offers, and how image and mask files become arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from usfm_bench.data.sample import Case, Image, Mask, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import DataError
from usfm_bench.registry import Registry


class Reader(Protocol):
    """Lists the cases of one on-disk layout and decodes them, one at a time."""

    @property
    def faults(self) -> Sequence[str]:
        """What `cases` found wrong; reported together with the faults of the files."""

    def cases(self) -> list[Case]:
        """Every case found, in a stable order, without decoding pixels; what is wrong with them goes to `faults`.

        Raises:
            DataError: the folder is missing or not of this layout.
        """

    def load(self, case: Case) -> Sample:
        """The case decoded at native size.

        Raises:
            DataError: an unreadable file or a mask of another size than the image; names the file.
        """


READERS: Registry[Callable[[DatasetSpec, Path], Reader]] = Registry("layout")
"""Layout name -> reader of (spec, folder or file)."""


def read_grey(path: Path) -> Image:
    """An image file as (H, W) grey levels: colour by luminance (ITU-R BT.601), transparency ignored.

    Raises:
        DataError: missing, truncated or not an image of 8 or 16 bits.
    """
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED) if encoded.size else None
    except cv2.error:  # such as a header that claims more pixels than OpenCV accepts
        pixels = None
    if pixels is None:
        raise DataError(f"{path}: truncated, or not an image. Copy it again from the source.")
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: pixels are {pixels.dtype}; expected 8 or 16 bits.")
    if pixels.ndim == 3:
        to_grey = cv2.COLOR_BGRA2GRAY if pixels.shape[2] == 4 else cv2.COLOR_BGR2GRAY
        pixels = cv2.cvtColor(pixels, to_grey)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def read_mask(paths: tuple[Path, ...], shape: tuple[int, ...]) -> Mask:
    """The union of mask files as (H, W) bool: a pixel belongs to the lesion where its luminance is at least 128.

    Raises:
        DataError: an unreadable file, or one whose size is not `shape`.
    """
    united = np.zeros(shape, dtype=bool)
    for path in paths:
        grey = read_grey(path)
        if grey.shape != shape:
            raise DataError(f"{path}: mask is {grey.shape[1]} x {grey.shape[0]} px, its image {shape[1]} x {shape[0]}.")
        united |= grey >= 128
    return united
