"""What `data audit` finds, as plain facts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CasePair:
    """Two images that are the same, or nearly."""

    first: str
    second: str
    """Case ids; with `--against`, `second` is a case of the other data set."""
    labels: tuple[str | None, str | None]
    exact: bool
    """Equal decoded pixels."""
    correlation: float
    """On the 64 x 64 grid."""
    bits: int
    """Bits in which the perceptual hashes differ, of 63."""
    mirrored: bool
    """One is like the other with left and right exchanged."""
    grouped: bool
    """No split can part the two: they are in one group."""
    left_out: bool
    """The registry entry leaves out at least one of them."""


@dataclass(frozen=True)
class SplitCheck:
    """What lies on two sides of one kind of split, which is nothing where all is well."""

    name: str
    shared_groups: int | None
    """Groups on two sides of a fold, over all folds; None where no split can be drawn."""
    parted_pairs: int | None
    """Near or exact duplicates on two sides of a fold, over all folds."""
    note: str = ""
    """Why no split can be drawn."""
    twins: int | None = None
    """Test cases with a case of their group in training, over all folds."""
    tested: int | None = None
    """Test cases, over all folds."""


@dataclass(frozen=True)
class Overlap:
    """Images that two data sets share."""

    other: str
    images: int
    """Number of images of the other data set."""
    pairs: tuple[CasePair, ...]
    leaks: bool
    """Exact pairs, or near ones between data sets of real images."""


@dataclass(frozen=True)
class ClassCount:
    """How much of the data set is of one class; cases that are left out are not counted."""

    label: str
    images: int
    groups: int
    burned_in: int
    """Images with drawn-in text or calipers, by the rule of `data.burned_in`."""


@dataclass(frozen=True)
class Lesions:
    """Sizes of the masks; cases that are left out are not counted."""

    masks: int
    empty: int
    """Masks without a lesion."""
    full: int
    """Masks that cover the whole image."""
    at_border: int
    """Lesions that touch the edge of their image."""
    quantiles: tuple[float, ...]
    """Which quantiles the sizes below are."""
    area_px: tuple[float, ...]
    """Areas in pixels; empty where there is no lesion."""
    area_share: tuple[float, ...]
    """Areas as shares of the image."""
    area_mm2: tuple[float, ...]
    """Areas in square millimetres, of the lesions whose pixel spacing is known; empty where none is."""


@dataclass(frozen=True)
class Audit:
    """All findings about one data set."""

    dataset: str
    version: int
    content_hash: str
    images: int
    """Images found."""
    left_out: dict[str, str]
    """Case id to reason."""
    pairs: tuple[CasePair, ...]
    """Exact and near duplicates."""
    near_groups: tuple[tuple[str, ...], ...]
    """Case ids of each connected component of pairs."""
    splits: tuple[SplitCheck, ...]
    overlaps: tuple[Overlap, ...]
    classes: tuple[ClassCount, ...]
    lesions: Lesions | None
    """None where no image has a mask."""
    burned_in: tuple[str, ...]
    """Case ids with drawn-in text or calipers, by the rule of `data.burned_in`."""
    synthetic: bool

    @property
    def contradictions(self) -> list[CasePair]:
        """Duplicates, exact or near, with different labels."""
        return [pair for pair in self.pairs if len({label for label in pair.labels if label is not None}) > 1]

    @property
    def loose(self) -> list[CasePair]:
        """Duplicates that a split could part: in different groups, and neither is left out."""
        return [pair for pair in self.pairs if not pair.grouped and not pair.left_out]

    @property
    def leaks(self) -> list[str]:
        """In words, what `--fail-on leak` fails on; simulated images are drawn independently, however alike."""
        found = []
        if self.loose and not self.synthetic:
            found.append(f"{len(self.loose)} pairs of duplicates are not in one group: a split can part them")
        found += [f"{s.shared_groups} groups on two sides of the {s.name}" for s in self.splits if s.shared_groups]
        return found + [f"{len(o.pairs)} pairs of images shared with '{o.other}'" for o in self.overlaps if o.leaks]
