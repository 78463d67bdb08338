"""The network's grid of large data sets: made once, batch by batch, in a file that every process maps.

The file lies in the cache folder where the user names one, and is then shared by all workers and later runs; where not,
it has no name and ends with the process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.locks import locked
from usfm_bench.core.settings import content_hash
from usfm_bench.data.cache import code_hashes
from usfm_bench.data.cache_folder import cache_folder, make_room, mark_used
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.scratch import Touched, no_room, reserve, scratch_array

_AT_ONCE = 64  # cases that are decoded and resized before they are written
Made = Callable[[Dataset], NDArray[Any]]
"""(N, ...) rows of a grid, one a case."""


def whole_grid(dataset: Dataset, what: str, made: Made, code: object = None) -> tuple[NDArray[Any], Iterable[int]]:
    """Rows of the whole data set that this is a side of, and where the side's own are among them.

    Args:
        dataset: a side, or all of it.
        what: is made, and at what size.
        made: makes some rows.
        code: a class that decides what is made, beside ours.

    Raises:
        BenchError: there is no room for it.
    """
    whole, rows = _origin(dataset)
    memory, key = whole.drawn, f"grid {what}"
    if key not in memory:
        memory[key] = _kept(whole, what, made, code)
    return memory[key], rows


def _origin(dataset: Dataset) -> tuple[Dataset, Iterable[int]]:
    """The data set that another is a side of, as long as their samples are the same ones."""
    if dataset.part_of is not None:
        whole, rows = dataset.part_of
        if len(rows) == len(dataset) and all(whole.samples[i] is s for i, s in zip(rows, dataset.samples, strict=True)):
            return whole, rows
    return dataset, range(len(dataset))


def _kept(whole: Dataset, what: str, made: Made, code: object) -> NDArray[Any]:
    """From the cache, or made there; where there is none, or no room in it, made in a file without a name."""
    first = made(whole.subset([0]))
    shape = (len(whole), *first.shape[1:])
    folder = cache_folder()
    size = int(np.prod(shape)) * first.itemsize
    if folder is None:
        return _filled(scratch_array(shape, first.dtype), whole, made)
    ids = [sample.case.case_id for sample in whole.samples]
    path = folder / f"grid-{content_hash([whole.content_hash, ids, what, code_hashes(code)])}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(path.with_name(f".{path.name}.lock"), wait=True):  # of several workers, one makes it
            if not _usable(path, shape, first.dtype):
                if not make_room(path, size):
                    return _filled(scratch_array(shape, first.dtype), whole, made)
                _write(path, shape, first.dtype, lambda rows: _filled(rows, whole, made))
            mark_used(path)
            return _mapped(path)
    except (OSError, BenchError) as error:
        sys.stderr.write(f"note: no cache of the network's grid: {error} --cache names another folder.\n")
        return _filled(scratch_array(shape, first.dtype), whole, made)


def _filled(rows: NDArray[Any], whole: Dataset, made: Made) -> NDArray[Any]:
    touched = Touched(rows)
    for start in range(0, len(rows), _AT_ONCE):
        end = min(start + _AT_ONCE, len(rows))
        rows[start:end] = made(whole.subset(range(start, end)))
        touched.add(rows[start:end].nbytes)
    return rows


def _mapped(path: Path) -> NDArray[Any]:
    # Nothing is written; torch takes no array that says it may not be.
    return np.lib.format.open_memmap(path, mode="c")


def _usable(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    try:
        found = _mapped(path)
    except (OSError, ValueError):  # not there, or damaged
        return False
    return found.shape == shape and found.dtype == dtype


def _write(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], fill: Callable[[NDArray[Any]], Any]) -> None:
    """Write an .npy file that appears whole, readable by its owner alone."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    size = int(np.prod(shape)) * dtype.itemsize
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            np.lib.format.write_array_header_2_0(
                stream, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            )
            start = stream.tell()
            stream.flush()
            try:
                reserve(stream, start + size)
            except OSError as error:
                raise no_room(path.parent, size, error) from None
            rows = np.memmap(stream, dtype, "r+", offset=start, shape=shape)
            fill(rows)
            rows.flush()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
