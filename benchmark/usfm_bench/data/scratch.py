"""Large arrays: in memory while they are small, and otherwise in a file that has no name and ends with the process.

The file lies in the cache folder where the user names one, and in the system's folder for temporary files (TMPDIR)
where not. Its pages are the system's to drop, so that memory does not grow with the number of images.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.data.cache_folder import FOLDER, GB, cache_folder

IN_MEMORY = 64 * 2**20
"""Bytes of one array, or of the decoded images of one data set, up to which no file is needed."""


def scratch_array(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """An array of zeros that may be written to.

    Raises:
        BenchError: it is large, and there is no room for its file.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.zeros(tuple(shape), dtype)
    folder = scratch_folder()
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            reserve(stream, size)
            return np.memmap(stream, dtype, "r+", shape=tuple(shape))
    except OSError as error:
        raise no_room(folder, size, error) from None


class Touched:
    """Counts what was read from or written to a scratch array, and gives its pages back to the system now and then.

    Pages of a mapped file count as the process's own memory from when they are touched, until they are given back;
    their content stays in the file.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        base: Any = array
        while isinstance(base, np.ndarray):
            base = base.base
        self._map = base if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None
        self._bytes = 0

    def add(self, n_bytes: int) -> None:
        """So many bytes were touched since the last call."""
        self._bytes += n_bytes
        if self._bytes > IN_MEMORY:
            self._bytes = 0
            if self._map is not None:
                self._map.madvise(mmap.MADV_DONTNEED)


def scratch_folder() -> Path:
    """Where large files without a name lie; the cache folder is made where it is not there."""
    folder = cache_folder()
    if folder is not None:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.access(folder, os.W_OK):
                return folder
    return Path(tempfile.gettempdir())


def reserve(stream: IO[bytes], size: int) -> None:
    """Make an empty file `size` bytes long; a disk without room is an error now, and not a crash when it is full."""
    if hasattr(os, "posix_fallocate"):  # macOS has none
        os.posix_fallocate(stream.fileno(), 0, size)
    else:
        stream.truncate(size)


def no_room(folder: Path, size: int, error: OSError) -> BenchError:
    """The error for a folder that cannot hold a large file."""
    return BenchError(
        f"{folder}: cannot hold {size / GB:.3g} GB of images or masks: {error.strerror or error}. --cache (or "
        f"{FOLDER}) names a folder on a larger disk; without one, TMPDIR does."
    )
