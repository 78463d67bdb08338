"""Decoded images and masks in one file a data set, so that a second start decodes nothing.

Patients' images are kept only where the user names a folder for them; see `cache_folder`. Without one, those of a large
data set lie in a file without a name, which ends with the process.

A file is used only while nothing that it was made from has changed: path, size and times of every source file, how the
registry entry reads them, and the readers' own code. Otherwise it is made again.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import PIL
import pyarrow as pa

from usfm_bench.core.errors import BenchError
from usfm_bench.core.settings import content_hash
from usfm_bench.data import readers, resize
from usfm_bench.data.cache_folder import GB, LIMIT, cache_folder, cache_limit, make_room, mark_used
from usfm_bench.data.pixel_file import PixelWriter, read_pixels
from usfm_bench.data.sample import Case, Sample
from usfm_bench.data.scratch import IN_MEMORY, no_room, scratch_folder
from usfm_bench.specs.dataset import DatasetSpec

_LONGEST = 120  # characters of a data set's name; what stands behind it in the file's name has a hash of the rest


@dataclass(frozen=True)
class ImageCache:
    """The file of one data set in one place, and what must be true of it to be used."""

    path: Path
    key: str
    """Content hash of everything that decoding depends on."""

    def load(self, cases: Iterable[Case]) -> tuple[dict[str, Sample], list[str]]:
        """Case id -> sample, its pixels read from the file when they are asked for, and the notes on decoding it.

        Nothing where the file is not of this key.
        """
        by_id = {case.case_id: case for case in cases}
        try:
            with self.path.open("rb") as stream:
                found = read_pixels(stream, self.key, by_id)
        except (OSError, KeyError, ValueError, pa.ArrowException):  # not there, truncated, or not ours
            return {}, []
        if found is None:
            return {}, []
        mark_used(self.path)
        return found


class Decoded:
    """Samples of one data set as they are decoded: in memory while they are few, else in a file, batch by batch.

    Args:
        cache: where they are to be kept; None: nowhere.
    """

    def __init__(self, cache: ImageCache | None) -> None:
        self._cache = cache
        self._cases: dict[str, Case] = {}
        self._held: list[Sample] = []  # all of them while they are few, and afterwards none
        self._size = 0
        self._writer: PixelWriter | None = None
        self._path: Path | None = None  # of the file while it has a name

    def take(self, samples: Sequence[Sample]) -> None:
        """Note what was decoded.

        Raises:
            BenchError: it is too much for memory, and there is no room for a file.
        """
        self._cases |= {sample.case.case_id: sample.case for sample in samples}
        self._held += samples
        self._size += sum(map(_size, samples))
        if self._size > IN_MEMORY:
            try:
                self._flush()
            except OSError as error:
                raise no_room(scratch_folder(), self._size, error) from None

    def finish(self, notes: Sequence[str], *, keep: bool) -> dict[str, Sample]:
        """Case id -> sample. With `keep`, the cache holds them too; where it cannot, a note on stderr says so.

        Args:
            notes: of the reader, on decoding.
            keep: whether the cache is to hold them.

        Raises:
            BenchError: as `take`.
        """
        few = None if self._writer is not None else list(self._held)
        if few is None or (keep and self._cache is not None):
            try:
                self._flush()
                assert self._writer is not None
                self._writer.finish(notes)
            except OSError as error:
                if few is None:
                    raise no_room(scratch_folder(), self._size, error) from None
                _say(error)
                self._cache = None
        if keep and self._cache is not None:
            self._keep(self._cache)
        if few is not None:
            return {sample.case.case_id: sample for sample in few}
        assert self._writer is not None
        found = read_pixels(self._writer.stream, self._key, self._cases)
        assert found is not None
        return found[0]

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = PixelWriter(self._open(), self._key)
        self._writer.write(self._held)
        self._held = []

    def _open(self) -> IO[bytes]:
        """A new file beside its place in the cache, readable by its owner alone; or one without a name."""
        if self._cache is not None:
            place = self._cache.path
            try:
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
            except OSError as error:
                _say(error)
                self._cache = None
            else:
                self._path = Path(name)
                return os.fdopen(descriptor, "w+b")
        return tempfile.TemporaryFile(dir=scratch_folder())

    def _keep(self, cache: ImageCache) -> None:
        """Put the finished file in its place, where the folder has room for it."""
        assert self._writer is not None
        assert self._path is not None
        size = self._path.stat().st_size
        try:
            if not make_room(cache.path, size):
                room = f"it needs {size / GB:.3g} of {cache_limit() / GB:.3g} GB; {LIMIT} sets another limit."
                sys.stderr.write(f"note: {cache.path.name} is not kept: {room}\n")
                return
            os.fsync(self._writer.stream.fileno())
            self._path.replace(cache.path)
            mark_used(cache.path)
        except (OSError, BenchError) as error:
            _say(error)

    @property
    def _key(self) -> str:
        return "" if self._cache is None else self._cache.key

    def __enter__(self) -> Decoded:
        return self

    def __exit__(self, *_: object) -> None:
        """What is not in its place by now has no name any more, and ends with the samples that are read from it."""
        if self._writer is not None:
            self._writer.stream.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _size(sample: Sample) -> int:
    """Bytes of its arrays."""
    arrays = (sample.image, sample.mask, sample.structures, sample.good)
    return sum(array.nbytes for array in arrays if array is not None)


def _say(error: Exception) -> None:
    sys.stderr.write(f"note: no cache of decoded images: {error} --cache names another folder.\n")


def image_cache(spec: DatasetSpec, root: Path, cases: Sequence[Case]) -> ImageCache | None:
    """The cache of these cases, which must be all that the reader finds; None where there is nothing to keep."""
    folder = cache_folder()
    files = {path for case in cases for path in (case.image, *case.masks) if path is not None}
    if folder is None or not files:
        return None
    reading = {"layout": spec.layout, "classes": list(spec.classes_on_disk), "options": spec.options}
    reading |= {"structures": list(spec.structures)} if spec.structures else {}
    place = content_hash([str(root.resolve()), reading])
    key = content_hash([place, _code(spec.layout), _listing(root, files)])
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", spec.name.partition("@")[0])  # parts of a data set have its pixels
    return ImageCache(folder / f"{name[:_LONGEST]}-v{spec.version}-{place[:12]}.arrow", key)


def _listing(root: Path, files: set[Path]) -> list[list[Any]]:
    """Path, size and times of the cases' files and of all others in the data set: lists and annotations matter too."""
    others = [root] if root.is_file() else [Path(top, name) for top, _, names in os.walk(root) for name in names]
    rows: list[list[Any]] = []  # names that are not UTF-8 have no hash as they are
    for path in sorted(files.union(others)):
        try:
            found = path.stat()
        except OSError:
            rows.append([ascii(path), None])
            continue
        rows.append([ascii(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns])
    return rows


def _code(layout: str) -> list[str]:
    """What decodes: the versions of OpenCV and Pillow, and the sources of the readers and of resizing."""
    sources = {*Path(readers.__file__).parent.glob("*.py"), Path(resize.__file__), *_sources(readers.READERS[layout])}
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(sources)]
    return [cv2.__version__, PIL.__version__, *hashes]


def code_hashes(code: object = None) -> list[str]:
    """What resizes: OpenCV's version, and the sources of resizing and of a class and what lies beside it."""
    sources = {Path(resize.__file__), *(() if code is None else _sources(code))}
    return [cv2.__version__, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(sources))]


def _sources(reader: object) -> Iterator[Path]:
    """The file of a reader, which may be a plug-in's, and the files beside it in its package."""
    module = inspect.getmodule(reader)
    file = getattr(module, "__file__", None)
    if file is not None:
        yield from Path(file).parent.glob("*.py") if getattr(module, "__package__", "") else [Path(file)]
