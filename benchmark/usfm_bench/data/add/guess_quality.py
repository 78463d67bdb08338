"""Pairs of one view in low and in high quality, found by two folders whose names say so and whose files agree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from usfm_bench.data.add.folder_names import folder_roles
from usfm_bench.data.mask_likeness import are_masks

_LOW = {"low", "lq", "lr", "lowquality", "lowres", "input", "inputs", "noisy", "degraded", "source", "bad", "cheap"}
_HIGH = {"high", "hq", "hr", "highquality", "highres", "target", "targets", "clean", "good", "reference"}
_DEEPEST = 3


class QualityPair(NamedTuple):
    """Two patterns, of the layout `pairs`, and the files that they name."""

    low: str
    high: str
    low_names: tuple[str, ...]
    high_names: tuple[str, ...]


def quality_pairs(files: Mapping[str, Path]) -> Iterator[QualityPair]:
    """Readings of pictures by their path: two folders that say low and high, with mostly the same names."""
    for depth in range(_DEEPEST):
        folders: dict[str, dict[str, str]] = {}
        for name in files:
            parts = PurePosixPath(name).parts
            if len(parts) > depth + 1:
                rest = "/".join([*parts[:depth], *parts[depth + 1 : -1], PurePosixPath(name).stem])
                folders.setdefault(parts[depth], {})[rest] = name
        for low in (folder for folder in folders if _says(folder, _LOW)):
            for high in (folder for folder in folders if _says(folder, _HIGH)):
                shared = folders[low].keys() & folders[high].keys()
                few = min(len(folders[low]), len(folders[high]))
                if low != high and shared and 2 * len(shared) > few and not _has_masks(files, folders[high]):
                    yield _pair(depth, (low, [*folders[low].values()]), (high, [*folders[high].values()]))


def _says(folder: str, words: set[str]) -> bool:
    """`low`, `Low_Quality`, `lq-images`; not `lower`."""
    found = re.findall(r"[^\W\d_]+", folder.lower())
    return bool({*found, "".join(found)} & words)


def _has_masks(files: Mapping[str, Path], names: Mapping[str, str]) -> bool:
    return are_masks([files[name] for name in names.values()])


def _pair(depth: int, low: tuple[str, list[str]], high: tuple[str, list[str]]) -> QualityPair:
    parents = [PurePosixPath(name).parts[:-1] for name in low[1]]
    roles = folder_roles([(*parts[:depth], *parts[depth + 1 :]) for parts in parents])

    def pattern(folder: str, names: list[str]) -> str:
        endings = {PurePosixPath(name).suffix for name in names}
        ending = endings.pop() if len(endings) == 1 else ".*"
        return "/".join([*roles[:depth], folder, *roles[depth:], "{id}" + ending])

    return QualityPair(pattern(*low), pattern(*high), tuple(low[1]), tuple(high[1]))
