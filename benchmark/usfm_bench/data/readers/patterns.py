"""File name patterns: `Images/bus_{id}.png`, `{split}/mask/{id}_*.png`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from usfm_bench.data.sample import Side

SIDES: dict[str, Side] = {
    **dict.fromkeys(("train", "training", "train_set", "training_set", "trainval", "tr", "entrenamiento"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "val_set", "validation_set", "validierung", "validación"), "val"),
    **dict.fromkeys(("test", "testing", "test_set", "testing_set", "ts", "prueba"), "test"),
}
"""What `{split}` may stand for, in lower case."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression for paths relative to the data set's folder, with `/` between parts.

    `{id}` stands for anything, folders included, as short as it can be; any other `{name}` and `*` for anything within
    one part. A placeholder that comes twice is the same both times. The ending is matched in any case, and `.*` at the
    end is any ending.

    >>> compile_pattern("Masks/mask_{id}.png").fullmatch("Masks/mask_0001-l.PNG").groupdict()
    {'id': '0001-l'}
    """
    stem, dot, ending = pattern.rpartition(".")
    if not dot or "/" in ending or "{" in ending:
        stem, dot, ending = pattern, "", ""
    tail = r"\.[^./]+" if dot and ending == "*" else f"(?i:{re.escape(dot + ending)})"
    seen: set[str] = set()
    return re.compile("".join(_part(part, seen) for part in re.split(r"(\{\w+\}|\*)", stem)) + tail)


def _part(part: str, seen: set[str]) -> str:
    if part == "*":
        return "[^/]*"
    if not re.fullmatch(r"\{[^\W\d]\w*\}", part):
        return re.escape(part)
    name = part[1:-1]
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>{'.+?' if name == 'id' else '[^/]+?'})"


Key = frozenset[tuple[str, str]]
Found = tuple[str, dict[str, str]]


def sort_names(
    names: Sequence[str],
    image: re.Pattern[str],
    masks: Sequence[re.Pattern[str]],
    ignore: Sequence[re.Pattern[str]] = (),
) -> tuple[list[Found], dict[int, dict[Key, list[str]]]]:
    """Which files are images, with what their placeholders stand for, and which are masks, by pattern and key."""
    images: list[Found] = []
    found: dict[int, dict[Key, list[str]]] = {i: {} for i in range(len(masks))}
    for name in names:
        if any(pattern.fullmatch(name) for pattern in ignore):
            continue
        matches = ((i, match) for i, pattern in enumerate(masks) if (match := pattern.fullmatch(name)))
        if mask := next(matches, None):
            key = shared_key(mask[1].groupdict(), image, masks[mask[0]])
            found[mask[0]].setdefault(key, []).append(name)
        elif match := image.fullmatch(name):
            images.append((name, match.groupdict()))
    return images, found


def shared_key(values: Mapping[str, str], image: re.Pattern[str], mask: re.Pattern[str]) -> Key:
    """The placeholders that both patterns have, with their values: what an image and its masks agree in."""
    return frozenset((name, values[name]) for name in image.groupindex.keys() & mask.groupindex.keys())
