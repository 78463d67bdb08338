"""A store: the images of a pre-training, decoded and resized once, read row by row from a folder.

A row of `images.npy` is one image, so that any order is as cheap as any other and position n of a pre-training is the
same image whoever reads it. Rows are read by `pread`, so that a process holds a batch and not the file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from usfm_bench import __version__
from usfm_bench.core.cores import available_cores
from usfm_bench.core.environment import now
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import check_writable
from usfm_bench.core.settings import Settings
from usfm_bench.data.cache_folder import GB
from usfm_bench.data.resize import resize_image
from usfm_bench.data.sample import Sample
from usfm_bench.data.scratch import no_room, reserve, scratch_folder
from usfm_bench.pretraining.data import Gathered, PretrainImages
from usfm_bench.specs.pretraining import WhichImages

VERSION: Literal[1] = 1
FACTS, IMAGES, CASES = "store.json", "images.npy", "cases.parquet"
_AT_ONCE = 64  # images that are decoded and resized before they are written: bounds the memory
_SCHEMA = pa.schema({"organ": pa.dictionary(pa.int32(), pa.string()), "pixel_hash": pa.string()})


class StoreFacts(Settings):
    """Content of `store.json`, which is written last."""

    version: Literal[1] = VERSION
    which: WhichImages
    """What decides the images; a pre-training from the store has these settings."""
    images: int
    sources: dict[str, dict[str, Any]]
    """Data set -> content hash, number of images, and which side they are of."""
    sha256: str
    """Of `images.npy`."""
    usfm_bench: str
    """The version that wrote it."""
    written: str


class StoredImages:
    """Images in an .npy file, by row. It pickles as its path, so that each process opens the file for itself.

    Args:
        path: the file.

    Raises:
        BenchError: it cannot be read, or is cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            mapped: NDArray[Any] = np.load(path, mmap_mode="r")
            self._file = os.open(path, os.O_RDONLY)
        except (OSError, ValueError) as error:
            raise BenchError(f"{path}: cannot be read ({error}). Write the store anew.") from None
        if mapped.ndim != 3 or mapped.dtype != np.uint8 or not mapped.flags.c_contiguous:
            raise BenchError(f"{path}: holds {mapped.dtype} of shape {mapped.shape}, not (N, S, S) grey levels.")
        self.shape: tuple[int, ...] = mapped.shape
        self._start = int(mapped.offset)  # type: ignore[attr-defined]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(B, S, S) grey levels at (B,) rows; threads may read at once.

        Raises:
            BenchError: the file cannot be read any more.
        """
        read = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for place, row in zip(read, rows.tolist(), strict=True):
            try:
                n = os.preadv(self._file, [memoryview(place).cast("B")], self._start + row * place.nbytes)
            except OSError as error:
                raise BenchError(f"{self._path}: cannot be read: {error.strerror}.") from None
            if n != place.nbytes:
                raise BenchError(f"{self._path}: is cut off in image {row} of {len(self)}. Write the store anew.")
        return read

    def __reduce__(self) -> tuple[type[StoredImages], tuple[Path]]:
        return StoredImages, (self._path,)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)


def check_new(folder: Path) -> None:
    """Raise a BenchError, before data are read, where a store cannot be written to a folder or something is there."""
    if folder.exists():
        raise BenchError(f"{folder}: is there already. Choose another name, or delete it.")
    check_writable(folder.parent)


def write_store(
    seen: Gathered, which: WhichImages, folder: Path, tell: Callable[[int], object] = lambda written: None
) -> StoreFacts:
    """Resize and write images, in constant memory. Files are their owner's alone.

    Args:
        seen: the images.
        which: decided them.
        folder: appears when the store is whole.
        tell: called with the number of images that were just written.

    Raises:
        BenchError: the folder is there already, has no room, or cannot be written.
    """
    check_new(folder)
    size = len(seen.samples) * which.image_size**2
    try:
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))  # its owner's alone
        try:
            digest = _write_images(made / IMAGES, seen.samples, which.image_size, tell)
            cases = pa.table({"organ": pa.array(seen.organs).dictionary_encode(), "pixel_hash": seen.pixel_hashes})
            pq.write_table(cases.cast(_SCHEMA), made / CASES)
            facts = StoreFacts(
                which=which,
                images=len(seen.samples),
                sources=seen.sources,
                sha256=digest,
                usfm_bench=__version__,
                written=now(),
            )
            (made / FACTS).write_text(facts.model_dump_json(indent=1), encoding="utf-8")
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise BenchError(
            f"{folder}: {size / GB:.3g} GB of images cannot be written: {error.strerror or error}. --out names a "
            "folder on another disk; --size says how large an image is."
        ) from None
    return facts


def read_facts(folder: Path) -> StoreFacts:
    """What a store says of itself.

    Raises:
        BenchError: it is none, or of another version.
    """
    anew = "`usfm-bench data export NAME --pretrain --size N --out FOLDER` writes one."
    try:
        text = (folder / FACTS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BenchError(f"{folder}: is no store of images ({FACTS}: {reason}). {anew}") from None
    try:
        return StoreFacts.model_validate_json(text)
    except ValidationError as error:
        if any(fault["loc"] == ("version",) for fault in error.errors()):
            found = next(fault["input"] for fault in error.errors() if fault["loc"] == ("version",))
            raise BenchError(f"{folder}: is a store of version {found!r}; {VERSION} is read here. {anew}") from None
        wrong = ", ".join(dict.fromkeys(".".join(map(str, fault["loc"])) or "no JSON" for fault in error.errors()))
        raise BenchError(f"{folder}: {FACTS} is damaged ({wrong}). {anew}") from None


def open_store(folder: Path) -> PretrainImages:
    """The images of a store, which stay on disk.

    Raises:
        BenchError: a file is missing, damaged, or of another store.
    """
    facts = read_facts(folder)
    images = StoredImages(folder / IMAGES)
    try:
        cases = pq.read_table(folder / CASES, schema=_SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise BenchError(f"{folder / CASES}: cannot be read ({error}). Write the store anew.") from None
    size = facts.which.image_size
    if images.shape != (facts.images, size, size) or len(cases) != facts.images:
        raise BenchError(
            f"{folder}: files do not belong together: {FACTS} says {facts.images} images of {size} px, {IMAGES} holds "
            f"{images.shape[0]} of {images.shape[1]} px and {CASES} {len(cases)}. Write the store anew."
        )
    organs, hashes = (tuple(cases.column(name).to_pylist()) for name in _SCHEMA.names)
    return PretrainImages(images, organs, hashes, facts.sources)


@contextmanager
def in_a_file(data: PretrainImages) -> Iterator[PretrainImages]:
    """The same images in a file that all processes of this machine read, instead of a copy for each of them.

    Raises:
        BenchError: there is no room for the file.
    """
    if not isinstance(data.images, np.ndarray):
        yield data
        return
    with tempfile.TemporaryDirectory(dir=scratch_folder()) as folder:
        path = Path(folder) / IMAGES
        try:
            np.save(path, data.images)
        except OSError as error:
            raise no_room(Path(folder).parent, data.images.nbytes, error) from None
        yield replace(data, images=StoredImages(path))


def _write_images(path: Path, samples: Sequence[Sample], side: int, tell: Callable[[int], object]) -> str:
    """Write (N, side, side) grey levels; returns the sha256 of the file."""
    shape = (len(samples), side, side)
    with path.open("w+b") as stream, ThreadPoolExecutor(available_cores()) as pool:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(stream, header)
        start = stream.tell()
        stream.flush()
        reserve(stream, start + len(samples) * side**2)  # no room is an error now, and not after an hour
        stream.seek(0)
        digest = hashlib.sha256(stream.read(start))
        for first in range(0, len(samples), _AT_ONCE):
            some = samples[first : first + _AT_ONCE]
            rows = b"".join(pool.map(lambda sample: resize_image(sample.image, side).tobytes(), some))
            stream.write(rows)
            digest.update(rows)
            tell(len(some))
        stream.flush()
        os.fsync(stream.fileno())
    path.chmod(0o600)
    return digest.hexdigest()
