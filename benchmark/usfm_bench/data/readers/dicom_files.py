"""What is read of a DICOM file: pixels, their form, and where the ultrasound picture is. Names and dates are not read.

Every tag that is read is in `_TAGS`; decoding reads a few more that describe the pixels. PatientID becomes a digest at
once. That is a pseudonym: whoever has a list of the identifiers can find the one behind a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.data.patients import patient_key
from usfm_bench.data.readers.base import medical
from usfm_bench.data.readers.decode import MAX_PIXELS, Pixels, full_range, to_grey
from usfm_bench.data.readers.dicom_palette import TAGS, Palette, read_palette
from usfm_bench.data.sample import Image, Mask, Spacing

_TAGS = (
    "Rows", "Columns", "PhotometricInterpretation", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated", "BitsStored",
    "HighBit", "PixelRepresentation", "RescaleSlope", "ModalityLUTSequence", "SequenceOfUltrasoundRegions", "PatientID",
    *TAGS,
)  # fmt: skip
_GREY = ("MONOCHROME1", "MONOCHROME2")
_FORMS = (*_GREY, "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_DEFLATED = "1.2.840.10008.1.2.1.99"
_TWO_D, _CM = 1, 3
_MAX_FRAMES = 100_000


class Box(NamedTuple):
    """Pixels of an ultrasound region; the ends are not included."""

    top: int
    bottom: int
    left: int
    right: int


class Header(NamedTuple):
    """What is known of a file before its pixels are decoded."""

    shape: tuple[int, int]
    frames: int
    bits: int
    """Bits stored of each number."""
    lowest: int
    """Place of the lowest of them; those below it and above the highest may hold an overlay."""
    form: str
    palette: Palette | None
    boxes: tuple[Box, ...]
    """Two-dimensional ultrasound regions."""
    other_regions: bool
    """Whether it states regions, none of which is two-dimensional."""
    spacing: Spacing | None
    """Millimetres; None where regions state none, or different ones."""
    patient: str | None
    """12 hex digits of the sha256 of PatientID, as `patient_key` has it; None where it names nobody."""


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark, or its name's ending."""
    if path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() in (".dcm", ".dicom"):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read_header(path: Path) -> Header:
    """The header of a file.

    Raises:
        DataError: no DICOM file, or one without pixels of a form that is read here. No value of a tag is quoted.
    """
    pydicom = medical("pydicom")
    # Warnings on malformed values would quote them.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        syntax = pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID")
        if fault := _codec_fault(syntax):
            raise DataError(f"{path}: {fault}")
        tags = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        shape, frames = (int(tags.Rows), int(tags.Columns)), int(tags.get("NumberOfFrames") or 1)
        bits, form = int(tags.BitsStored), str(tags.PhotometricInterpretation)
        lowest = int(tags.get("HighBit", bits - 1)) + 1 - bits
        fault = _levels_fault(tags, bits, lowest, form)
        regions = [_region(item, shape) for item in tags.get("SequenceOfUltrasoundRegions") or ()]
        little = not syntax or syntax.is_little_endian
        palette = _palette(path, tags, little) if form == "PALETTE COLOR" and not fault else None
    except DataError:
        raise
    except Exception as error:  # pydicom raises whatever a damaged file provokes
        raise DataError(f"{path}: damaged, or not a DICOM image ({type(error).__name__}).") from None
    if fault:
        raise DataError(f"{path}: {fault}")
    if not 0 < shape[0] * shape[1] <= MAX_PIXELS or not 0 < frames <= _MAX_FRAMES:
        raise DataError(f"{path}: claims {frames} frames of {shape[1]} x {shape[0]} pixels. Damaged or malicious.")
    flat = [region for region in regions if region is not None]
    boxes = tuple(box for box, _ in flat)
    return Header(
        shape, frames, bits, lowest, form, palette, boxes, bool(regions and not boxes), _common(flat), _digest(tags)
    )


def _palette(path: Path, tags: Any, little_endian: bool) -> Palette:
    try:
        return read_palette(tags, little_endian=little_endian)
    except (AttributeError, TypeError, ValueError, IndexError):
        raise DataError(f"{path}: is of PALETTE COLOR, and its look-up table is missing or damaged.") from None


def _codec_fault(syntax: Any) -> str | None:
    """What is needed to decode a transfer syntax, where it is not here."""
    if syntax is None:
        return None
    if syntax == _DEFLATED:
        return "is deflated, and is not inflated here. Rewrite it uncompressed."
    try:
        decoder = medical("pydicom.pixels").get_decoder(syntax)
    except NotImplementedError:
        return f"is compressed as {syntax.name!a}, which is not decoded here. Rewrite it uncompressed."
    if decoder.is_available:
        return None
    package = "pip install pylibjpeg pylibjpeg-openjpeg" if "High-Throughput" in syntax.name else (
        "python-gdcm: pip install 'usfm-bench[medical]'"
    )  # fmt: skip
    return f"is compressed as {syntax.name!a}, which needs {package}."


def _levels_fault(tags: Any, bits: int, lowest: int, form: str) -> str | None:
    """Why the stored numbers are no levels from black to white."""
    signed, grey = int(tags.PixelRepresentation) != 0, form in _GREY
    least = 1 if form == "PALETTE COLOR" else 8
    if form not in _FORMS or not least <= bits <= 16 or not 0 <= lowest <= int(tags.BitsAllocated) - bits:
        place = f" from bit {lowest} on" if lowest else ""
        return f"{'signed ' * signed}{bits}-bit pixels{place} of the form {form!a} are not read."
    if signed and grey:  # colours are never below 0, whatever the tag says
        return f"signed {bits}-bit pixels of the form {form!a} are not read: which of them is black is not stated."
    if grey and "ModalityLUTSequence" in tags:
        return (
            "its levels stand for others in a table (ModalityLUTSequence), which is not applied. Rewrite them applied."
        )
    if grey and float(tags.get("RescaleSlope") or 1) <= 0:
        return "its levels run from white to black (RescaleSlope is not positive), which is not read."
    return None


def read_frame(path: Path, header: Header, index: int) -> Pixels:
    """A frame as (H, W) levels of 8 or more bits, or as (H, W, 3) colours of 8 bits, blue first.

    Windows for display and positive rescaling are not applied: the lowest number that could be stored is black and the
    highest white.

    Raises:
        DataError: the pixels are truncated or damaged.
    """
    pixels_of = medical("pydicom.pixels").pixel_array
    try:
        # With this many bits, pydicom leaves those in place that lie below the lowest.
        numbers = np.asarray(pixels_of(path, index=index, bits_stored=header.bits + header.lowest))
        if numbers.dtype.kind == "i" and header.palette is None:
            numbers = numbers.view(f"u{numbers.dtype.itemsize}")
        numbers = (numbers >> header.lowest) if header.lowest else numbers
        if header.palette is not None:
            return np.ascontiguousarray(header.palette.apply(numbers)[..., ::-1])
        if numbers.ndim == 3:
            return np.ascontiguousarray(numbers[..., ::-1] >> (header.bits - 8), dtype=np.uint8)
    except Exception as error:  # as above
        raise DataError(
            f"{path}: frame {index} cannot be decoded ({type(error).__name__}): truncated or damaged."
        ) from None
    return numbers.astype(np.uint8) if header.bits == 8 else numbers.astype(np.uint16)


def grey_frame(path: Path, header: Header, pixels: Pixels, bits: int | None = None) -> Image:
    """(H, W) grey levels of what `read_frame` gave; `bits`: how many of them hold levels, where the header says 16.

    Raises:
        DataError: a level is higher than so many bits hold.
    """
    if pixels.dtype == np.uint16:
        pixels = full_range(path, pixels.astype(np.uint16, copy=False), min(header.bits, bits or 16))
    grey = to_grey(pixels)
    return np.asarray(255 - grey if header.form == "MONOCHROME1" else grey, dtype=np.uint8)


def crop(pixels: Image | Mask, boxes: Sequence[Box]) -> Any:
    """The smallest part that holds all regions, 0 where none of them is; everything where there are none."""
    if not boxes:
        return pixels
    inside = np.zeros(pixels.shape[-2:], dtype=bool)
    for box in boxes:
        inside[box.top : box.bottom, box.left : box.right] = True
    return np.ascontiguousarray(np.where(inside, pixels, 0).astype(pixels.dtype)[(..., *_extent(boxes))])


def uncrop(pixels: NDArray[Any], header: Header) -> NDArray[Any]:
    """What `crop` cut out, put back in its place in a frame that is 0 elsewhere."""
    if not header.boxes:
        return pixels
    frame = np.zeros(header.shape, pixels.dtype)
    frame[_extent(header.boxes)] = pixels
    return frame


def _extent(boxes: Sequence[Box]) -> tuple[slice, slice]:
    """Rows and columns of the smallest part that holds all of them."""
    rows = slice(min(box.top for box in boxes), max(box.bottom for box in boxes))
    return rows, slice(min(box.left for box in boxes), max(box.right for box in boxes))


def _region(item: Any, shape: tuple[int, int]) -> tuple[Box, Spacing | None] | None:
    """Box and spacing of a two-dimensional region; its last row and column belong to it (PS3.3 C.8.5.5)."""
    if int(item.get("RegionSpatialFormat", 0)) != _TWO_D:
        return None
    top, left = max(0, int(item.RegionLocationMinY0)), max(0, int(item.RegionLocationMinX0))
    bottom, right = min(shape[0], int(item.RegionLocationMaxY1) + 1), min(shape[1], int(item.RegionLocationMaxX1) + 1)
    if top >= bottom or left >= right:
        raise ValueError("empty region")
    units = {int(item.get(f"PhysicalUnits{axis}Direction", 0)) for axis in "XY"}
    steps = [abs(float(item.get(f"PhysicalDelta{axis}") or 0)) * 10 for axis in "YX"]
    return Box(top, bottom, left, right), Spacing(*steps) if units == {_CM} and min(steps) > 0 else None


def _common(regions: Sequence[tuple[Box, Spacing | None]]) -> Spacing | None:
    """The spacing that all regions have, to within 1 %."""
    found = [spacing for _, spacing in regions if spacing is not None]
    if not found or len(found) < len(regions):
        return None
    return found[0] if all(np.allclose(spacing, found[0], rtol=0.01, atol=0) for spacing in found) else None


def _digest(tags: Any) -> str | None:
    ident = patient_key(str(tags.get("PatientID") or ""))
    return hashlib.sha256(ident.encode()).hexdigest()[:12] if ident else None
