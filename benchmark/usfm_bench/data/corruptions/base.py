"""What a corruption is, and how one is applied."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from usfm_bench.core.errors import BenchError
from usfm_bench.core.registry import Registry
from usfm_bench.data.sample import Image, Masks, Sample

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Corruption:
    """One thing that may go wrong with an image, in five severities."""

    title: str
    """What it is, for tables."""
    imitates: str
    """What it stands for at the bedside, and what each severity is, with units."""
    source: str
    """Paper or code that it follows; or that it is this project's own."""
    apply: Callable[[Image, int, np.random.Generator], Image]
    """Of an image (H, W) uint8, a severity from 1 (mild) to 5 (severe), and the only source of chance: a new image of
    the same shape and type. The image that is passed must not be changed."""
    version: int = 1
    """Raised when parameters or pixels change."""
    moves: bool = False
    """Whether it moves what the image shows: masks then go the same way, as images of 0 and 255."""
    group: str = "ultrasound"
    """`ultrasound`, or the publication that a set of corruptions belongs to."""


CORRUPTIONS: Registry[Corruption] = Registry("corruption", home="usfm_bench.data.corruptions")
"""Name -> corruption."""


def corrupt(image: Image, name: str, severity: int, rng: np.random.Generator) -> Image:
    """The image as a corruption leaves it.

    Args:
        image: (H, W) uint8; is not changed.
        name: a name of `CORRUPTIONS`.
        severity: 1 to 5.
        rng: the only source of chance.

    Returns:
        (H, W) uint8.

    Raises:
        BenchError: no such corruption or severity, or one that gives no such image.
    """
    corruption = CORRUPTIONS[name]
    if severity not in SEVERITIES:
        raise BenchError(f"Severity {severity} of corruption '{name}': expected 1, 2, 3, 4 or 5.")
    changed = corruption.apply(image.copy(), severity, rng)
    if not isinstance(changed, np.ndarray) or changed.shape != image.shape or changed.dtype != np.uint8:
        raise BenchError(
            f"Corruption '{name}' gave {_in_words(changed)} for an image of {_in_words(image)}; it must keep both."
        )
    return changed


def corrupt_sample(sample: Sample, name: str, severity: int) -> Sample:
    """A case under a corruption, with the masks where the image went.

    Chance comes from the case and the corruption alone: all models see the same pixels, and severities differ in
    strength, not in their draw.
    """

    def changed(image: Image) -> Image:
        return corrupt(image, name, severity, case_generator(sample.case.case_id, name))

    def moved(mask: Masks) -> Masks:
        return changed(np.where(mask, 255, 0).astype(np.uint8)) >= 128

    if not CORRUPTIONS[name].moves or sample.mask is None:
        return replace(sample, image=changed(sample.image))
    structures = None if sample.structures is None else np.stack([moved(mask) for mask in sample.structures])
    mask = moved(sample.mask) if structures is None else np.asarray(structures.any(axis=0))
    return replace(sample, image=changed(sample.image), mask=mask, structures=structures)


def case_generator(case_id: str, name: str) -> np.random.Generator:
    """The chance of a case under a corruption."""
    digest = hashlib.sha256(f"{name}\0{case_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def chosen(names: Sequence[str]) -> list[str]:
    """Names of corruptions for what a user asks: names, groups of them, or `all`; each once, in the order asked.

    Raises:
        BenchError: unknown ones, all at once.
    """
    groups: dict[str, list[str]] = {"all": list(CORRUPTIONS)}
    for name in CORRUPTIONS:
        groups.setdefault(CORRUPTIONS[name].group, []).append(name)
    faults, found = [], []
    for asked in names:
        try:
            found += groups[asked] if asked in groups else [asked] if CORRUPTIONS[asked] else []
        except BenchError as error:
            faults.append(f"{error} Groups: {', '.join(sorted(groups))}.")
    if faults:
        raise BenchError("\n".join(faults))
    return list(dict.fromkeys(found))


def _in_words(image: object) -> str:
    if not isinstance(image, np.ndarray):
        return f"a {type(image).__name__}"
    return f"{' x '.join(map(str, image.shape))} px in {image.dtype}"
