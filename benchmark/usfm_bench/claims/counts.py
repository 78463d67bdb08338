"""What whole counts can give: one table of TP, FP, FN and TN for all columns, and shares of a number of cases."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from usfm_bench.claims.checks import SLACK, Box, Printed, twice_rounded

Row = Sequence[int]
"""Weights of (TP, FP, FN, TN), whose weighted sum is at most 0."""
_RATIOS = {
    "DSC": ((2, 0, 0, 0), (2, 1, 1, 0)),
    "F1": ((2, 0, 0, 0), (2, 1, 1, 0)),
    "IOU": ((1, 0, 0, 0), (1, 1, 1, 0)),
    "ACC": ((1, 0, 0, 1), (1, 1, 1, 1)),
    "SEN": ((1, 0, 0, 0), (1, 0, 1, 0)),
    "SPEC": ((0, 0, 0, 1), (0, 1, 0, 1)),
    "PREC": ((1, 0, 0, 0), (1, 1, 0, 0)),
}
"""Numerator and denominator of each rate, as sums of (TP, FP, FN, TN)."""


def one_table(box: Box) -> bool:
    """Whether some TP, FP, FN and TN, with something to find, give every column within its rounding.

    A rate of at least l is TP >= l (TP + FN) and the like, so these are linear inequalities. TN and FP are eliminated
    by Fourier and Motzkin's method, in whole numbers and so without loss; of TP and FN only the share of TP matters. A
    rate whose denominator is 0 may be anything.
    """
    rows: list[Row] = [[-int(i == k) for i in range(4)] for k in range(4)]
    for name, printed in box.items():
        rows += _within(printed, *_RATIOS[name])
    least, most = Fraction(0), Fraction(1)
    for tp, _, fn, _ in _without(1, _without(3, rows)):
        # tp * share + fn * (1 - share) <= 0
        if tp > fn:
            most = min(most, Fraction(-fn, tp - fn))
        elif tp < fn:
            least = max(least, Fraction(fn, fn - tp))
        elif tp > 0:
            return False
    return least <= most


def _within(printed: Printed, part: Row, whole: Row) -> list[Row]:
    """That the rate is not below and not above what rounds to the value."""
    # Floats miss the ends, which are decimals, by a bit.
    low, high = (Fraction(end).limit_denominator(10**12) for end in (printed.low - SLACK, printed.high + SLACK))
    return [
        [low.numerator * w - low.denominator * p for p, w in zip(part, whole, strict=True)],
        [high.denominator * p - high.numerator * w for p, w in zip(part, whole, strict=True)],
    ]


def _without(k: int, rows: Sequence[Row]) -> list[Row]:
    """What the inequalities say of the other counts: every pair that bounds count k from both sides, added up."""
    above, below = [row for row in rows if row[k] > 0], [row for row in rows if row[k] < 0]
    pairs = [[u[k] * b - d[k] * a for a, b in zip(u, d, strict=True)] for u in above for d in below]
    return [row for row in rows if row[k] == 0] + pairs


def refuse_table(box: Box) -> str | None:
    """Why no table of counts gives the columns, naming as few of them as contradict each other; None where one does."""
    if len(box) < 2 or one_table(box):
        return None
    left = dict(box)
    for name in box:
        fewer = {other: printed for other, printed in left.items() if other != name}
        if fewer and not one_table(fewer):
            left = fewer
    values = ", ".join(f"{name} {printed.text}" for name, printed in left.items())
    return (
        f"One run has one TP, FP, FN and TN, and no four numbers give {values} together, whatever was rounded "
        "(each range of rounding is two linear inequalities in the four, and together they have no solution)."
    )


def refuse_share(name: str, printed: Printed, n_cases: int, n_runs: int) -> str | None:
    """Why a number of right cases over all cases cannot round to the value; None where one does.

    Of several runs, each may have been rounded to the printed digits before they were averaged.

    Reference: the GRIM test, Brown & Heathers (2017), doi:10.1177/1948550616673876.
    """
    total, ends = n_cases * n_runs, twice_rounded(printed) if n_runs > 1 else printed
    above = math.ceil(ends.low * total - SLACK * total)
    if above <= ends.high * total + SLACK * total:
        return None
    of = f"{n_cases} cases" + (f" in each of {n_runs} runs" if n_runs > 1 else "")
    near = " and ".join(
        f"{count}/{total} = {100 * count / total:.{printed.decimals + 2}f}" for count in (above - 1, above)
    )
    return (
        f"{name} is a number of right cases over {total} ({of}). The nearest that there are, {near}, do not round "
        f"to {printed.text}{', also where each run was rounded before' if n_runs > 1 else ''}."
    )
