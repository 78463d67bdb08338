"""Two-dimensional images in NIfTI and MetaImage (MHD) files."""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.readers.base import medical
from usfm_bench.data.readers.files import MAX_PIXELS
from usfm_bench.data.sample import Image, Spacing
from usfm_bench.errors import DataError

_TYPES = {
    "MET_UCHAR": "u1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


class Picture(NamedTuple):
    """A decoded file."""

    levels: Image
    """(H, W), rows from the top."""
    spacing: Spacing


def read_picture(path: Path, inside: Path) -> Picture:
    """A NIfTI file (`.nii`, `.nii.gz`) or a MetaImage header (`.mhd`) with its raw file, of whole levels 0 to 255.

    The first axis of the file runs along a row. Orientations in the headers are not applied, as SimpleITK does not.

    Raises:
        DataError: unreadable, truncated, not one picture, other levels, or data outside the folder `inside`.
        BenchError: nibabel is needed and not installed.
    """
    pixels, spacing = _read_mhd(path, inside) if path.suffix.lower() == ".mhd" else _read_nifti(path)
    levels = pixels.reshape(pixels.shape[:2]).T
    if levels.size and not (np.isfinite(levels).all() and (levels == np.clip(np.round(levels), 0, 255)).all()):
        raise DataError(f"{path}: levels from {levels.min()} to {levels.max()}; expected whole numbers from 0 to 255.")
    if not all(0 < step < math.inf for step in spacing):
        raise DataError(f"{path}: pixel spacing {tuple(spacing)} is not positive.")
    return Picture(np.ascontiguousarray(levels, dtype=np.uint8), spacing)


def _read_nifti(path: Path) -> tuple[NDArray[Any], Spacing]:
    nibabel = medical("nibabel")
    try:
        file = nibabel.load(path, mmap=False)
        _check_shape(path, file.shape)
        x, y = file.header.get_zooms()[:2]
        unit = file.header.get_xyzt_units()[0]
        pixels = np.asanyarray(file.dataobj)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise DataError(f"{path}: truncated, or not NIfTI ({type(error).__name__}). Copy it again.") from None
    scale = _MILLIMETRES[unit]
    return pixels, Spacing(float(y) * scale, float(x) * scale)


def _read_mhd(path: Path, inside: Path) -> tuple[NDArray[Any], Spacing]:
    header = _mhd_header(path)
    try:
        shape = tuple(map(int, header["DimSize"].split()))
        steps = header.get("ElementSpacing", header.get("ElementSize", "")).split()
        spacing = Spacing(float(steps[1]), float(steps[0]))
        kind = np.dtype(_TYPES[header["ElementType"]])
        data = path.parent / header["ElementDataFile"]
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: no MetaImage header that can be read here: {error} missing or unknown.") from None
    _check_shape(path, shape)
    if header.get("CompressedData", "False").lower() == "true":
        raise DataError(f"{path}: is compressed. Rewrite it without compression, or as NIfTI.")
    if not data.resolve().is_relative_to(inside.resolve()):
        raise DataError(f"{path}: ElementDataFile '{header['ElementDataFile']}' leaves the data set's folder.")
    size = math.prod(shape) * kind.itemsize
    if not data.is_file() or data.stat().st_size != size:
        state = f"has {data.stat().st_size} bytes" if data.is_file() else "does not exist"
        raise DataError(f"{data}: {state}; '{path.name}' promises {size} bytes.")
    big = "true" in (header.get("BinaryDataByteOrderMSB", "").lower(), header.get("ElementByteOrderMSB", "").lower())
    pixels = np.frombuffer(data.read_bytes(), kind.newbyteorder(">" if big else "<"))
    return pixels.reshape(shape, order="F"), spacing


def _mhd_header(path: Path) -> dict[str, str]:
    try:
        lines = path.read_bytes()[:65536].decode("latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    if len(shape) < 2 or min(shape) < 1 or math.prod(shape[2:]) != 1:
        raise DataError(f"{path}: has the shape {tuple(map(int, shape))}; expected one picture.")
    if math.prod(shape) > MAX_PIXELS:
        raise DataError(f"{path}: its header claims more than {MAX_PIXELS / 1e6:g} million pixels.")
