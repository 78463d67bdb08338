"""How an image file becomes an array: one picture, upright, with levels that begin at black.

OpenCV decodes all but three forms, which Pillow does: OpenCV reads a GIF since 4.11 only, no stated range of a PNM, and
darkens the colours of a TIFF file by its transparency.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from usfm_bench.core.errors import DataError
from usfm_bench.data.sample import Image

# OpenCV's words for damaged files would stand beside ours; version 5 has moved the switch.
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)
MAX_PIXELS = 64_000_000
"""More are refused before anything is allocated: no ultrasound frame comes near, and a tiny file can claim any."""
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_ORIENTATION, _PHOTOMETRIC, _SUBFILE = 274, 262, 254  # tags of EXIF and TIFF
_WHITE_IS_ZERO, _REDUCED = 0, 1
_MOST_PAGES = 64
_IN_PNG = (b"eXIf", b"Raw profile type", b"tiff:Orientation")  # one of these is in a PNG that states an orientation
_BY_PILLOW = ("GIF", "PPM")  # Pillow calls PGM, PBM and PNM so too
_TOO_LARGE = f"its header claims more than {MAX_PIXELS / 1e6:g} million pixels. Damaged or malicious; not decoded."
_BROKEN = "truncated, or not an image. Copy it again from the source."


class _Header(NamedTuple):
    """What Pillow says of a file without decoding it."""

    form: str = ""
    orientation: int = 1
    """As EXIF counts, 1 to 8."""
    white_is_zero: bool = False
    by_pillow: bool = False


def read_pixels(path: Path, bits: int | None = None) -> Pixels:
    """An image file as (H, W) levels or (H, W, 3 or 4) colours, blue first; palettes and orientation are applied.

    Args:
        path: the file.
        bits: how many bits of a 16-bit file hold levels (12 of many devices); they are brought to the range of 16.

    Raises:
        DataError: missing, truncated, of several pages, not of 8 or 16 bits, deeper than `bits`, or too large.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    header = _read_header(path, content)
    pixels = _by_pillow(content) if header.by_pillow else _by_opencv(content)
    if pixels is None:
        raise DataError(f"{path}: {_BROKEN}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: pixels are {pixels.dtype}; expected 8 or 16 bits.")
    if header.form == "BMP" and pixels.ndim == 3 and pixels.shape[2] == 4 and not pixels[..., 3].any():
        pixels = pixels[..., :3]  # the fourth byte is filling, not transparency
    if pixels.dtype == np.uint16:
        pixels = full_range(path, pixels, bits)
        if header.white_is_zero:  # OpenCV inverts 1 and 8 bits, but not 16
            pixels = 65535 - pixels
    # Both decoders turn TIFF files by themselves, and OpenCV no others with this flag.
    return np.ascontiguousarray(pixels if header.form == "TIFF" else _upright(pixels, header.orientation))


def to_grey(pixels: Pixels) -> Image:
    """(H, W) grey levels: the high byte of 16 bits, colour by luminance (ITU-R BT.601), darkened where transparent."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 3:
        opacity = pixels[..., 3] if pixels.shape[2] == 4 else None
        pixels = cv2.cvtColor(pixels[..., :3], cv2.COLOR_BGR2GRAY)
        if opacity is not None and opacity.min() < opacity.max():
            pixels = cv2.multiply(pixels, opacity, scale=1 / 255)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def read_grey(path: Path, bits: int | None = None) -> Image:
    """An image file as (H, W) grey levels; see `read_pixels` and `to_grey`.

    Raises:
        DataError: as `read_pixels`, and a picture that is in its transparency alone.
    """
    return picture(path, read_pixels(path, bits))


def picture(path: Path, pixels: Pixels) -> Image:
    """Decoded pixels of an image as (H, W) grey levels; the path is for messages.

    Raises:
        DataError: the picture is in its transparency alone.
    """
    if hidden_in_alpha(pixels):
        raise DataError(
            f"{path}: its colours are all the same; the picture is its transparency. Save it as grey levels."
        )
    return to_grey(pixels)


def hidden_in_alpha(pixels: Pixels) -> bool:
    """Whether there is transparency that varies, over one single colour."""
    if pixels.ndim == 2 or pixels.shape[2] < 4 or pixels[..., 3].min() == pixels[..., 3].max():
        return False
    return bool((pixels[..., :3] == pixels[0, 0, :3]).all())


def states_orientation(path: Path) -> bool:
    """Whether a file says that its picture is to be turned or mirrored."""
    try:
        return _read_header(path, path.read_bytes()).orientation > 1
    except (OSError, DataError):
        return False


def _read_header(path: Path, content: bytes) -> _Header:
    try:
        with Pillow.open(io.BytesIO(content)) as opened:
            form, (width, height) = opened.format or "", opened.size
            if width * height > MAX_PIXELS:
                raise DataError(f"{path}: {_TOO_LARGE}")
            white_is_zero = form == "TIFF" and opened.getexif().get(_PHOTOMETRIC) == _WHITE_IS_ZERO
            # Of a PNG, Pillow decodes all pixels to find what is written behind them.
            asks = form != "PNG" or any(mark in content for mark in _IN_PNG)
            orientation = opened.getexif().get(_ORIENTATION, 1) if asks else 1
            # The further pictures of an MPO (a photograph's preview, its depth) are none of a JPEG decoder's business.
            by_pillow = form in _BY_PILLOW or (form == "TIFF" and opened.mode in ("LA", "RGBA"))
            pages = 1 if form == "MPO" else _count_pages(opened)
    except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning):
        raise DataError(f"{path}: {_TOO_LARGE}") from None
    except DataError:
        raise
    except Exception:  # Pillow's plugins raise whatever they meet; OpenCV is the judge of broken files
        return _Header()
    if pages > 1:
        raise DataError(
            f"{path}: holds {pages} pages or frames; one picture a file is read. Save each to its own file."
        )
    return _Header(form, orientation if orientation in range(1, 9) else 1, white_is_zero, by_pillow)


def _count_pages(opened: Any) -> int:
    """Pages or frames, but smaller copies of the first, such as previews."""
    pages = int(getattr(opened, "n_frames", 1))
    if opened.format != "TIFF" or not 1 < pages <= _MOST_PAGES:
        return pages
    own = 1
    for page in range(1, pages):
        opened.seek(page)
        own += not opened.tag_v2.get(_SUBFILE, 0) & _REDUCED
    return own


def _by_opencv(content: bytes) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    except cv2.error:  # such as a header that claims more pixels than OpenCV accepts
        return None


def _by_pillow(content: bytes) -> NDArray[Any] | None:
    """Levels, or colours with blue first; a PNM's stated range becomes that of 8 or 16 bits."""
    try:
        with Pillow.open(io.BytesIO(content)) as opened:
            if opened.mode in ("P", "LA", "RGB", "RGBA"):
                alpha = opened.mode in ("LA", "RGBA") or "transparency" in opened.info
                rgb = np.asarray(opened.convert("RGBA" if alpha else "RGB"))
                return rgb[..., [2, 1, 0, 3][: rgb.shape[2]]]
            levels = np.asarray(opened)
    except Exception:  # as above
        return None
    if levels.dtype == np.int32:
        return levels.astype(np.uint16)
    return levels.astype(np.uint8) * 255 if levels.dtype == np.bool_ else levels


def full_range(path: Path, pixels: NDArray[np.uint16], bits: int | None) -> NDArray[np.uint16]:
    """Levels of so many bits in the range of 16; as they are where it is not said.

    Raises:
        DataError: a higher level.
    """
    if bits is None:
        return pixels
    if (most := int(pixels.max(initial=0))) >> bits:
        raise DataError(
            f"{path}: has the level {most}, which is more than {bits} bits hold (`bits` in the entry's options)."
        )
    return pixels << np.uint16(16 - bits)


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The picture as EXIF's orientation says that it is to be looked at."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels
