"""A stranger's files, looked at before anything reads them: links, strangers, bombs, and code in place of numbers."""

from __future__ import annotations

import hashlib
import math
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq

from usfm_bench.board.submission import NAME, Submission

_MIB = 1 << 20
_SIZES = {"record.json": _MIB, "cases.parquet": 8 * _MIB, "predictions.npz": 64 * _MIB, NAME: 4 * _MIB}
_UNPACKED = 512 * _MIB
_ROWS, _COLUMNS = 200_000, 500


def folder_faults(folder: Path) -> list[str]:
    """Links, special files, files of strange names and files that are too large; nothing is opened."""
    faults = []
    for path in sorted(folder.rglob("*")):
        name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
        if stat.S_ISLNK(mode):
            faults.append(f"{name}: is a link, and may lead out of the folder.")
        elif stat.S_ISDIR(mode):
            continue
        elif not stat.S_ISREG(mode):
            faults.append(f"{name}: is no plain file.")
        elif path.name not in _SIZES:
            faults.append(f"{name}: does not belong to a submission, which holds {', '.join(_SIZES)}.")
        elif (size := path.stat().st_size) > _SIZES[path.name]:
            faults.append(f"{name}: has {size:,} bytes, more than the {_SIZES[path.name]:,} allowed.")
    return faults


def list_faults(submission: Submission, folder: Path) -> list[str]:
    """Listed paths that leave the folder, files that were changed, removed or added after packing."""
    faults = []
    if submission.digest != submission.own_digest:
        faults.append(f"{NAME}: was edited after packing (its digest is another).")
    for name, digest in submission.files.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or ":" in parts[0] or {"..", "."} & set(name.split("/")):
            faults.append(f"{NAME}: lists '{name}', a path out of the folder.")
        elif not (folder / name).is_file():
            faults.append(f"{name}: is listed, and is not there.")
        elif hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            faults.append(f"{name}: was changed after packing (its sha256 is another).")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    faults += [f"{name}: is not listed in {NAME}." for name in sorted(found - {NAME, *submission.files})]
    return faults


def content_faults(folder: Path) -> Iterator[str]:
    """Of every archive of predictions and every table, before they are read."""
    for path in sorted(folder.rglob("predictions.npz")):
        name = path.relative_to(folder).as_posix()
        yield from (f"{name}: {fault}" for fault in archive_faults(path))
    for path in sorted(folder.rglob("cases.parquet")):
        name = path.relative_to(folder).as_posix()
        yield from (f"{name}: {fault}" for fault in _table_faults(path))


def archive_faults(path: Path) -> list[str]:
    """Why an `.npz` is not read: an archive that unpacks to too much, other members than arrays, objects in arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if (total := sum(member.file_size for member in members)) > _UNPACKED:
                return [f"unpacks to {total:,} bytes, more than the {_UNPACKED:,} allowed (a zip bomb)."]
            names = [member.filename for member in members]
            faults = [f"holds '{n}', which is no array." for n in names if not _plain(n)]
            faults += [f"holds '{n}' twice." for n in sorted({n for n in names if names.count(n) > 1})]
            return faults or [fault for member in members for fault in _array_faults(archive, member)]
    except Exception as error:  # zipfile and zlib raise many kinds
        return [f"is no archive of arrays ({error})."]


def _plain(name: str) -> bool:
    return name.endswith(".npy") and not set("/\\:") & set(name) and not name.startswith(".")


def _array_faults(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> list[str]:
    """By the header alone: NumPy would make room for whatever shape it claims."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        place = stream.tell()
    if dtype.hasobject:
        return [f"'{member.filename}' holds Python objects (pickle), which can be code."]
    if place + math.prod(shape) * dtype.itemsize != member.file_size:
        return [f"'{member.filename}' claims the shape {shape}, and holds other than that many bytes."]
    return []


def _table_faults(path: Path) -> list[str]:
    try:
        about = pq.ParquetFile(path).metadata
    except (OSError, ValueError) as error:
        return [f"is no table ({error})."]
    size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if about.num_rows > _ROWS or about.num_columns > _COLUMNS or size > _UNPACKED:
        return [f"has {about.num_rows:,} rows, {about.num_columns} columns and {size:,} bytes, more than is allowed."]
    return []
