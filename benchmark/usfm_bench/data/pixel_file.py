"""Decoded images and masks in an Arrow file, one row a case: written by batches, read by case."""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from usfm_bench.data.sample import Case, Image, Mask, Masks, Pixels, Sample, Spacing, sample_from

SCHEMA = pa.schema(
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
_PIXELS = ("image", "mask", "good")
_BATCH = 64  # rows written at once: bounds the memory
Place = tuple[int, int]
"""Offset and length in the file, in bytes."""


class PixelWriter:
    """Writes an open, empty file."""

    def __init__(self, stream: IO[bytes], key: str) -> None:
        self.stream = stream
        self._file = pa.ipc.new_file(stream, SCHEMA.with_metadata({"key": key}))

    def write(self, samples: Sequence[Sample]) -> None:
        """Append cases.

        Raises:
            OSError: no room, say.
        """
        for start in range(0, len(samples), _BATCH):
            rows = [_row(sample) for sample in samples[start : start + _BATCH]]
            self._file.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))

    def finish(self, notes: Sequence[str]) -> None:
        """Write the file's end, with the reader's notes on decoding, which are known now."""
        nothing = pa.RecordBatch.from_pylist([], schema=SCHEMA)
        self._file.write_batch(nothing, custom_metadata={"notes": json.dumps(list(notes))})
        self._file.close()
        self.stream.flush()


def read_pixels(stream: IO[bytes], key: str, by_id: Mapping[str, Case]) -> tuple[dict[str, Sample], list[str]] | None:
    """Case id -> sample, whose pixels are read from the file when they are asked for, and the notes; None: other key.

    The samples keep the file open for themselves; it may be removed or replaced meanwhile.

    Raises:
        OSError, KeyError, ValueError, pa.ArrowException: truncated, or not such a file.
    """
    found: dict[str, Sample] = {}
    file = _OpenFile(os.dup(stream.fileno()))
    mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)  # lasts as long as what Arrow reads from it
    whole = pa.py_buffer(mapped)
    stored = pa.ipc.open_file(whole)
    if stored.schema != SCHEMA or (stored.schema.metadata or {}).get(b"key") != key.encode():
        return None
    last = stored.num_record_batches - 1
    for i in range(last):
        for sample in _samples(file, whole.address, stored.get_batch(i), by_id):
            found[sample.case.case_id] = sample
    notes = json.loads(stored.get_batch_with_custom_metadata(last).custom_metadata[b"notes"])
    return found, notes


class _OpenFile:
    """A descriptor that lasts as long as what reads from it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, place: Place) -> bytes:
        """Bytes at a place; threads may read at once."""
        offset, length = place
        content = os.pread(self._descriptor, length, offset)
        if len(content) != length:
            raise OSError(f"a file of decoded images was cut off: it ends before byte {offset + length}.")
        return content

    def __del__(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class FilePixels(Pixels):
    """Pixels of one case in a file."""

    file: _OpenFile
    shape: tuple[int, int]
    n_structures: int | None
    places: tuple[Place, Place | None, Place | None]
    """Of the image, of the masks and of the good image."""

    @property
    def n_masks(self) -> int:
        """One, or one a structure."""
        return 0 if self.places[1] is None else self.n_structures or 1

    @property
    def image(self) -> Image:
        """Read-only."""
        return np.frombuffer(self.file.read(self.places[0]), np.uint8).reshape(self.shape)

    @property
    def packed(self) -> bytes | None:
        """As they are in the file."""
        return None if self.places[1] is None else self.file.read(self.places[1])

    @property
    def structures(self) -> Masks | None:
        """Unpacked."""
        return self._masks() if self.n_structures else None

    @property
    def mask(self) -> Mask | None:
        """Unpacked."""
        masks = self._masks()
        return masks if masks is None or not self.n_structures else np.asarray(masks.any(axis=0))

    def _masks(self) -> Masks | None:
        bits = self.packed
        if bits is None:
            return None
        shape = (*([self.n_structures] if self.n_structures else ()), *self.shape)
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=math.prod(shape)).view(np.bool_).reshape(shape)

    @property
    def good(self) -> Image | None:
        """Read-only."""
        place = self.places[2]
        return None if place is None else np.frombuffer(self.file.read(place), np.uint8).reshape(self.shape)


def _row(sample: Sample) -> dict[str, Any]:
    spacing, image, good, structures = sample.spacing or (None, None), sample.image, sample.good, sample.structures
    return {
        "case_id": sample.case.case_id,
        "height": image.shape[0],
        "width": image.shape[1],
        "image": image.tobytes(),
        "mask": sample.packed,
        "good": None if good is None else good.tobytes(),
        "structures": None if structures is None else len(structures),
        "spacing_y": spacing[0],
        "spacing_x": spacing[1],
        "pixel_hash": sample.pixel_hash,
    }


def _samples(file: _OpenFile, start: int, batch: pa.RecordBatch, by_id: Mapping[str, Case]) -> list[Sample]:
    batch.validate()
    places = [_places(batch.column(name), start) for name in _PIXELS]
    rows = batch.drop_columns([*_PIXELS]).to_pylist()
    return [
        _sample(by_id[row["case_id"]], row, file, *of_case)
        for row, *of_case in zip(rows, *places, strict=True)
        if row["case_id"] in by_id
    ]


def _sample(case: Case, row: dict[str, Any], file: _OpenFile, image: Place, *others: Place | None) -> Sample:
    shape, (mask, good) = (row["height"], row["width"]), others
    if image[1] != math.prod(shape):
        raise ValueError(f"{case.case_id}: {image[1]} bytes are no image of {shape}.")
    spacing = None if row["spacing_y"] is None else Spacing(row["spacing_y"], row["spacing_x"])
    return sample_from(
        case, FilePixels(file, shape, row["structures"], (image, mask, good)), spacing, row["pixel_hash"]
    )


def _places(column: Any, start: int) -> list[Any]:
    """Where each value lies in the file; None for one that is null."""
    _, offsets, data = column.buffers()
    bounds: NDArray[np.int64] = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    first = 0 if data is None else data.address - start
    ends = bounds.tolist()
    return [
        (first + ends[i], ends[i + 1] - ends[i]) if valid else None
        for i, valid in enumerate(column.is_valid().to_pylist())
    ]
