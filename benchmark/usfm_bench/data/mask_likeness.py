"""Which image files are masks, by their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.data.readers.files import read_pixels, to_grey
from usfm_bench.data.readers.mask_values import without_alpha
from usfm_bench.data.readers.volumes import read_picture
from usfm_bench.data.sample import Mask, Sample

_FEW, _NEAR, _SHARE = 16, 16 / 255, 0.97
_SAMPLE = 6
_BORDER = 0.9  # a lesion in black may touch the edge of its image
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
        pixels: NDArray[Any] = (
            read_picture(path, path.parent, (1, 3)).levels
            if is_volume(path)
            else without_alpha(path, read_pixels(path))
        )
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


class Unlikely(NamedTuple):
    """Cases whose masks can hardly be lesions, by what is strange in them; and how many masks are not empty."""

    inverted: list[str]
    """The mask covers more than half of the image and nearly all of its border: the lesion may be black on white."""
    full: list[str]
    """The mask is the whole image."""
    masks: int

    @property
    def most(self) -> bool:
        """Whether it is so in at least half of the masks, so that the data set cannot be meant so."""
        return 2 * (len(self.inverted) + len(self.full)) >= self.masks > 0

    def say(self, most: int = 5) -> list[str]:
        """What was found, in words, with some of the cases."""
        kinds = (
            ("cover more than half of their image and nearly all of its border: is the lesion black on white? `values: "
             "{equals: [0]}` in the entry's options reads such masks", self.inverted),
            ("cover their whole image", self.full),
        )  # fmt: skip
        return [
            f"{len(names)} of {self.masks} masks {words} ({', '.join(names[:most])}{', ...' * (len(names) > most)})"
            for words, names in kinds
            if names
        ]


def unlikely_masks(samples: Sequence[Sample]) -> Unlikely:
    """Which masks of decoded cases can hardly be lesions."""
    found: dict[str, list[str]] = {"inverted": [], "full": []}
    masks = [(sample.case.case_id, sample.mask) for sample in samples if sample.mask is not None and sample.mask.any()]
    for case_id, mask in masks:
        if mask.all():
            found["full"].append(case_id)
        elif cannot_be_lesion(mask):
            found["inverted"].append(case_id)
    return Unlikely(**found, masks=len(masks))


def cannot_be_lesion(mask: Mask) -> bool:
    """Whether a mask covers more than half of its picture and nearly all of its edge, as an inverted mask does."""
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(mask.mean() > 0.5 and edge.mean() >= _BORDER)
