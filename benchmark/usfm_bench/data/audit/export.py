"""`data export`: a compact copy of a data set, to carry to a machine without much disk.

The archive holds one folder: `images/`, `masks/` and, of pairs, `good/` as PNG, `manifest.csv` in the layout that
`readers/manifest.py` reads, and `datasets.yaml` with an entry under a new name. It is a data set of its own, with
another content hash.
"""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np
import yaml

from usfm_bench import __version__
from usfm_bench.core.cores import available_cores
from usfm_bench.core.csv_cells import guarded
from usfm_bench.core.errors import BenchError
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.files import write_atomic
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.sample import Image, Masks, Sample, Spacing, binary_digits

_COLUMNS = ("path", "label", "patient", "mask", "spacing_y", "spacing_x")
_GOOD = "good"  # a column, and a folder, of pairs alone
Write = Callable[[str, bytes], None]
"""Adds a file, by its name, to an archive."""


class Small(NamedTuple):
    """One case on a grid whose longer side is at most the size asked for."""

    image: bytes
    """PNG."""
    mask: bytes | None
    """PNG of one bit a pixel, or of one binary digit a structure; None where the data set has no masks."""
    spacing: Spacing | None
    """In millimetres, of the smaller grid."""
    lost: bool
    """The lesion was so small that no pixel of it is left."""
    good: bytes | None = None
    """PNG of the same view in higher quality, of pairs alone."""


def export_dataset(dataset: Dataset, size: int, out: Path) -> dict[str, Any]:
    """Write the archive, readable by its owner alone.

    Files are numbered in the order of case ids and patients are the numbers of groups, so that no name leaves.

    Returns:
        What was written, in words and numbers.

    Raises:
        BenchError: an ending other than .zip or .tar, or a file that cannot be written.
    """
    check_ending(out)
    name = f"{dataset.spec.name}-{size}px"
    samples = sorted(dataset.samples, key=lambda sample: sample.case.case_id)
    lost = 0

    def write(stream: IO[bytes]) -> None:
        nonlocal lost
        archive = _zip if out.suffix.lower() == ".zip" else _tar
        lost = archive(stream, lambda add: _add_files(dataset, samples, name, size, add))

    write_atomic(out, write, private=True)
    return {
        "file": str(out),
        "bytes": out.stat().st_size,
        "dataset": name,
        "images": len(samples),
        "lesions without a pixel left": lost,
        "made from": _origin(dataset, size),
        "to use it": f"unpack it in DATA_ROOT and give --registry DATA_ROOT/{encode_name(name)}/datasets.yaml",
    }


def check_ending(out: Path) -> None:
    """Raise a BenchError where the file's name says neither .zip nor .tar."""
    if out.suffix.lower() not in (".zip", ".tar"):
        raise BenchError(f"--out is '{out}'; its ending says what is written: .zip or .tar.")


def shrink(sample: Sample, size: int) -> Small:
    """A case with a longer side of at most `size` pixels: images by area, masks by the nearest pixel."""
    height, width = sample.image.shape
    scale = min(1.0, size / max(height, width))
    new = max(1, round(width * scale)), max(1, round(height * scale))
    image = _by_area(sample.image, new)
    spacing = sample.spacing and Spacing(sample.spacing.y * height / new[1], sample.spacing.x * width / new[0])
    small = _masked(sample, image, new, spacing)
    return small if sample.good is None else small._replace(good=_png(_by_area(sample.good, new)))


def _by_area(image: Image, size: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _masked(sample: Sample, image: Image, new: tuple[int, int], spacing: Spacing | None) -> Small:
    if sample.mask is None:
        return Small(_png(image), None, spacing, lost=False)
    if sample.structures is not None:
        levels, lost = _digits(sample.structures, new)
        return Small(_png(image), levels, spacing, lost)
    mask = cv2.resize(sample.mask.astype(np.uint8) * 255, new, interpolation=cv2.INTER_NEAREST_EXACT)
    lost = bool(sample.mask.any() and not mask.any())
    return Small(_png(image), _png(mask, cv2.IMWRITE_PNG_BILEVEL, 1), spacing, lost)


def _digits(masks: Masks, size: tuple[int, int]) -> tuple[bytes, bool]:
    """A PNG whose level has the binary digit k where structure k is, and whether one of the structures vanished."""
    small = cv2.resize(binary_digits(masks), size, interpolation=cv2.INTER_NEAREST_EXACT)
    lost = any(mask.any() and not (small & (1 << k)).any() for k, mask in enumerate(masks))
    return _png(small), lost


def _add_files(dataset: Dataset, samples: list[Sample], name: str, size: int, add: Write) -> int:
    """Add every file to the archive; returns how many lesions vanished."""
    in_order = dict.fromkeys(sample.group_id for sample in samples)  # of the case ids, as the files
    patients = {group: f"{i:05d}" for i, group in enumerate(in_order, start=1)}
    rows, lost, place = [], 0, encode_name(name)
    with ThreadPoolExecutor(available_cores()) as pool:
        for number, (sample, small) in enumerate(
            zip(samples, pool.map(lambda sample: shrink(sample, size), samples), strict=True), start=1
        ):
            image, mask = f"images/{number:05d}.png", f"masks/{number:05d}.png" if small.mask is not None else ""
            add(f"{place}/{image}", small.image)
            if small.mask is not None:
                add(f"{place}/{mask}", small.mask)
            good = []
            if small.good is not None:
                good = [f"{_GOOD}/{number:05d}.png"]
                add(f"{place}/{good[0]}", small.good)
            lost += small.lost
            spacing = small.spacing or ("", "")
            rows.append((image, guarded(sample.case.label or ""), patients[sample.group_id], mask, *spacing, *good))
    add(f"{place}/manifest.csv", _csv(rows))
    add(f"{place}/datasets.yaml", _entry(dataset, name, size))
    return lost


def _entry(dataset: Dataset, name: str, size: int) -> bytes:
    """The registry entry of the copy. No `paper_label`: scores on smaller images are no rows of the paper's tables."""
    spec = dataset.spec
    entry = {
        "version": spec.version,
        "title": f"{spec.title}, at most {size} px wide and high",
        "tasks": list(spec.tasks),
        "organ": spec.organ,
        "layout": "manifest",
        "path": f"{encode_name(name)}/manifest.csv",
        "classes": list(dataset.classes),
        "grouped_by": dataset.grouped_by,
        "synthetic": spec.synthetic,
        "n_images": len(dataset),
        "licence": spec.licence,
        "citation": spec.citation,
        "source": _origin(dataset, size),
    }
    if spec.structures:
        told = {name: {"bit": k} for k, name in enumerate(spec.structures)}
        entry |= {"structures": list(spec.structures), "options": {"values": {"structures": told}}}
    return yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True, width=120).encode()


def _origin(dataset: Dataset, size: int) -> str:
    spec = dataset.spec
    return (
        f"made by usfm-bench {__version__} (data export --size {size}) from '{spec.name}', version {spec.version}, "
        f"data hash {dataset.content_hash}; the original: {spec.source or 'not stated'}"
    )


def _csv(rows: list[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [(*_COLUMNS, *[_GOOD] * any(len(row) > len(_COLUMNS) for row in rows)), *rows]
    )
    return text.getvalue().encode()


def _png(pixels: Any, *flags: int) -> bytes:
    _, encoded = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9, *flags])
    return bytes(encoded)


def _zip(stream: IO[bytes], fill: Callable[[Write], int]) -> int:
    with zipfile.ZipFile(stream, "w") as archive:
        # A ZipInfo of its own has a fixed date, so that the same data give the same bytes; and the mode 0600.
        return fill(lambda name, content: archive.writestr(zipfile.ZipInfo(name), content))


def _tar(stream: IO[bytes], fill: Callable[[Write], int]) -> int:
    with tarfile.open(fileobj=stream, mode="w") as archive:

        def add(name: str, content: bytes) -> None:
            facts = tarfile.TarInfo(name)
            facts.size, facts.mode = len(content), 0o600
            archive.addfile(facts, io.BytesIO(content))

        return fill(add)
