"""The uniform readings of a row: what its columns can be when all of them were computed in one way.

What an undefined rate gets differs between programs, and each reading holds under all of these conventions:

- PREC where nothing is predicted: 0, 1, or left out. Left out, its mean lies between the other two; upper bounds hold
  with 0 and lower ones with 1, and both only grow slacker from there, as every bound increases in PREC.
- SEN, SPEC where there is nothing of the kind to find: 0, 1, or left out, by the same argument.
- DSC, IOU of two empty masks (reading `per-image-all`): 1, 0, or left out, the same for both. Such an image has ACC 1,
  so leaving it out of DSC alone only raises ACC. Nothing is said there of DSC, IOU or F1 beside SEN and PREC: there can
  be any number of images with DSC 1 and no SEN.

Not covered, and named among what would rescue a row: F1 left out as 0/0 where SEN counts, since then the columns are
means over different classes; DSC over the images with a lesion beside ACC over all.
"""

from __future__ import annotations

from dataclasses import dataclass

from usfm_bench.claims.bounds import OF_CLASSES, OF_COUNTS, OF_FOUND, harmonic
from usfm_bench.claims.checks import Bound, Check, Same


@dataclass(frozen=True)
class Reading:
    """One way to compute every column of a row, then averaged over any number of runs."""

    name: str
    title: str
    """As it stands behind "as"."""
    checks: tuple[Check, ...]
    shares: tuple[str, ...] = ()
    """Columns that are a count of cases over all cases."""
    one_table: bool = False
    """One run has one table of TP, FP, FN and TN for all columns."""


_WEIGHTED = (
    Same(
        ("SEN", "ACC"), "Weighted by cases, SEN adds up the right cases of all classes, over all cases, which is ACC."
    ),
    Bound(
        "F1",
        "at most",
        ("ACC", "PREC"),
        "the harmonic mean of ACC and PREC",
        harmonic,
        "Weighted SEN is ACC, and of any one class F1 is the harmonic mean of SEN and PREC, which is concave.",
        any_of=True,
    ),
)
_MICRO = (
    Same(
        ("ACC", "SEN", "PREC", "F1"),
        "In micro averages each error is one FP and one FN, so all are the share of right cases.",
    ),
    Bound(
        "SPEC",
        "at least",
        ("ACC",),
        "ACC",
        lambda accuracy: accuracy,
        "In micro averages of K classes it is 1 - (1 - ACC) / (K - 1), and K is at least 2.",
    ),
)
_MASKS = (
    Reading("per-image-lesions", "per-image means over images with a lesion", OF_COUNTS + OF_FOUND),
    Reading("per-image-all", "per-image means over all images", OF_COUNTS),
    Reading("pooled", "pooled pixels", OF_COUNTS + OF_FOUND, one_table=True),
    Reading("pooled-classes", "pooled pixels, mean of lesion and background", OF_COUNTS + OF_FOUND),
)
_LABELS = (
    Reading("macro", "macro averages", OF_CLASSES, ("ACC",)),
    Reading("weighted", "averages weighted by cases", _WEIGHTED + OF_CLASSES, ("ACC", "SEN")),
    Reading("micro", "micro averages", _MICRO, ("ACC", "SEN", "PREC", "F1")),
    Reading("one-class", "one class against the rest", OF_COUNTS + OF_FOUND, ("ACC",), one_table=True),
)
READINGS: dict[str, tuple[Reading, ...]] = {"masks": _MASKS, "labels": _LABELS}
"""By what the numbers were computed from, `Task.of`."""
AVERAGING: dict[str, dict[str, tuple[Reading, ...]]] = {
    of: {reading.name: (reading,) for reading in readings} for of, readings in READINGS.items()
}
"""What `averaging:` may say, and the readings that it leaves."""
AVERAGING["masks"]["per-image"] = _MASKS[:2]
AVERAGING["labels"]["binary"] = _LABELS[3:]
