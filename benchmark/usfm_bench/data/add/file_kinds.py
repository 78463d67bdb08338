"""What lies beside the pictures, by kind, and what can be done with each kind that is not read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

_COMPANIONS = (".raw", ".zraw")  # the pixels of an .mhd file
_VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".wmv", ".mpg", ".mpeg", ".m4v", ".webm", ".gif")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_ADVICE: dict[tuple[str, ...], str] = {
    _VIDEOS: "are videos, and pictures are read: write frames as PNG files whose names begin with the video's name, "
    "and give that part of the name with --patient, so that no video is on two sides of a split",
    (".npy", ".npz"): "are arrays: write them as PNG files, or see `--layout` for what reads them",
    (".mat",): "are MATLAB files: write the pictures as PNG files",
    (".h5", ".hdf5"): "are HDF5 files: write the pictures as PNG files",
    (".nrrd", ".img", ".hdr"): "are volumes of a format that is not read: write them as NIfTI, MetaImage or PNG",
    _ARCHIVES: "are archives: unpack them first (`data add` unpacks a .zip that it is given)",
    (".webp", ".jfif", ".heic", ".jp2"): "are pictures of a format that is not read: write them as PNG",
    (".xls", ".ods"): "are workbooks: save the first sheet as .xlsx or CSV",
}
_LARGEST = 64 * 2**20
_SHOWN = 3


def shown(names: Sequence[str], most: int = _SHOWN) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def by_kind(names: Iterable[str]) -> dict[str, str]:
    """Ending -> number of files and the first of their names; the most frequent ending first."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        ending = _ending(name)
        if ending not in _COMPANIONS:
            found[ending or "without an ending"].append(name)
    return {kind: f"{len(them)}: {shown(them)}" for kind, them in sorted(found.items(), key=lambda kv: -len(kv[1]))}


def advise(files: Mapping[str, Path]) -> list[str]:
    """What each kind of file that is not read is, in words, and what to do with it.

    Args:
        files: names and paths of files that are neither pictures nor tables that are read.
    """
    lines = []
    for endings, advice in _ADVICE.items():
        if names := sorted(name for name in files if _ending(name) in endings):
            lines.append(f"{len(names)} files ({shown(names)}) {advice}.")
    return lines + _annotations(files)


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


def _annotations(files: Mapping[str, Path]) -> list[str]:
    """Outlines and lists of annotation tools, each format once."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in sorted(files.items()):
        if words := _FORMATS.get(_ending(name), lambda _: None)(path):
            found[words].append(name)
    return [f"{shown(names)}: {words}" for words, names in found.items()]


def _json(path: Path) -> str | None:
    content = _loaded(path)
    if isinstance(content, list):
        content = content[0] if content and isinstance(content[0], dict) else {}
        keys = {str(key).lower() for key in content}
        return _sides(keys) if keys & {"split", "set", "subset", "side"} else None
    if not isinstance(content, dict):
        return None
    keys = set(content)
    for needed, words in _JSON_KEYS:
        if needed <= keys:
            return words
    regions = [value for value in list(content.values())[:3] if isinstance(value, dict) and "regions" in value]
    return _VIA if regions else None


def _sides(keys: Iterable[str]) -> str:
    return (
        f"a list in JSON with {', '.join(sorted(keys))}, which is not read. If it prescribes a split, write it as a "
        "CSV file with columns case_id (a picture's path) and split (train, val, test) into the folder, and add "
        "`split: {kind: file, file: NAME.csv}` to the entry."
    )


_CONVERT = "Export it as COCO or as mask images, which are read."
_COCO = "outlines in COCO's format: see layout `coco` (docs/layouts.md, 'Outlines')."
_VIA = f"outlines of the VGG Image Annotator (VIA). {_CONVERT}"
_JSON_KEYS: list[tuple[set[str], str]] = [
    ({"images", "annotations"}, _COCO),
    ({"_via_img_metadata"}, _VIA),
    ({"shapes", "imagePath"}, "outlines of labelme: see `--layout labelme`, or write masks with labelme's own tool."),
    ({"objects", "size"}, f"outlines of Supervisely. {_CONVERT}"),
    ({"classes", "projectType"}, f"the classes of a Supervisely project. {_CONVERT}"),
    ({"info", "categories", "items"}, f"outlines of Datumaro. {_CONVERT}"),
]


def _xml(path: Path) -> str | None:
    head = _head(path)
    if "<annotations" in head and ("<version" in head or "<image" in head):
        return f"outlines of CVAT. {_CONVERT}"
    if "<annotation" in head and "<filename" in head:
        return "boxes in Pascal VOC's format: boxes are no masks, and are not read."
    return None


def _text(path: Path) -> str | None:
    rows = [line.split() for line in _head(path).splitlines()[:3] if line.strip()]
    numbers = rows and all(len(row) >= 5 and row[0].isdigit() and all(map(_is_share, row[1:])) for row in rows)
    if not numbers:
        return None
    if all(len(row) == 5 for row in rows):
        return "boxes in YOLO's format: boxes are no masks, and are not read."
    return "outlines in YOLO's format: see `--layout yolo`, or export them as COCO or as mask images."


_FORMATS = {".json": _json, ".xml": _xml, ".txt": _text}


def _is_share(text: str) -> bool:
    try:
        return -0.5 <= float(text) <= 1.5
    except ValueError:
        return False


def _loaded(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes()) if path.stat().st_size <= _LARGEST else None
    except (OSError, ValueError, RecursionError):
        return None


def _head(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(4096).decode("utf-8", "replace")
    except OSError:
        return ""
