"""Which layouts of outlines or arrays a folder could have, for `data add`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from usfm_bench.specs.task import Need

LAYOUTS = ("coco", "yolo", "labelme", "arrays", "ddti", "echonet")
"""Layouts that are found here, those that have an option `patient` first."""
_BESIDE = (".json", ".txt", ".yaml", ".yml", ".npz", ".npy")
_LARGEST = 512 << 20  # bytes of a JSON file that is looked into
_YOLO_LINE = re.compile(r"\d+(\s+-?[\d.]+(e-?\d+)?){4,}\s*", re.IGNORECASE)
_SEVERAL = 40  # files looked into, of each kind


class Reading(NamedTuple):
    """The fields of a `guess.Candidate`."""

    layout: str
    reason: str
    gives: tuple[Need, ...]
    options: dict[str, Any]


def readings(files: Mapping[str, Path]) -> Iterator[Reading]:
    """Every layout of outlines or arrays that the files could be, by path relative to their folder."""
    both: tuple[tuple[Need, ...], ...] = (("mask", "label"), ("mask",))
    found = [*_coco(files), *_yolo(files), *_labelme(files), *_published(files)]
    for layout, reason, options in found:
        for gives in both if layout in ("coco", "yolo", "labelme") else both[1:]:
            yield Reading(layout, reason, gives, options)
    if any(_is_array(name) for name in files):
        for kind in (*both, ("label",)):
            yield Reading("arrays", "arrays in files that end in .npz or .npy", kind, {})


def outline_files(files: Mapping[str, Path]) -> list[str]:
    """Files that such a layout reads beside images; none where no such layout is there."""
    if next(readings(files), None) is None:
        return []
    return [name for name in files if PurePosixPath(name).suffix.lower() in _BESIDE]


def _coco(files: Mapping[str, Path]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, content in _json(files):
        if not (isinstance(content, dict) and all(isinstance(content.get(k), list) for k in ("images", "annotations"))):
            continue
        images = [str(i.get("file_name", "")).replace("\\", "/") for i in content["images"] if isinstance(i, dict)]
        folder = _folder_of(images, files)
        yield "coco", f"'{name}' is a COCO file", {"annotations": name, "images": folder}


def _folder_of(images: list[str], files: Mapping[str, Path]) -> str:
    """The folder below which most of the file names lie."""
    names = set(images)
    votes: dict[str, int] = {}
    for file in files:
        parts = file.split("/")
        for i in range(len(parts)):
            if "/".join(parts[i:]) in names:
                folder = "/".join(parts[:i]) or "."
                votes[folder] = votes.get(folder, 0) + 1
    return max(votes, key=lambda folder: votes[folder], default="images")


def _yolo(files: Mapping[str, Path]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    labels = [n for n in _some(files, ".txt") if "labels" in PurePosixPath(n).parts[:-1]]
    lines = [line for name in labels for line in _head(files[name], 4096).decode("utf-8", "replace").splitlines()[:1]]
    if any("images" in PurePosixPath(n).parts[:-1] for n in files) and any(map(_YOLO_LINE.fullmatch, lines)):
        yield "yolo", "text files of YOLO's form in 'labels' beside 'images'", {}


def _labelme(files: Mapping[str, Path]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, content in _json(files):
        if isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content:
            yield "labelme", f"'{name}' and the like are labelme's", {}
            return


def _published(files: Mapping[str, Path]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    names = {PurePosixPath(name).name for name in files}
    if any(re.fullmatch(r"\d+\.xml", n) and re.search(rb"<mark>", _head(files[f])) for f in files if (n := _name(f))):
        yield "ddti", "DDTI's files (1.xml beside 1_1.jpg)", {}
    if {"FileList.csv", "VolumeTracings.csv"} <= names:
        yield "echonet", "EchoNet-Dynamic's lists (FileList.csv, VolumeTracings.csv)", {}


def _name(file: str) -> str:
    return PurePosixPath(file).name


def _json(files: Mapping[str, Path]) -> Iterator[tuple[str, Any]]:
    for name in _some(files, ".json"):
        try:
            if files[name].stat().st_size <= _LARGEST:
                yield name, json.loads(files[name].read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):  # the reader says what is wrong, where it is asked for
            continue


def _some(files: Mapping[str, Path], suffix: str) -> list[str]:
    return sorted((name for name in files if name.lower().endswith(suffix)), key=lambda n: (n.count("/"), n))[:_SEVERAL]


def _head(path: Path, size: int = 65536) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError:
        return b""


def _is_array(name: str) -> bool:
    return name.lower().endswith((".npz", ".npy"))
