"""Masks as COCO's run lengths (RLE), plain or compressed, as `maskApi.c` of its tools defines them."""

from __future__ import annotations

from typing import Any

import numpy as np

from usfm_bench.data.sample import Mask


def decode_runs(runs: Any, shape: tuple[int, ...]) -> Mask:
    """(H, W) bool of `{"size": [H, W], "counts": ...}`: pixels down the columns, outside and inside by turns.

    Raises:
        ValueError: not of that form, of another size than `shape`, or of other pixels; in words that follow a name.
    """
    size = runs.get("size") if isinstance(runs, dict) else None
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) for n in size)):
        raise ValueError("has run lengths without a size of two numbers")
    if tuple(size) != tuple(shape):
        raise ValueError(f"has run lengths for {size[1]} x {size[0]} px; its picture is {shape[1]} x {shape[0]}")
    counts = runs.get("counts")
    lengths = _unpack(counts) if isinstance(counts, str) else counts
    if not (isinstance(lengths, list) and all(isinstance(n, int) and n >= 0 for n in lengths)):
        raise ValueError("has run lengths that are no numbers of pixels")
    if sum(lengths) != shape[0] * shape[1]:
        raise ValueError(f"has run lengths of {sum(lengths)} pixels in all; its picture has {shape[0] * shape[1]}")
    inside = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.ascontiguousarray(inside.reshape(shape[1], shape[0]).T)


def _unpack(text: str) -> list[int]:
    """Six bits a character from '0' on: five of the number, lowest first, and one that says that more follow.

    From the fourth on, a number is what it adds to the one two before it, so that it may be negative.
    """
    numbers: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"has run lengths with the character {character!r}, which means nothing in them")
        value |= (code & 31) << bits
        bits += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << bits
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = bits = 0
    if bits:
        raise ValueError("has run lengths that end within a number")
    return numbers
