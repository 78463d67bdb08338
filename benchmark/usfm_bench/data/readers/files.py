"""Files of a data set: which there are, and how an image file becomes an array."""

from __future__ import annotations

import io
import os
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from usfm_bench.data.faults import Fault
from usfm_bench.data.sample import Image
from usfm_bench.errors import DataError

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
"""Endings of image files, in lower case."""
MAX_PIXELS = 64_000_000
"""More are refused before anything is allocated: no ultrasound frame comes near, and a tiny file can claim any."""


class Listing(NamedTuple):
    """What a folder holds."""

    files: list[Path]
    """Sorted; each begins with the folder as it was given."""
    faults: list[str]
    """Each a `Fault` of paths relative to the data set's folder, where it is about files in it."""


def list_files(folder: Path, root: Path | None = None, endings: Collection[str] | None = IMAGES) -> Listing:
    """Every file below a folder with one of these endings, in any case, but hidden ones, such as `._x.png` of macOS.

    Faults: links out of `root` (the folder itself by default), and names that other systems cannot tell apart or write.
    """
    inside, files, faults = Path(os.path.realpath(root or folder)), [], []
    if folder != root and root is not None and (fault := link_fault(folder, inside)):
        return Listing([], [fault])
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = [n for n in names if _wanted(n, endings)]
        for path in (Path(parent, name) for name in (*folders, *wanted)):
            if fault := _name_fault(path) or link_fault(path, inside):
                faults.append(Fault(fault, path.relative_to(root or folder).as_posix()))
            elif path.is_file():
                files.append(path)
    return Listing(sorted(files), faults + _same_but_for_case(files, folder, root or folder))


def _wanted(name: str, endings: Collection[str] | None) -> bool:
    return not name.startswith(".") and (endings is None or Path(name).suffix.lower() in endings)


def link_fault(path: Path, inside: Path) -> str | None:
    """What is wrong with a file that is a link: it leaves `inside` (a resolved folder), or leads nowhere."""
    if not path.is_symlink():
        return None
    if not Path(os.path.realpath(path)).is_relative_to(inside):
        return f"{path}: is a link that leaves the data set's folder. Put the file itself there."
    return None if path.exists() else f"{path}: is a link to nothing."


def _name_fault(path: Path) -> str | None:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return f"{str(path)!a}: the name is not UTF-8. Rename it."
    return None


def _same_but_for_case(files: list[Path], folder: Path, root: Path) -> list[str]:
    by_key: dict[str, list[str]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        by_key.setdefault(name_key(name), []).append(name)
    return [
        Fault(
            f"{folder}: {' and '.join(map(repr, sorted(names)))} differ only in case. Rename all but one.",
            *((folder / name).relative_to(root).as_posix() for name in names),
        )
        for names in by_key.values()
        if len(names) > 1
    ]


def name_key(name: str) -> str:
    """Equal for names that a file system of Windows or macOS takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def read_pixels(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """An image file as (H, W) levels or (H, W, 3 or 4) colours, blue first; palettes are applied.

    Raises:
        DataError: missing, truncated, not an image of 8 or 16 bits, or of more than `MAX_PIXELS`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    _check_size(path, content)
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    except cv2.error:  # such as a header that claims more pixels than OpenCV accepts
        pixels = None
    if pixels is None:
        raise DataError(f"{path}: truncated, or not an image. Copy it again from the source.")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: pixels are {pixels.dtype}; expected 8 or 16 bits.")
    decoded: NDArray[np.uint8] | NDArray[np.uint16] = pixels
    return decoded


def _check_size(path: Path, content: bytes) -> None:
    """By the header alone, which Pillow reads without decoding."""
    try:
        with Pillow.open(io.BytesIO(content)) as header:
            width, height = header.size
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise DataError(f"{path}: {_TOO_LARGE}") from None
    except Exception:  # Pillow's plugins raise whatever they meet; OpenCV is the judge of broken files
        return
    if width * height > MAX_PIXELS:
        raise DataError(f"{path}: {_TOO_LARGE}")


_TOO_LARGE = f"its header claims more than {MAX_PIXELS / 1e6:g} million pixels. Damaged or malicious; not decoded."


def to_grey(pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> Image:
    """(H, W) grey levels: the high byte of 16 bits, colour by luminance (ITU-R BT.601), transparency ignored."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3:
        code = cv2.COLOR_BGRA2GRAY if pixels.shape[2] == 4 else cv2.COLOR_BGR2GRAY
        pixels = cv2.cvtColor(pixels, code)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def read_grey(path: Path) -> Image:
    """An image file as (H, W) grey levels; see `read_pixels` and `to_grey`.

    Raises:
        DataError: missing, truncated, not an image of 8 or 16 bits, or too large.
    """
    return to_grey(read_pixels(path))
