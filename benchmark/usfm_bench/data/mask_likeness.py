"""Which image files are masks, by their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.readers.files import read_pixels, to_grey
from usfm_bench.data.readers.volumes import read_picture
from usfm_bench.errors import BenchError

_FEW, _NEAR, _SHARE = 16, 16 / 255, 0.97
_SAMPLE = 6
VOLUMES = (".mha", ".mhd", ".nii", ".nii.gz")
"""Endings of MetaImage and NIfTI files."""


def is_volume(path: Path) -> bool:
    """Whether a file is one of MetaImage or NIfTI, by its ending."""
    return path.name.lower().endswith(VOLUMES)


class Levels(NamedTuple):
    """Grey levels of a file, in 0 to 1."""

    distinct: frozenset[float]
    black_or_white: bool
    """Nearly all pixels are black or white, and some are white: a mask that was stored lossily or smoothed."""

    @property
    def few(self) -> bool:
        """So few levels that it is no picture."""
        return len(self.distinct) <= _FEW or self.black_or_white


def read_levels(path: Path) -> Levels | None:
    """None where the file cannot be read."""
    try:
        state = path.stat()
    except OSError:
        return None
    return _levels(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _levels(path: Path, *_state: int) -> Levels | None:
    try:
        pixels: NDArray[Any] = read_picture(path, path.parent, (1, 3)).levels if is_volume(path) else read_pixels(path)
    except BenchError:  # damaged, or of a format that another package reads
        return None
    grey = pixels if pixels.ndim == 2 else to_grey(pixels)
    shares = grey / np.iinfo(grey.dtype).max
    extreme = float(np.mean((shares < _NEAR) | (shares > 1 - _NEAR)))
    return Levels(frozenset(np.unique(shares).tolist()), extreme >= _SHARE and bool(shares.max() > 1 - _NEAR))


def is_mask(path: Path) -> bool:
    """Whether a readable file has few grey levels, without smooth tones."""
    levels = read_levels(path)
    return levels is not None and levels.few


def spread(items: Sequence[Any], most: int = _SAMPLE) -> list[Any]:
    """At most so many items, evenly spread from the first to the last."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))]


def are_masks(paths: Sequence[Path]) -> bool:
    """Whether most of a sample have few grey levels, without smooth tones."""
    return mask_share(paths) > 0.5


def mask_share(paths: Sequence[Path], most: int = _SAMPLE) -> float:
    """Share of masks in a sample of the readable files; 0 where none is readable."""
    found = [levels for path in spread(paths, most) if (levels := read_levels(path)) is not None]
    return sum(levels.few for levels in found) / len(found) if found else 0.0


def guess_values(paths: Sequence[Path]) -> dict[str, str]:
    """Reader option `values`: none where masks are black and white, else all levels but 0 are the lesion."""
    found = [levels for path in spread(paths, 40) if (levels := read_levels(path)) is not None]
    grey = any(not levels.black_or_white and len(levels.distinct) > 1 for levels in found)
    return {"values": "nonzero"} if grey and all(len(levels.distinct) <= _FEW for levels in found) else {}
