"""The folder of decoded images: only where the user names one, never larger than its limit, and simple to clear."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from usfm_bench.core.errors import BenchError

FOLDER, LIMIT = "USFM_BENCH_CACHE", "USFM_BENCH_CACHE_LIMIT"
"""Variables of the environment: the folder, and how many GB it may hold."""
DEFAULT_LIMIT_GB = 20.0
GB = 10**9
_OURS = re.compile(
    r"[A-Za-z0-9._-]+-v\d+-[0-9a-f]{12}\.arrow|features-[0-9a-f]{64}\.safetensors|grid-[0-9a-f]{64}\.npy"
)
_UNFINISHED = re.compile(rf"\.({_OURS.pattern})\..+")
_ABANDONED_S = 3600  # a file that has not been written to for so long is no longer being written
_in_use: set[Path] = set()


@dataclass(frozen=True)
class CachedFile:
    """Decoded images of one data set, its images or masks on a network's grid, or features of images to one encoder."""

    path: Path
    size: int
    """In bytes."""
    used: float
    """When it was written or read last, in seconds since 1970."""


def cache_folder() -> Path | None:
    """The folder that USFM_BENCH_CACHE names; None, and so no cache, without one or where it says `none`."""
    given = os.environ.get(FOLDER, "")
    return None if given in ("", "none") else Path(given).expanduser()


def cache_limit() -> int:
    """Bytes that the folder may hold.

    Raises:
        BenchError: USFM_BENCH_CACHE_LIMIT is not a number of GB.
    """
    given = os.environ.get(LIMIT) or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(given)
    except ValueError:
        limit = -1.0
    if not 0 <= limit < float("inf"):
        raise BenchError(f"{LIMIT} is '{given}'; expected a number of GB, such as 20.")
    return int(limit * GB)


def cached_files(folder: Path) -> list[CachedFile]:
    """Data sets and features in the folder, the one that was used last in front; files of others are not looked at."""
    return sorted(_files(folder, _OURS), key=lambda file: (-file.used, file.path))


def mark_used(path: Path) -> None:
    """Note that this process uses a file, which is then not removed to make room."""
    _in_use.add(path)
    try:
        os.utime(path)
    except OSError:  # a folder that may only be read
        return


def make_room(path: Path, size: int) -> bool:
    """Remove what was used longest ago until a new file of `size` bytes fits; False where it cannot.

    What this process uses stays. A removed file that another process has open lasts until that process ends.
    """
    _remove_abandoned(path.parent)
    others = [file for file in cached_files(path.parent) if file.path != path]
    left = cache_limit() - size - sum(file.size for file in others)
    removable = [file for file in others if file.path not in _in_use]
    if left + sum(file.size for file in removable) < 0:
        return False
    while left < 0:
        oldest = removable.pop()
        oldest.path.unlink(missing_ok=True)
        left += oldest.size
    return True


def clear(folder: Path) -> list[CachedFile]:
    """Remove all data sets and features of the folder, and nothing else; returns what was removed."""
    files = cached_files(folder)
    for file in files:
        file.path.unlink(missing_ok=True)
    _remove_abandoned(folder)
    return files


def _remove_abandoned(folder: Path) -> None:
    """Parts of files whose writing was cut off."""
    for file in _files(folder, _UNFINISHED):
        if time.time() - file.used > _ABANDONED_S:
            file.path.unlink(missing_ok=True)


def _files(folder: Path, pattern: re.Pattern[str]) -> Iterator[CachedFile]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise BenchError(f"{folder}: cannot be read: {error.strerror or error}.") from error
    for entry in entries:
        if pattern.fullmatch(entry.name):
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # another process has removed it
                continue
            yield CachedFile(Path(entry.path), found.st_size, found.st_mtime)
