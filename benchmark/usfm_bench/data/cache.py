"""Decoded images and masks in one memory-mapped file a data set, so that a second start decodes nothing.

Patients' images are copied only where the user names a folder for them; see `cache_folder`.

A file is used only while nothing that it was made from has changed: path, size and times of every source file, how the
registry entry reads them, and the readers' own code. Otherwise it is made again. It is an Arrow file, one row a case.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import PIL
import pyarrow as pa
from numpy.typing import NDArray

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic
from usfm_bench.core.settings import content_hash
from usfm_bench.data import readers, resize
from usfm_bench.data.cache_folder import GB, LIMIT, cache_folder, cache_limit, make_room, mark_used
from usfm_bench.data.sample import Case, Sample, Spacing, sample_of
from usfm_bench.specs.dataset import DatasetSpec

_SCHEMA = pa.schema(
    {
        "case_id": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "image": pa.large_binary(),
        "mask": pa.large_binary(),  # one bit a pixel and structure; null where the data set has no masks
        "good": pa.large_binary(),  # of the image's size; null where the data set has no pairs
        "structures": pa.int32(),  # masks an image; null where the entry names no structures
        "spacing_y": pa.float64(),
        "spacing_x": pa.float64(),
        "pixel_hash": pa.string(),
    }
)
_Bytes = NDArray[np.uint8]
_LONGEST = 120  # characters of a data set's name; what stands behind it in the file's name has a hash of the rest
_BATCH = 64  # rows written at once: bounds the memory


@dataclass(frozen=True)
class ImageCache:
    """The file of one data set in one place, and what must be true of it to be used."""

    path: Path
    key: str
    """Content hash of everything that decoding depends on."""

    def load(self, cases: Iterable[Case]) -> tuple[dict[str, Sample], list[str]]:
        """Case id -> sample, its pixels mapped from the file (read-only), and the reader's notes on decoding it.

        Nothing where the file is not of this key.
        """
        by_id = {case.case_id: case for case in cases}
        try:
            with pa.memory_map(str(self.path)) as mapped, pa.ipc.open_file(mapped) as stored:
                facts = stored.schema.metadata or {}
                if stored.schema != _SCHEMA or facts.get(b"key") != self.key.encode():
                    return {}, []
                notes = json.loads(facts[b"notes"])
                batches = [stored.get_batch(i) for i in range(stored.num_record_batches)]
            with ThreadPoolExecutor(available_cores()) as pool:  # NumPy unpacks bits without the interpreter's lock
                loaded = list(pool.map(partial(_samples, by_id), batches))
        except (OSError, KeyError, ValueError, pa.ArrowException):  # not there, truncated, or not ours
            return {}, []
        mark_used(self.path)
        return {sample.case.case_id: sample for samples in loaded for sample in samples}, notes

    def save(self, samples: Sequence[Sample], notes: Sequence[str] = ()) -> None:
        """Write the file, readable by its owner alone; where that fails, say so on stderr and go on without."""
        size = sum(sample.image.size + (0 if sample.mask is None else sample.mask.size // 8) for sample in samples)
        try:
            fits = make_room(self.path, size)
            if fits:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_atomic(self.path, lambda stream: self._write(stream, samples, notes), private=True)
                size = self.path.stat().st_size  # with what Arrow adds
                fits = make_room(self.path, size)
            if not fits:
                self.path.unlink(missing_ok=True)
                room = f"it needs {size / GB:.3g} of {cache_limit() / GB:.3g} GB; {LIMIT} sets another limit."
                sys.stderr.write(f"note: {self.path.name} is not kept: {room}\n")
                return
            mark_used(self.path)
        except (OSError, BenchError) as error:
            sys.stderr.write(f"note: no cache of decoded images: {error} --cache names another folder.\n")

    def _write(self, stream: IO[bytes], samples: Sequence[Sample], notes: Sequence[str]) -> None:
        facts = {"key": self.key, "notes": json.dumps(list(notes))}
        with pa.ipc.new_file(stream, _SCHEMA.with_metadata(facts)) as file:
            for start in range(0, len(samples), _BATCH):
                rows = [_row(sample) for sample in samples[start : start + _BATCH]]
                file.write_batch(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))


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


def _sources(reader: object) -> Iterator[Path]:
    """The file of a reader, which may be a plug-in's, and the files beside it in its package."""
    module = inspect.getmodule(reader)
    file = getattr(module, "__file__", None)
    if file is not None:
        yield from Path(file).parent.glob("*.py") if getattr(module, "__package__", "") else [Path(file)]


def _row(sample: Sample) -> dict[str, Any]:
    spacing = sample.spacing or (None, None)
    return {
        "case_id": sample.case.case_id,
        "height": sample.image.shape[0],
        "width": sample.image.shape[1],
        "image": sample.image.tobytes(),
        "mask": None if sample.each is None else np.packbits(sample.each).tobytes(),
        "good": None if sample.good is None else sample.good.tobytes(),
        "structures": None if sample.structures is None else len(sample.structures),
        "spacing_y": spacing[0],
        "spacing_x": spacing[1],
        "pixel_hash": sample.pixel_hash,
    }


def _samples(cases: Mapping[str, Case], batch: pa.RecordBatch) -> list[Sample]:
    batch.validate()
    pixels = {name: _bytes(batch.column(name)) for name in ("image", "mask", "good")}
    rows = batch.drop_columns([*pixels]).to_pylist()
    return [
        _sample(cases[row["case_id"]], row, *of_case)
        for row, *of_case in zip(rows, *pixels.values(), strict=True)
        if row["case_id"] in cases
    ]


def _sample(case: Case, row: dict[str, Any], image: _Bytes | None, mask: _Bytes | None, good: _Bytes | None) -> Sample:
    assert image is not None
    shape = row["height"], row["width"]
    spacing = None if row["spacing_y"] is None else Spacing(row["spacing_y"], row["spacing_x"])
    masks = None
    if mask is not None:
        whole = (*([row["structures"]] if row["structures"] else ()), *shape)
        masks = np.unpackbits(mask, count=math.prod(whole)).view(np.bool_).reshape(whole)
    sample = sample_of(case, image.reshape(shape), masks, spacing)
    return replace(sample, pixel_hash=row["pixel_hash"], good=None if good is None else good.reshape(shape))


def _bytes(column: Any) -> list[_Bytes | None]:
    """Each value as a view of the mapped file; Arrow's own scalars would be copies."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int64)[column.offset :]
    content = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return [
        content[bounds[i] : bounds[i + 1]] if valid else None for i, valid in enumerate(column.is_valid().to_pylist())
    ]
