"""Files of a data set: which there are, and which are passed over."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from usfm_bench.data.faults import Fault
from usfm_bench.data.readers.decode import MAX_PIXELS, read_grey, read_pixels, to_grey

__all__ = [
    "IMAGES",
    "MAX_PIXELS",
    "OTHERS",
    "VIDEOS",
    "Listing",
    "ending",
    "link_fault",
    "list_files",
    "name_key",
    "not_read",
    "read_grey",
    "read_pixels",
    "say_not_read",
    "to_grey",
]

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".gif"}) | {
    *(".jp2", ".j2k", ".pgm", ".ppm", ".pbm", ".pnm"),
}
"""Endings of image files, in lower case."""
VIDEOS = frozenset({".mp4", ".m4v", ".avi", ".mov", ".mpg", ".mpeg", ".wmv", ".mkv", ".webm"})
"""Endings of videos, in lower case."""
OTHERS = VIDEOS | {
    *(".dib", ".heic", ".heif", ".avif", ".jxl", ".jxr", ".jls", ".svg", ".psd", ".dng", ".exr", ".hdr", ".pdf"),
    *(".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd"),
}
"""Endings of files that hold pictures too."""


class Listing(NamedTuple):
    """What a folder holds."""

    files: list[Path]
    """Sorted; each begins with the folder as it was given."""
    faults: list[str]
    """Each a `Fault` of paths relative to the data set's folder, where it is about files in it."""


def list_files(folder: Path, root: Path | None = None, endings: Collection[str] | None = IMAGES) -> Listing:
    """Every file below a folder with one of these endings, in any case, but hidden ones, such as `._x.png` of macOS.

    Faults: links out of `root` (the folder itself by default), and names that other systems cannot tell apart or write.
    """
    inside, files, faults = Path(os.path.realpath(root or folder)), [], []
    if folder != root and root is not None and (fault := link_fault(folder, inside)):
        return Listing([], [fault])
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = [n for n in names if _wanted(n, endings)]
        for path in (Path(parent, name) for name in (*folders, *wanted)):
            if fault := _name_fault(path) or link_fault(path, inside):
                faults.append(Fault(fault, path.relative_to(root or folder).as_posix()))
            elif path.is_file():
                files.append(path)
    return Listing(sorted(files), faults + _same_but_for_case(files, folder, root or folder))


def _wanted(name: str, endings: Collection[str] | None) -> bool:
    return not name.startswith(".") and (endings is None or Path(name).suffix.lower() in endings)


def link_fault(path: Path, inside: Path) -> str | None:
    """What is wrong with a file that is a link: it leaves `inside` (a resolved folder), or leads nowhere."""
    if not path.is_symlink():
        return None
    if not Path(os.path.realpath(path)).is_relative_to(inside):
        return f"{path}: is a link that leaves the data set's folder. Put the file itself there."
    return None if path.exists() else f"{path}: is a link to nothing."


def _name_fault(path: Path) -> str | None:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return f"{str(path)!a}: the name is not UTF-8. Rename it."
    return None


def _same_but_for_case(files: list[Path], folder: Path, root: Path) -> list[str]:
    by_key: dict[str, list[str]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        by_key.setdefault(name_key(name), []).append(name)
    return [
        Fault(
            f"{folder}: {' and '.join(map(repr, sorted(names)))} differ only in case. Rename all but one.",
            *((folder / name).relative_to(root).as_posix() for name in names),
        )
        for names in by_key.values()
        if len(names) > 1
    ]


def name_key(name: str) -> str:
    """Equal for names that a file system of Windows or macOS takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def ending(name: str) -> str:
    """Of a file's name, in lower case, with its dot; `.nii.gz` is one."""
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else os.path.splitext(lower)[1]  # noqa: PTH122 - of a name alone


def not_read(folder: Path, read: Collection[str]) -> list[str]:
    """Files below a folder that hold pictures by their ending, which is none of those that are read; sorted."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        passed = [n for n in names if not n.startswith(".") and ending(n) in (IMAGES | OTHERS) and not _wanted(n, read)]
        found += [Path(parent, name).relative_to(folder).as_posix() for name in passed]
    return sorted(found)


def say_not_read(names: Iterable[str], why: str = "") -> list[str]:
    """A note that counts files by their ending; none where there are none."""
    counts = Counter(ending(name) or "none" for name in names)
    listed = ", ".join(f"{n} with the ending {kind}" for kind, n in sorted(counts.items()))
    return [f"{sum(counts.values())} files were not read{why}: {listed}"] if counts else []
