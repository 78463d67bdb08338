"""Look-up tables of DICOM's PALETTE COLOR (PS3.3 C.7.6.3.1.5 and .6), written out or in segments (C.7.9.2).

pydicom's `apply_color_lut` reads written-out tables of big-endian files in the wrong order, and cuts the numbers of
tables of more than 256 entries of 8 bits, so that tables are read here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

COLOURS = ("Red", "Green", "Blue")
TAGS = tuple(
    name
    for colour in COLOURS
    for name in (
        f"{colour}PaletteColorLookupTableDescriptor",
        f"{colour}PaletteColorLookupTableData",
        f"Segmented{colour}PaletteColorLookupTableData",
    )
)


Levels = NDArray[np.int64]


class Palette(NamedTuple):
    """What colour a stored number stands for."""

    first: int
    """The number that the first entry stands for; lower ones have its colour, and those past the end the last's."""
    colours: NDArray[np.uint8]
    """(N, 3) red, green, blue."""

    def apply(self, numbers: NDArray[Any]) -> NDArray[np.uint8]:
        """(H, W) whole numbers -> (H, W, 3) red, green, blue."""
        return self.colours[np.clip(numbers.astype(np.int64) - self.first, 0, len(self.colours) - 1)]


def read_palette(tags: Any, *, little_endian: bool) -> Palette:
    """The palette of a file.

    Raises:
        ValueError, AttributeError or TypeError: there is none, or a damaged one.
    """
    first = int(tags.RedPaletteColorLookupTableDescriptor[1])
    colours = np.stack([_plane(tags, colour, "<" if little_endian else ">") for colour in COLOURS], axis=1)
    # Some writers state 16 bits and give numbers of 8.
    return Palette(first, (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8))


def _plane(tags: Any, colour: str, order: str) -> Levels:
    count, _, depth = (int(value) for value in getattr(tags, f"{colour}PaletteColorLookupTableDescriptor"))
    count = (count & 0xFFFF) or 2**16
    whole = tags.get(f"{colour}PaletteColorLookupTableData")
    if whole is not None:
        entries = _numbers(whole, count, order)
    else:
        packed = getattr(tags, f"Segmented{colour}PaletteColorLookupTableData")
        entries = expand_segments(_numbers(packed, 8 * len(packed) // depth, order), wide=depth == 16)
    if not 0 < count <= len(entries):
        raise ValueError("the look-up table is shorter than stated")
    return entries[:count]


def _numbers(content: bytes, count: int, order: str) -> Levels:
    """So many entries of 16 bits where there are bytes enough, else of 8, which a big-endian file swaps in pairs."""
    if len(content) >= 2 * count:
        return np.frombuffer(content[: 2 * count], f"{order}u2").astype(np.int64)
    even = content + bytes(len(content) % 2)
    return np.frombuffer(even, f"{order}u2").astype("<u2").view(np.uint8)[:count].astype(np.int64)


def expand_segments(words: Levels, *, wide: bool) -> Levels:
    """The entries of segments: `0 length values...`, `1 length end`, `2 count offset` (in bytes, low part first).

    Args:
        words: the numbers of the segments; a last one alone is padding.
        wide: whether they have 16 bits, and not 8, so that an offset takes two of them, and not four.

    Raises:
        ValueError: an unknown segment, more than 65536 entries, or an end within a segment.
    """
    entries: list[int] = []
    _expand(words.tolist(), 0, None, entries, wide)
    return np.array(entries, dtype=np.int64)


def _expand(words: list[int], at: int, segments: int | None, entries: list[int], wide: bool) -> None:
    """Append the entries of so many segments from a place on, or of all; repeated ones may not repeat others."""
    repeated = segments is not None
    while at + 1 < len(words) and segments != 0:
        kind, length = words[at : at + 2]
        rest, size = words[at + 2 :], (length, 1, 2 if wide else 4)[kind] if kind < 3 else 0
        if kind > 2 or len(rest) < size or (kind and not entries) or (kind == 2 and repeated):
            raise ValueError("no segment of a look-up table")
        if kind == 0:
            entries += rest[:length]
        elif kind == 1:
            entries += np.rint(np.linspace(entries[-1], rest[0], length + 1)[1:]).astype(int).tolist()
        else:
            unit = 16 if wide else 8
            offset = sum(word << unit * i for i, word in enumerate(rest[:size]))
            _expand(words, offset // 2 if wide else offset, length, entries, wide)
        if len(entries) > 2**16:
            raise ValueError("too many entries")
        at, segments = at + 2 + size, None if segments is None else segments - 1
    if segments:
        raise ValueError("too few segments")
