"""What a reader yields: a case on disk, and the same case decoded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Masks = NDArray[np.bool_]
"""(K, H, W): one mask a structure."""
Side = Literal["train", "val", "test"]


class Spacing(NamedTuple):
    """Distance between pixel centres in millimetres, down the rows and along the columns."""

    y: float
    x: float


@dataclass(frozen=True)
class Case:
    """One image of a data set, not yet decoded."""

    case_id: str
    """Unique in the data set and stable between copies of it, such as `benign (1)`."""
    label: str | None = None
    """One of the data set's classes; None where the data set has no labels."""
    image: Path | None = None
    """Image file; None for simulated cases."""
    masks: tuple[Path, ...] = ()
    """Mask files, united into one; empty where the data set has no masks."""
    index: int = 0
    """Position in a simulated data set."""
    patient: str | None = None
    """Patient or examination; cases that share one are never split."""
    organ: str | None = None
    """Organ of this case, where a data set has several."""
    stratum: str | None = None
    """Class on disk, where `label` is what the entry makes of it; splits keep its share on every side."""
    split: Side | None = None
    """Side of the split that the data set itself prescribes; None where it prescribes none."""


class Pixels(ABC):
    """Images and masks of a case that are made or read whenever they are asked for, and not kept."""

    shape: tuple[int, int]
    """(H, W)."""

    @property
    @abstractmethod
    def n_masks(self) -> int:
        """As `Sample.n_masks`; so are those below."""

    @property
    @abstractmethod
    def image(self) -> Image:
        """(H, W) grey levels."""

    @property
    @abstractmethod
    def packed(self) -> bytes | None:
        """`Sample.each` at one bit a pixel."""

    @property
    @abstractmethod
    def structures(self) -> Masks | None:
        """(K, H, W)."""

    @property
    @abstractmethod
    def mask(self) -> Mask | None:
        """(H, W)."""

    @property
    @abstractmethod
    def good(self) -> Image | None:
        """(H, W) grey levels of higher quality."""


@dataclass(frozen=True)
class Sample:
    """One decoded case at native size.

    Its pixels are arrays, or where it comes from `sample_from` made anew whenever they are asked for.
    """

    case: Case
    image: Image
    """(H, W) grey levels."""
    mask: Mask | None
    """(H, W), True on the lesion; all False where there is none; None where the data set has no masks. Of several
    structures: where any of them is."""
    spacing: Spacing | None = None
    """In millimetres; None where the data set does not say."""
    group_id: str = ""
    """Cases with one group id are never on two sides of a split. Set by `data.groups`."""
    pixel_hash: str = ""
    """`data.groups.pixel_hash` of the image."""
    structures: Masks | None = None
    """(K, H, W), True on each of the entry's `structures`, which may overlap; None where it names none."""
    good: Image | None = None
    """(H, W) grey levels of the same view in higher quality, pixel by pixel; None where the data set has no pairs."""

    @property
    def each(self) -> Masks | None:
        """(K, H, W), the mask of each structure, or the one mask; None where the data set has no masks."""
        structures = self.structures
        if structures is not None:
            return structures
        mask = self.mask
        return None if mask is None else mask[None]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image, which is not read for it."""
        height, width = self.__dict__["image"].shape
        return height, width

    @property
    def n_masks(self) -> int:
        """How many masks the case has, one or one a structure; 0 where the data set has none."""
        pixels = self.__dict__["image"]
        if isinstance(pixels, Pixels):
            return pixels.n_masks
        return 0 if self.each is None else len(self.each)

    @property
    def packed(self) -> bytes | None:
        """`each` at one bit a pixel, as `np.packbits` gives it; None where the data set has no masks."""
        pixels = self.__dict__["image"]
        if isinstance(pixels, Pixels):
            return pixels.packed
        each = self.each
        return None if each is None else np.packbits(each).tobytes()


class _MadeWhenAsked:
    """A field of `Sample` that may hold `Pixels`, whose attribute of the same name is then its value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, sample: Sample, owner: type[Sample]) -> Any:
        value = sample.__dict__[self._name]
        return getattr(value, self._name) if isinstance(value, Pixels) else value

    def __set__(self, sample: Sample, value: Any) -> None:
        sample.__dict__[self._name] = value


for _name in ("image", "mask", "structures", "good"):
    setattr(Sample, _name, _MadeWhenAsked(_name))


def sample_from(case: Case, pixels: Pixels, spacing: Spacing | None = None, pixel_hash: str = "") -> Sample:
    """A sample whose pixels are made when they are asked for."""
    made: Any = pixels
    return Sample(case, made, made, spacing, pixel_hash=pixel_hash, structures=made, good=made)


def retold(sample: Sample, **facts: Any) -> Sample:
    """The same pixels, which are not read, with another case, spacing, group id or pixel hash."""
    other = copy(sample)
    other.__dict__.update(facts)
    return other


def binary_digits(masks: Masks) -> NDArray[Any]:
    """(K, H, W) masks, which may overlap -> (H, W) levels with the binary digit k where mask k is, of 8 or 16 bits."""
    digits = np.array([1 << k for k in range(len(masks))], np.uint8 if len(masks) <= 8 else np.uint16)
    levels: NDArray[Any] = (masks * digits[:, None, None]).sum(axis=0, dtype=digits.dtype)
    return levels


def sample_of(case: Case, image: Image, mask: Mask | Masks | None, spacing: Spacing | None = None) -> Sample:
    """A sample from one mask (H, W), or from one of each structure, (K, H, W)."""
    if mask is None or mask.ndim == 2:
        return Sample(case, image, mask, spacing)
    return Sample(case, image, np.asarray(mask.any(axis=0)), spacing, structures=mask)
