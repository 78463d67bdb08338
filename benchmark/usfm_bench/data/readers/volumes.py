"""Two-dimensional images in NIfTI and MetaImage (MHD, MHA) files, alone or with their masks by file name patterns."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.data.readers.base import medical
from usfm_bench.data.readers.files import MAX_PIXELS, to_grey
from usfm_bench.data.sample import Image, Spacing

_TYPES = {
    "MET_UCHAR": "u1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_MAX_VOXELS = 1_000_000_000  # of a volume; a gigabyte of levels
_MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}


class Planes(NamedTuple):
    """A decoded file of one picture or of several."""

    levels: NDArray[np.uint8]
    """(H, W, N), rows from the top; N planes in the order of the file's further axes."""
    spacing: Spacing


class Picture(NamedTuple):
    """A decoded file."""

    levels: Image
    """(H, W), rows from the top."""
    spacing: Spacing


def read_picture(path: Path, inside: Path, planes: tuple[int, ...] = (1,)) -> Picture:
    """A NIfTI file (`.nii`, `.nii.gz`) or a MetaImage (`.mhd` with its raw file, `.mha`), of whole levels 0 to 255.

    The first axis of the file runs along a row. Orientations in the headers are not applied, as SimpleITK does not.
    Three planes, where `planes` allows them, are red, green and blue, and become grey.

    Raises:
        DataError: unreadable, truncated, not one picture, other levels, or data outside the folder `inside`.
        BenchError: nibabel is needed and not installed.
    """
    levels, spacing = read_planes(path, inside, planes)
    return Picture(levels[..., 0].copy() if levels.shape[2] == 1 else to_grey(levels[..., ::-1].copy()), spacing)


def read_planes(path: Path, inside: Path, planes: tuple[int, ...] | None = None) -> Planes:
    """As `read_picture`, of a file with any number of planes, or with one of the numbers `planes`."""
    meta = path.suffix.lower() in (".mhd", ".mha")
    pixels, spacing = _read_meta(path, inside, planes) if meta else _read_nifti(path, planes)
    if pixels.dtype.kind not in "biuf":
        raise DataError(f"{path}: its pixels are {pixels.dtype}; expected numbers.")
    levels = pixels.reshape(*pixels.shape[:2], -1).swapaxes(0, 1)
    if levels.size and not (np.isfinite(levels).all() and (levels == np.clip(np.round(levels), 0, 255)).all()):
        raise DataError(f"{path}: levels from {levels.min()} to {levels.max()}; expected whole numbers from 0 to 255.")
    if not all(0 < step < math.inf for step in spacing):
        raise DataError(f"{path}: pixel spacing {tuple(spacing)} is not positive.")
    return Planes(np.ascontiguousarray(levels, dtype=np.uint8), spacing)


def _read_nifti(path: Path, planes: tuple[int, ...] | None) -> tuple[NDArray[Any], Spacing]:
    nibabel = medical("nibabel")
    try:
        file = nibabel.load(path, mmap=False)
        _check_shape(path, file.shape, planes)
        x, y = file.header.get_zooms()[:2]
        unit = file.header.get_xyzt_units()[0]
        pixels = np.asanyarray(file.dataobj)
    except (OSError, EOFError, ValueError, KeyError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise DataError(f"{path}: truncated, or not NIfTI ({type(error).__name__}). Copy it again.") from None
    scale = _MILLIMETRES[unit]
    return pixels, Spacing(float(y) * scale, float(x) * scale)


def _read_meta(path: Path, inside: Path, planes: tuple[int, ...] | None) -> tuple[NDArray[Any], Spacing]:
    header, start = _meta_header(path)
    try:
        shape = tuple(map(int, header["DimSize"].split()))
        channels = int(header.get("ElementNumberOfChannels", "1"))
        steps = header.get("ElementSpacing", header.get("ElementSize", "")).split()
        spacing = Spacing(float(steps[1]), float(steps[0]))
        kind = np.dtype(_TYPES[header["ElementType"]])
        data = header["ElementDataFile"]
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(f"{path}: no MetaImage header that can be read here: {error} missing or unknown.") from None
    _check_shape(path, (*shape, channels), planes)
    compressed = header.get("CompressedData", "False").lower() == "true"
    size = math.prod(shape) * channels * kind.itemsize
    raw = _local(path, start, size, compressed) if data == "LOCAL" else _beside(path, data, inside, size, compressed)
    big = "true" in (header.get("BinaryDataByteOrderMSB", "").lower(), header.get("ElementByteOrderMSB", "").lower())
    pixels = np.frombuffer(raw, kind.newbyteorder(">" if big else "<")).reshape((channels, *shape), order="F")
    return np.moveaxis(pixels, 0, -1), spacing


def _local(path: Path, start: int, size: int, compressed: bool) -> bytes:
    """What follows the header in the same file."""
    raw = path.read_bytes()[start:]
    if compressed:
        try:
            raw = zlib.decompressobj().decompress(raw, size + 1)
        except zlib.error:
            raise DataError(f"{path}: its compressed pixels are damaged. Copy it again.") from None
    if len(raw) != size:
        raise DataError(f"{path}: has {len(raw)} bytes of pixels; its header promises {size} bytes.")
    return raw


def _beside(path: Path, name: str, inside: Path, size: int, compressed: bool) -> bytes:
    data = path.parent / name
    if compressed:
        raise DataError(f"{path}: is compressed. Rewrite it without compression, or as NIfTI.")
    if not data.resolve().is_relative_to(inside.resolve()):
        raise DataError(f"{path}: ElementDataFile '{name}' leaves the data set's folder.")
    if not data.is_file() or data.stat().st_size != size:
        state = f"has {data.stat().st_size} bytes" if data.is_file() else "does not exist"
        raise DataError(f"{data}: {state}; '{path.name}' promises {size} bytes.")
    return data.read_bytes()


def _meta_header(path: Path) -> tuple[dict[str, str], int]:
    """Keys and values, and where the bytes after the last of them begin; `ElementDataFile` is the last."""
    try:
        with path.open("rb") as stream:
            content = stream.read(65536)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    last = re.search(rb"(?m)^\s*ElementDataFile[^\n]*\n?", content)
    end = last.end() if last else len(content)
    pairs = (line.partition("=") for line in content[:end].decode("latin-1").splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}, end


def _check_shape(path: Path, shape: tuple[int, ...], planes: tuple[int, ...] | None) -> None:
    if len(shape) < 2 or min(shape) < 1 or (planes is not None and math.prod(shape[2:]) not in planes):
        raise DataError(f"{path}: has the shape {tuple(map(int, shape))}; expected one picture.")
    most = MAX_PIXELS if planes is not None else _MAX_VOXELS
    if math.prod(shape) > most:
        raise DataError(f"{path}: its header claims more than {most / 1e6:g} million pixels.")
