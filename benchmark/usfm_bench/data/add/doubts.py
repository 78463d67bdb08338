"""What speaks against a reading, once its files are decoded: readings without sense are refused, and said why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from usfm_bench.core.words import percent
from usfm_bench.data.add.file_kinds import shown
from usfm_bench.data.add.folder_names import is_no_class
from usfm_bench.data.add.side_folders import sides_named
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.mask_likeness import cannot_be_lesion, is_mask, is_volume, read_levels, spread
from usfm_bench.data.sample import Image, Sample

_FEW_LEVELS, _MOST_CONTRADICTIONS, _LEAST_IN_CLASS = 16, 0.2, 3


def doubts(dataset: Dataset, unread: Sequence[str], pictures: dict[str, bool]) -> list[str]:
    """Why a reading cannot be meant, in words, each with what to do; empty where nothing speaks against it.

    Args:
        dataset: as it was read.
        unread: names of pictures that the reading explains by nothing.
        pictures: of those, whether each is a mask by its grey levels.
    """
    masked = [s for s in dataset.samples if s.mask is not None] if dataset.spec.needs("mask") else []
    return [
        *_of_images(dataset.samples),
        *(_of_masks(masked) if masked else ()),
        *_of_classes(dataset),
        *_of_twins(dataset.samples),
        *_of_sides(dataset, unread, pictures),
    ]


def contradicting(samples: Sequence[Sample]) -> dict[str, str]:
    """Case id -> reason, of the images whose pixels another image has under another label."""
    by_pixels: dict[str, list[Sample]] = {}
    for sample in samples:
        by_pixels.setdefault(sample.pixel_hash, []).append(sample)
    found = {}
    for twins in by_pixels.values():
        if len({s.case.label for s in twins} - {None}) > 1:
            for sample in twins:
                other = next(s for s in twins if s.case.label != sample.case.label)
                found[sample.case.case_id] = f"same pixels as {other.case.case_id}, with the contradictory label"
    return found


def _of_images(samples: Sequence[Sample]) -> list[str]:
    found = [s.case.case_id for s in samples if 1 < _levels(s.image) <= _FEW_LEVELS]
    if not found:
        return []
    return [
        f"{len(found)} of {len(samples)} images have {_FEW_LEVELS} grey levels at most, as masks have: {shown(found)}. "
        "Where they are masks, move them out of the folder, or name them under `masks` or `ignore` in an entry of your "
        "own."
    ]


def _levels(image: Image) -> int:
    return int(np.count_nonzero(np.bincount(image.ravel(), minlength=256)))


def _of_masks(masked: Sequence[Sample]) -> list[str]:
    paths = list(dict.fromkeys(path for sample in masked for path in sample.case.masks))
    readable = [path for path in spread(paths, 40) if not is_volume(path) and read_levels(path) is not None]
    tones = [path.name for path in readable if not is_mask(path)]
    lesions = [sample for sample in masked if sample.mask is not None and sample.mask.any()]
    inverted = [s.case.case_id for s in lesions if s.mask is not None and cannot_be_lesion(s.mask)]
    if 2 * len(tones) > len(readable):
        return [
            f"The mask files have tones of grey as pictures have ({shown(tones)}). Give masks of few levels; a picture "
            "with an outline drawn into it is no mask."
        ]
    if not lesions:
        return [
            "No mask shows a lesion: every one of them is empty. Say in an entry of your own which levels are the "
            "lesion (`values`)."
        ]
    if 2 * len(inverted) > len(lesions):
        share = np.median([s.mask.mean() for s in lesions if s.mask is not None])
        return [
            f"{len(inverted)} of {len(lesions)} masks cover most of their image and its edge "
            f"({percent(float(share))} of the image in the median; {shown(inverted)}): "
            "they are inverted, or mark everything but the lesion. Invert the "
            "files; or, where level 0 is the lesion, write an entry of your own with `values: {equals: [0]}`."
        ]
    return []


def _of_classes(dataset: Dataset) -> list[str]:
    if not dataset.spec.needs("label"):
        return []
    counts = Counter(s.case.label for s in dataset.samples)
    if strange := [name for name in dataset.classes if is_no_class(name)]:
        return [
            f"{shown(strange)}: such names say what files are or which part they are of, and are no classes. Give the "
            "folder whose subfolders are the classes, or a table with a column `label`."
        ]
    if len(counts) > 2 and 2 * len(counts) > len(dataset):
        return [
            f"{len(counts)} classes for {len(dataset)} images ({shown(list(dataset.classes))}): these are names of "
            "images or patients, and no classes. Give the column or the folders that say what the images show."
        ]
    groups = {name: {s.group_id for s in dataset.samples if s.case.label == name} for name in dataset.classes}
    few = [f"'{name}' ({counts[name]})" for name in dataset.classes if len(groups[name]) < _LEAST_IN_CLASS]
    if len(few) > 1 and not any(s.case.split for s in dataset.samples):
        return [
            f"classes {shown(few, 8)} have fewer than {_LEAST_IN_CLASS} groups (patients or near-duplicates), so that "
            "not every side of a split could have them. Add images, or move the folders of these classes away."
        ]
    return []


def _of_twins(samples: Sequence[Sample]) -> list[str]:
    found = contradicting(samples)
    if len(found) <= _MOST_CONTRADICTIONS * len(samples):
        return []
    first, reason = next(iter(found.items()))
    return [
        f"{len(found)} of {len(samples)} images lie under two labels with the same pixels, such as {first} ({reason}). "
        "Folders that hold copies of each other are no classes: give one of them."
    ]


def _of_sides(dataset: Dataset, unread: Sequence[str], pictures: dict[str, bool]) -> list[str]:
    """Sides of a split that are left over, or have no lesion at all."""
    read = sides_named({part for s in dataset.samples for part in PurePosixPath(s.case.case_id).parts[:-1]})
    left = [name for name in unread if sides_named(PurePosixPath(name).parts[:-1]) - read]
    if left and read:
        return [
            f"{len(left)} pictures in folders of other sides of the split ({shown(left)}) fit no image or mask of this "
            f"reading, which has {', '.join(sorted(read))} alone. Name all sides in one way (train_images, "
            "train_masks, test_images, ...), or move these folders away."
        ]
    others = [name for name in unread if not pictures[name]]
    if len(others) > len(dataset):
        return [
            f"{len(others)} pictures ({shown(others)}) are no image of this reading, which has {len(dataset)}. Give "
            "the folder that is meant, or name the files of all in one way."
        ]
    bare = _sides_without_lesion(dataset.samples) if dataset.spec.needs("mask") else []
    return [
        f"No image of side '{side}' has a mask with a lesion, while others have: these images are not annotated, and "
        "not empty. Move them away, or add their masks."
        for side in bare
    ]


def _sides_without_lesion(samples: Sequence[Sample]) -> list[str]:
    sides: dict[str, bool] = {}
    for sample in samples:
        if sample.case.split:
            sides[sample.case.split] = sides.get(sample.case.split, False) or bool(
                sample.mask is not None and sample.mask.any()
            )
    return [side for side, lesion in sides.items() if not lesion and any(sides.values())]
