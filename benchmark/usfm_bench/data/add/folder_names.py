"""What the names of folders and files seem to say: a side of a split, a class, a patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from usfm_bench.data.readers.patterns import SIDES

_ORDER = ("normal", "healthy", "control", "negative", "benign", "suspicious", "abnormal", "positive", "malignant")
_POSITIVE = {"malignant", "malign", "abnormal", "positive", "cancer", "carcinoma", "tumor", "tumour"} | {
    *("pathological", "pathology", "disease", "diseased", "sick", "lesion", "suspicious")
}
_CLASS_WORDS = {*_ORDER, *_POSITIVE, "cyst", "fibroadenoma", "other"}
_NUMBERED_CLASSES = {"", "class", "grade", "birads", "tirads", "stage", "type", "label", "category", "cat"}
_MOST_CLASSES, _LEAST_IMAGES = 50, 3
_MASK_WORDS = (
    "mask masks gt seg segs segmentation segmentations annotation annotations roi rois groundtruth maske masken "
    "máscara máscaras mascara mascaras masque masques maschera maschere contour contours label labels etiqueta "
    "etiquetas outlines"
)
_IMAGE_WORDS = (
    "image images img imgs bild bilder imagen imágenes imagenes imagem imagens immagine immagini picture pictures scan "
    "scans frame frames video videos"
)
_PART_WORDS = (
    "dataset datasets data fold folds split splits cross crossvalidation cv original originals raw processed "
    "preprocessed augmented augmentation output outputs result results backup tmp export png jpg dicom overlay "
    "overlays ground truth"
)
_MASKS, _IMAGES, _PARTS = ({*words.split()} for words in (_MASK_WORDS, _IMAGE_WORDS, _PART_WORDS))
_PATIENTS = (r"(?:^|/)([A-Za-z]*[_-]?\d+)[_-][^/]*$", r"(?:^|/)([A-Za-z]+\d+)[^/\d][^/]*$")


def folder_roles(parents: Sequence[tuple[str, ...]]) -> list[str]:
    """For each leading folder that all files have: `{split}`, `{label}`, `{patient}`, `{part0}`, or its one name."""
    columns = [[parts[i] for parts in parents] for i in range(min(map(len, parents), default=0))]
    labels = [i for i, names in enumerate(columns) if _looks_like_classes(names)]
    known = [i for i in labels if {*map(str.lower, columns[i])} & _CLASS_WORDS]
    label = next(iter(known or labels), None)
    roles: list[str] = []
    for i, names in enumerate(columns):
        distinct = set(names)
        if len(distinct) == 1 and not set(names[0]) & set("{}*"):
            roles.append(names[0])
        elif "{split}" not in roles and are_sides(distinct):
            roles.append("{split}")
        elif i == label:
            roles.append("{label}")
        elif "{patient}" not in roles and are_numbered(distinct):
            roles.append("{patient}")
        else:
            roles.append(f"{{part{i}}}")
    return roles


def is_no_class(name: str) -> bool:
    """Whether a folder's name says what its files are, or which part they are of, and not what they show.

    >>> [is_no_class(name) for name in ("images", "pocus_images", "cross_validation", "split0", "label 1", "benign")]
    [True, True, True, True, False, False]
    """
    if name.lower() in SIDES:
        return True
    words = re.findall(r"[^\W\d_]+", name.lower())
    if not words or words in (["label"], ["class"]):  # `label 1`
        return False
    loud = (_MASKS | _IMAGES | {"dataset", "datasets"}) - {"seg", "roi", "label", "contour", "scan", "frame", "video"}
    return bool({*words} & loud) or all(word in _MASKS | _IMAGES | _PARTS | SIDES.keys() for word in words)


def names_masks(name: str) -> bool:
    """Whether a word in a folder's or file's name says that masks are meant."""
    return bool({*re.findall(r"[^\W\d_]+", name.lower())} & _MASKS)


def names_images(name: str) -> bool:
    """Whether a word in a folder's or file's name says that images are meant."""
    return bool({*re.findall(r"[^\W\d_]+", name.lower())} & _IMAGES)


def are_known_classes(names: Collection[str]) -> bool:
    """Whether all names are words that classes are usually called by."""
    return {*map(str.lower, names)} <= _CLASS_WORDS


def are_sides(names: Collection[str]) -> bool:
    """Whether names such as train, val and test are those of at least two sides of a split, and nothing else."""
    return len({SIDES.get(name.lower()) for name in names} - {None}) > 1 and all(n.lower() in SIDES for n in names)


def _looks_like_classes(names: Sequence[str]) -> bool:
    counts = Counter(names)
    if not 2 <= len(counts) <= _MOST_CLASSES or are_sides(counts):
        return False
    if are_numbered(counts) or any(map(is_no_class, counts)):
        return False
    return {*map(str.lower, counts)} <= _CLASS_WORDS or len(names) >= _LEAST_IMAGES * len(counts)


def are_numbered(names: Collection[str]) -> bool:
    """Whether names are one word with numbers, as patients are (P01, P02); not so grade1 and grade2, or 0 to 9."""
    forms = {re.sub(r"\d+", "#", name) for name in names}
    if len(forms) != 1:
        return len(names) > 10 and sum(any(c.isdigit() for c in name) for name in names) >= 0.8 * len(names)
    form = forms.pop()
    word = re.sub(r"[^a-z]", "", form.lower())
    few = len(names) <= 10 and all(len(name) - len(form) < 1 for name in names)
    return "#" in form and not (few and word in _NUMBERED_CLASSES)


def order_classes(names: Collection[str]) -> tuple[str, ...]:
    """From normal to malignant where every name is known, else sorted."""
    if all(name.lower() in _ORDER for name in names):
        return tuple(sorted(names, key=lambda name: (_ORDER.index(name.lower()), name)))
    return tuple(sorted(names))


def positive_class(classes: Sequence[str]) -> str | None:
    """Of two classes the one that is malignant, abnormal or the like; None where neither is, or both."""
    found = [name for name in classes if name.lower() in _POSITIVE]
    return found[0] if len(classes) == 2 and len(found) == 1 else None


class PatientPattern(NamedTuple):
    """A regular expression that may find patients in paths."""

    expression: str
    example: str
    """What it finds in the first path."""
    patients: int


def suggest_patients(names: Sequence[str]) -> PatientPattern | None:
    """A pattern that finds something in every path and the same in some of them; a guess that a person must confirm."""
    for expression in _PATIENTS:
        found = [match[1] for name in names if (match := re.search(expression, name))]
        if len(found) == len(names) and 1 < len(set(found)) < len(names):
            return PatientPattern(expression, found[0], len(set(found)))
    return None
