"""Pairs of images and masks, found by what their names share and by the masks' few grey levels.

A mask differs from its image in one folder's name (`images/x`, `masks/x`; `x`, `masks/x`), in what stands before or
behind the name (`x`, `x_mask_1`), in both, or in the whole name (`P01/image`, `P01/mask`).
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from usfm_bench.data.add.folder_names import folder_roles
from usfm_bench.data.mask_likeness import are_masks, is_mask

_MOST_NAMES, _MOST_PAIRS = 40, 6
_TAIL = re.compile(r"(?P<rest>.*?)(?P<tail>[_\-. ]*[^\W\d_]+)(?P<count>[_-]?\d{1,3})?")
_HEAD = re.compile(r"(?P<head>[^\W\d_]+[_\-. ]*)(?P<rest>.+)")


class Affix(NamedTuple):
    """What stands around the part of a name that an image and its masks share."""

    before: str = ""
    behind: str = ""
    counted: bool = False
    """Whether a number may follow, as in `x_mask_1`."""

    def match(self, stem: str) -> str | None:
        """The shared part; empty where the name is nothing but the affix."""
        pattern = f"{re.escape(self.before)}(.*?){re.escape(self.behind)}" + r"(?:[_-]?\d{1,3})?" * self.counted
        found = re.fullmatch(pattern, stem)
        return found[1] if found else None


class Side(NamedTuple):
    """The images, or the masks, of a pair."""

    folder: str | None
    """Name at the pair's depth; None: there is no such folder."""
    affix: Affix


class FilePair(NamedTuple):
    """One reading of a folder: which files are images, and which their masks."""

    depth: int | None
    """Of the folder that differs; None where only file names differ."""
    image: Side
    mask: Side
    matched: int
    """Masks that have an image."""
    images: tuple[str, ...]
    masks: tuple[str, ...]
    """Names of the files, relative to the data set's folder."""


Split = tuple[int | None, str | None, str | None, Sequence[str], Sequence[str]]
"""Depth, folders of images and of masks, and the names of both."""


def find_pairs(files: Mapping[str, Path]) -> list[FilePair]:
    """The most likely readings, best first; none where no file looks like a mask."""
    pairs = [*_by_folder(files), *_by_name(files)]
    ranked = sorted(pairs, key=lambda pair: -pair.matched)
    return [pair for pair in ranked if 2 * pair.matched >= len(pair.masks)][:_MOST_PAIRS]


def patterns(pair: FilePair) -> tuple[str, str]:
    """The patterns of the layout `masks` for images and for their masks."""
    parents = [_without(PurePosixPath(name).parts[:-1], pair.depth) for name in pair.images]
    roles = folder_roles(parents)
    whole = all(pair.image.affix.match(stem_of(name)) == "" for name in pair.images)
    if whole:  # P01/image.png: the last folder is what pairs
        roles = [*roles[:-1], "{id}"]
    return (
        _pattern(pair, pair.image, roles, pair.images, whole),
        _pattern(pair, pair.mask, roles, pair.masks, whole),
    )


def ending(names: Sequence[str]) -> str:
    """The one ending of all files, or `.*`."""
    found = {PurePosixPath(name).name[len(stem_of(name)) :].lower() for name in names}
    return found.pop() if len(found) == 1 else ".*"


def stem_of(name: str) -> str:
    """The file's name without its ending, which may be `.nii.gz`."""
    path = PurePosixPath(name)
    return PurePosixPath(path.stem).stem if path.name.lower().endswith(".nii.gz") else path.stem


def other_masks(files: Mapping[str, Path], pair: FilePair) -> dict[str, list[str]]:
    """Files that would be images but look like masks and are named like an image and a word, by that word.

    `case1_other2.png` beside `case1.png` is a mask of something, and never an image without a lesion. The words are
    those of file name patterns: `_other*`.
    """
    stems = {(PurePosixPath(name).parent, stem_of(name)) for name in pair.images}
    found: dict[str, list[str]] = defaultdict(list)
    for name in pair.images:
        folder, stem = PurePosixPath(name).parent, stem_of(name)
        starts = (stem[:i] for i in range(len(stem) - 1, 0, -1) if not (stem[i].isdigit() and stem[i - 1].isdigit()))
        start = next((start for start in starts if (folder, start) in stems), None)
        if start is not None and is_mask(files[name]):
            word = stem.removeprefix(start)
            found[re.sub(r"\d+$", "", word) + "*" * word[-1].isdigit()].append(name)
    return dict(found)


def _pattern(pair: FilePair, side: Side, roles: Sequence[str], names: Sequence[str], whole: bool) -> str:
    folders = list(roles)
    if pair.depth is not None:
        folders = folders[: pair.depth]
        folders += ([side.folder] if side.folder is not None else []) + list(roles[pair.depth :])
    stem = f"{side.affix.before}{'' if whole else '{id}'}{side.affix.behind}{'*' * side.affix.counted}"
    return "/".join([*folders, stem + ending(names)])


def _without(parts: tuple[str, ...], depth: int | None) -> tuple[str, ...]:
    return parts if depth is None else parts[:depth] + parts[depth + 1 :]


def _by_folder(files: Mapping[str, Path]) -> Iterator[FilePair]:
    """Two folders beside each other, or one within the other, at one depth."""
    parts = {name: PurePosixPath(name).parts[:-1] for name in files}
    for depth in range(max(map(len, parts.values()), default=0)):
        by_name: dict[str | None, list[str]] = defaultdict(list)
        for name, folders in parts.items():
            by_name[folders[depth] if len(folders) > depth else None].append(name)
        if not 2 <= len(by_name) <= _MOST_NAMES:
            continue
        masks = {key: are_masks([files[n] for n in names]) for key, names in by_name.items()}
        for mask in (key for key, yes in masks.items() if yes and key is not None):
            for image in (key for key, yes in masks.items() if not yes):
                if pair := _match((depth, image, mask, by_name[image], by_name[mask])):
                    yield pair


def _by_name(files: Mapping[str, Path]) -> Iterator[FilePair]:
    """Files of one folder that differ in a word at the end or the beginning of their names."""
    stems = {name: stem_of(name) for name in files}
    affixes = [affix for affix in _words(list(stems.values())) if affix.before or affix.behind]
    having = {affix: [n for n in files if affix.match(stems[n]) is not None] for affix in affixes}
    masks = [affix for affix in affixes if are_masks([files[n] for n in having[affix]])]
    for mask in masks:
        taken = set(having[mask])
        rest = [name for name in files if name not in taken]
        for image in (Affix(), *(affix for affix in affixes if affix not in masks)):
            names = [n for n in rest if image == Affix() or image.match(stems[n]) is not None]
            if names and not are_masks([files[n] for n in names]):
                pair = _pair((None, None, None, names, having[mask]), image, mask)
                if pair.matched:
                    yield pair


def _words(stems: Sequence[str]) -> list[Affix]:
    """Frequent words at the ends and at the beginnings of names."""
    counts: Counter[Affix] = Counter()
    counted: set[Affix] = set()
    for stem in stems:
        if found := _TAIL.fullmatch(stem):
            counts[Affix(behind=found["tail"])] += 1
            counted |= {Affix(behind=found["tail"])} if found["count"] else set()
        if found := _HEAD.fullmatch(stem):
            counts[Affix(before=found["head"])] += 1
    frequent = [affix for affix, n in counts.most_common(_MOST_NAMES) if n > 1]
    return frequent + [affix._replace(counted=True) for affix in frequent if affix in counted]


def _match(split: Split) -> FilePair | None:
    """The affixes with which most masks of one folder have an image in the other; the simplest of several."""
    stems = [[stem_of(name) for name in names] for names in split[3:]]
    best = None
    for mask in _common(stems[1], counted=True):
        for image in _common(stems[0], counted=False):
            pair = _pair(split, image, mask)
            if pair.matched > (best.matched if best else 0):
                best = pair
    return best


def _pair(split: Split, image: Affix, mask: Affix) -> FilePair:
    depth, image_folder, mask_folder, images, masks = split
    keys = set(filter(None, map(_key_of(image, depth if image_folder is not None else None), images)))
    found = list(map(_key_of(mask, depth if mask_folder is not None else None), masks))
    matched = sum(key in keys for key in found)
    return FilePair(depth, Side(image_folder, image), Side(mask_folder, mask), matched, tuple(images), tuple(masks))


def _key_of(affix: Affix, depth: int | None) -> Callable[[str], tuple[tuple[str, ...], str] | None]:
    def key(name: str) -> tuple[tuple[str, ...], str] | None:
        path = PurePosixPath(name)
        shared = affix.match(stem_of(name))
        return None if shared is None else (_without(path.parts[:-1], depth), shared)

    return key


def _common(stems: Sequence[str], *, counted: bool) -> list[Affix]:
    """Nothing; then what all names begin or end with, digits excepted; then the same with a number behind."""
    before = re.sub(r"\d+$", "", _shared_start(stems))
    behind = re.sub(r"^\d+", "", _shared_start([stem[::-1] for stem in stems])[::-1])
    found = [Affix(), Affix(before), Affix("", behind), Affix(before, behind)]
    if counted:
        for number in (r"[_-]\d{1,3}$", r"\d{1,3}$"):
            bare = [re.sub(number, "", stem)[::-1] for stem in stems]
            behind = _shared_start(bare)[::-1].lstrip("0123456789")
            found += [Affix(b, behind, counted=True) for b in ("", before) if behind]
    shortest = min(map(len, stems), default=0)
    return [affix for affix in dict.fromkeys(found) if len(affix.before) + len(affix.behind) < shortest]


def _shared_start(names: Sequence[str]) -> str:
    return os.path.commonprefix(list(names))  # noqa: RUF071 - of names, not of paths
