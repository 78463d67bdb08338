"""Inequalities between averaged rates, and why they hold.

TP, FP, FN, TN count one *unit*: an image, a run, or a class in a run. ACC, IOU, ... are of that unit. Each inequality
holds for a unit, and averaging keeps it, since what bounds from below is linear or convex and what bounds from above
is linear or concave (Jensen). So it holds for means over images, classes, runs and folds, nested and weighted at will.

- ACC >= IOU: (TP + TN) / all >= TP / (all - TN), since TN more in both terms of a fraction raises it.
- IOU = DSC / (2 - DSC), convex in DSC, so mean IOU >= the curve at mean DSC. 2 - DSC >= 1, so IOU <= DSC.
- ACC >= DSC / (2 - DSC): the two together. With the error e = 1 - ACC it is e <= g(DSC) = 2 (1 - DSC) / (2 - DSC).
- DSC = F1 = H(SEN, PREC). H(s, p) = 2sp / (s + p) is concave: its Hessian is -4 / (s + p)^3 (p, -s)^T (p, -s). So
  mean DSC <= H(mean SEN, mean PREC). Where one is not given it is at most 1.
- IOU >= SEN + PREC - 1: 1 - IOU = (FP + FN) / (TP + FP + FN) <= FP / (TP + FP) + FN / (TP + FN). The same holds for
  what is never below IOU: ACC, DSC, F1.
- IOU <= SEN and IOU <= PREC: its denominator is the larger.
- SEN + SPEC - 1 <= ACC <= SEN + SPEC: ACC = w SEN + (1 - w) SPEC with the share w of TP + FN lies between the two.
- ACC >= 2 F1 - 1. For F1 as a mean: ACC >= F1 / (2 - F1) >= 2 F1 - 1, their difference being 2 (1 - F1)^2 / (2 - F1).
  For F1 = H(mean SEN, mean PREC), as some compute it: ACC >= SEN + PREC - 1, and SEN + PREC >= 2 H.
"""

from __future__ import annotations

from usfm_bench.claims.checks import Bound, Box, Printed


def harmonic(s: float, p: float) -> float:
    """Harmonic mean; 0 where one of them is.

    >>> round(harmonic(0.854, 0.907), 4)
    0.8797
    """
    return 2 * s * p / (s + p) if s + p else 0.0


def lesion_iou(box: Box) -> Printed:
    """What the lesion's IOU can be where the printed one is the mean of that and the background's.

    The background's, TN / (TN + FP + FN), is at most ACC, as the lesion's is.
    """
    printed, accuracy = box["IOU"], box["ACC"].high if "ACC" in box else 1.0
    return printed._replace(low=max(0.0, 2 * printed.low - accuracy), high=min(1.0, 2 * printed.high))


def _same(value: float) -> float:
    return value


def _sum_less_one(a: float, b: float) -> float:
    return a + b - 1


def _jaccard(dice: float) -> float:
    return dice / (2 - dice)


def _at_most_harmonic(column: str) -> Bound:
    why = (
        f"Of any one image, run or class {column} is just that, and the harmonic mean is concave; means keep the bound."
    )
    return Bound(column, "at most", ("SEN", "PREC"), "the harmonic mean of SEN and PREC", harmonic, why, any_of=True)


def _at_least_sum(column: str) -> Bound:
    why = "1 - IOU = (FP + FN) / (TP + FP + FN) is at most FP / (TP + FP) + FN / (TP + FN) = (1 - PREC) + (1 - SEN)" + (
        "; means keep it." if column == "IOU" else f", and {column} is at least IOU; means keep it."
    )
    return Bound(column, "at least", ("SEN", "PREC"), "SEN + PREC - 1", _sum_less_one, why)


def _at_most(column: str, other: str, why: str) -> Bound:
    return Bound(column, "at most", (other,), other, _same, f"{why}; means keep it.")


_SHARES = "ACC lies between SEN and SPEC, as their mean weighted by how much there is to find; means keep"
OF_COUNTS = (
    Bound(
        "ACC",
        "at least",
        ("DSC",),
        "DSC / (2 - DSC)",
        _jaccard,
        "TN is not negative, so ACC = (TP + TN) / all is at least IOU = TP / (TP + FP + FN) = DSC / (2 - DSC), and "
        "that curve is convex, so mean ACC is at least the curve at mean DSC, whatever the images.",
    ),
    Bound(
        "ACC",
        "at least",
        ("IOU",),
        "IOU",
        _same,
        "TN is not negative, so (TP + TN) / all is at least TP / (TP + FP + FN); means keep it.",
    ),
    Bound(
        "IOU",
        "at least",
        ("DSC",),
        "DSC / (2 - DSC)",
        _jaccard,
        "Of any one image or run the two are equal, and the curve is convex, so mean IOU is at least the curve at "
        "mean DSC.",
    ),
    _at_most("IOU", "DSC", "IOU = DSC / (2 - DSC), and 2 - DSC is at least 1"),
    _at_least_sum("ACC"),
    Bound("ACC", "at least", ("SEN", "SPEC"), "SEN + SPEC - 1", _sum_less_one, f"{_SHARES} this, which is below both."),
    Bound("ACC", "at most", ("SEN", "SPEC"), "SEN + SPEC", lambda s, t: s + t, f"{_SHARES} this, which is above both."),
    Bound(
        "ACC",
        "at least",
        ("F1",),
        "2 F1 - 1",
        lambda f1: 2 * f1 - 1,
        "ACC is at least F1 / (2 - F1) and at least SEN + PREC - 1, and so at least 2 F1 - 1, whether F1 is a mean or "
        "the harmonic mean of the means.",
    ),
)
"""Hold for any unit, whatever an undefined rate gets (see `readings`)."""
OF_FOUND = (
    _at_most_harmonic("DSC"),
    _at_most_harmonic("F1"),
    _at_most("IOU", "SEN", "TP + FP + FN is at least TP + FN"),
    _at_most("IOU", "PREC", "TP + FP + FN is at least TP + FP"),
    _at_least_sum("IOU"),
    _at_least_sum("DSC"),
    _at_least_sum("F1"),
    _at_most("DSC", "F1", "F1 is DSC, or the harmonic mean of mean SEN and mean PREC, which is at least mean DSC"),
    _at_most(
        "IOU", "F1", "IOU is at most DSC, and F1 is DSC, or the harmonic mean of the means, which is at least that"
    ),
)
"""Hold where each unit has something to find, so that SEN is defined."""
OF_CLASSES = tuple(bound for bound in OF_FOUND if {bound.column, *bound.others} <= {"SEN", "PREC", "F1"})
"""Those of `OF_FOUND` without ACC, DSC or IOU."""
