"""What a reader yields: a case on disk, and the same case decoded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
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


@dataclass(frozen=True)
class Sample:
    """One decoded case at native size."""

    case: Case
    image: Image
    """(H, W) grey levels."""
    mask: Mask | None
    """(H, W), True on the lesion; all False where there is none; None where the data set has no masks."""
    spacing: Spacing | None = None
    """In millimetres; None where the data set does not say."""
    group_id: str = ""
    """Cases with one group id are never on two sides of a split. Set by `data.groups`."""
    pixel_hash: str = ""
    """`data.groups.pixel_hash` of the image."""
