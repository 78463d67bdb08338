"""`predictions.npz`: what a model said, small enough to keep, so that any metric can be computed again."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic
from usfm_bench.data.sample import Spacing
from usfm_bench.data.scratch import Touched, scratch_array
from usfm_bench.specs.task import TASKS, Predictions

_CHUNK = 2**20


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write `predictions.npz` atomically."""
    arrays = predictions.arrays()
    write_atomic(path, lambda stream: _write(stream, arrays))


def _write(stream: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the bytes of `np.savez_compressed`; of a large array, few pages are in memory at once."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array(_Counted(out, Touched(array)), array, allow_pickle=False)


class _Counted:
    """A file that tells how much of an array was written to it."""

    def __init__(self, out: IO[bytes], touched: Touched) -> None:
        self._out, self._touched = out, touched

    def write(self, content: bytes) -> int:
        """Write, and count."""
        self._touched.add(len(content))
        return self._out.write(content)


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Raises:
        BenchError: missing or damaged file, or of a task that is not installed.
    """
    try:
        with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
            arrays = _Arrays(archive)
            found = (task.read_predictions(arrays) for task in TASKS.values())
            kept = next((predictions for predictions in found if predictions is not None), None)
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise _damaged(path, error) from None
    if kept is None:
        raise BenchError(f"{path}: is of no task that is installed ({', '.join(TASKS)}).")
    return kept


class _Arrays(Mapping[str, NDArray[Any]]):
    """What an `.npz` file holds; what is large is unpacked into a file without a name, not into memory."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def __getitem__(self, name: str) -> NDArray[Any]:
        with self._archive.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, fortran, dtype = read_header[version](stream)
            if fortran or dtype.hasobject:
                raise ValueError(f"{name} is no plain array")
            array = scratch_array(shape, dtype)
            flat, done, touched = array.reshape(-1).view(np.uint8), 0, Touched(array)
            while content := stream.read(_CHUNK):
                if done + len(content) > len(flat):
                    raise ValueError(f"{name} is longer than its shape says")
                flat[done : done + len(content)] = np.frombuffer(content, np.uint8)
                done += len(content)
                touched.add(len(content))
            if done < len(flat):
                raise ValueError(f"{name} is cut off")
        return array

    def __iter__(self) -> Iterator[str]:
        return (name.removesuffix(".npy") for name in self._archive.namelist())

    def __len__(self) -> int:
        return len(self._archive.namelist())


def load_spacings(path: Path) -> dict[str, Spacing | None]:
    """Spacing of each case in a `predictions.npz` that has spacings, without its masks.

    Raises:
        BenchError: missing or damaged file.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return dict(zip(arrays["case_id"].tolist(), spacings_from(arrays["spacing"]), strict=True))
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise _damaged(path, error) from None


def spacings_from(rows: NDArray[np.float64]) -> tuple[Spacing | None, ...]:
    """(N, 2) -> spacing of each case; None where it is NaN."""
    return tuple(None if np.isnan(row).any() else Spacing(*map(float, row)) for row in rows)


def _damaged(path: Path, error: Exception) -> BenchError:
    return BenchError(f"{path}: missing or damaged ({error}). Run the trial again with --fresh.")
