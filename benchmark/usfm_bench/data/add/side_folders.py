"""Folders whose names hold the side of a split and something else: `train_images`, `masks-val`, `labelsTr`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from usfm_bench.data.readers.patterns import SIDES

_WORDS = "|".join(sorted(map(re.escape, SIDES), key=len, reverse=True))
_BEFORE = re.compile(rf"(?P<side>{_WORDS})(?P<gap>[_\-. ]*)(?P<rest>.*[^\W\d_].*)", re.IGNORECASE)
_BEHIND = re.compile(rf"(?P<rest>.*[^\W\d_].*?)(?P<gap>[_\-. ]*)(?P<side>{_WORDS})", re.IGNORECASE)


class Parted(NamedTuple):
    """One folder's name in its two parts, as they stand."""

    side_first: bool
    gap: str
    parts: tuple[str, str]

    @property
    def side(self) -> str:
        """The side as it is written."""
        return self.parts[0 if self.side_first else 1]


@dataclass(frozen=True)
class View:
    """Files as if each such folder were two, one within the other."""

    names: dict[str, str]
    """Name in the view -> name on disk."""
    depth: int | None = None
    """Of the folder that is two in the view; None where none is."""
    gap: str = ""
    """What stands between the two parts."""

    def on_disk(self, pattern: str) -> str:
        """A pattern for names in the view, as a pattern for names on disk."""
        if self.depth is None:
            return pattern
        parts = pattern.split("/")
        parts[self.depth : self.depth + 2] = [self.gap.join(parts[self.depth : self.depth + 2])]
        return "/".join(parts)

    def files(self, on_disk: Mapping[str, Path]) -> dict[str, Path]:
        """The files by their names in the view."""
        return {name: on_disk[real] for name, real in self.names.items()}


def view_sides(names: Sequence[str]) -> View:
    """The view that shows sides as folders of their own; where there are none, of the names as they are."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    for depth in range(min(map(len, folders), default=0)):
        parted = {parts[depth]: part_side(parts[depth]) for parts in folders}
        found = [part for part in parted.values() if part is not None]
        forms = {(part.side_first, part.gap) for part in found}
        if len(found) == len(parted) and len(forms) == 1 and len({SIDES[p.side.lower()] for p in found}) > 1:
            parts = {key: part.parts for key, part in parted.items() if part is not None}
            return View({_inserted(name, depth, parts): name for name in names}, depth, found[0].gap)
    return View({name: name for name in names})


def part_side(folder: str) -> Parted | None:
    """The parts of a name such as `train_images` or `imagesTr`; None where it names no side, or nothing else."""
    if folder.lower() in SIDES:
        return None
    for side_first, pattern in ((True, _BEFORE), (False, _BEHIND)):
        if (found := pattern.fullmatch(folder)) and _is_word(found, side_first=side_first):
            names = (found["side"], found["rest"]) if side_first else (found["rest"], found["side"])
            return Parted(side_first, found["gap"], names)
    return None


def sides_named(folders: Iterable[str]) -> set[str]:
    """Which sides the names of folders speak of: `train`, `val`, `test`."""
    found = (SIDES.get(name.lower()) or ((part := part_side(name)) and SIDES[part.side.lower()]) for name in folders)
    return {side for side in found if side}


def _is_word(found: re.Match[str], *, side_first: bool) -> bool:
    """Whether the side is a word of its own, by a gap or by a capital: `imagesTr`, but not `strain` or `tracheal`."""
    if found["gap"]:
        return True
    return (found["rest"] if side_first else found["side"])[0].isupper()


def _inserted(name: str, depth: int, parts: Mapping[str, tuple[str, str]]) -> str:
    folders = PurePosixPath(name).parts
    return "/".join([*folders[:depth], *parts[folders[depth]], *folders[depth + 1 :]])
