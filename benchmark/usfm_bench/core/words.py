"""Numbers as text: the one place that knows scales, digits, percent points, p values and what stands for no figure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

NONE = "n/a"
"""Where there is no figure."""
_PERCENT = "fraction"
_UNITLESS = (None, "", "score")


def scale_of(unit: str | None) -> tuple[int, int]:
    """Factor and decimals with which numbers of a unit are shown: fractions as percent."""
    return (100, 1) if unit == _PERCENT else (1, 2 if unit == "score" else 1)


def unit_sign(unit: str | None) -> str:
    """`%` for fractions, nothing for numbers without a unit, else the unit."""
    return "%" if unit == _PERCENT else "" if unit in _UNITLESS else str(unit)


def heading(metric: str, unit: str | None) -> str:
    """`DSC (%)`, `HD95 (px)`, `MCC`."""
    return f"{metric} ({sign})" if (sign := unit_sign(unit)) else metric


def number(x: float | None, unit: str | None = None, *, digits: int | None = None, signed: bool = False) -> str:
    """A number in the scale of its unit, which is not written.

    >>> number(0.7116, "fraction"), number(7.04, "px"), number(0.7116, "score"), number(None)
    ('71.2', '7.0', '0.71', 'n/a')
    """
    if x is None or x != x:
        return NONE
    scale, usual = scale_of(unit)
    return f"{x * scale:{'+' if signed else ''}.{usual if digits is None else digits}f}"


def with_interval(
    x: float | None,
    low: float | None,
    high: float | None,
    unit: str | None = None,
    *,
    digits: int | None = None,
    signed: bool = False,
) -> str:
    """A number with its interval, in the scale of its unit.

    >>> with_interval(0.712, 0.66, 0.7644, "fraction"), with_interval(0.7, None, None, "px")
    ('71.2 [66.0, 76.4]', '0.7 [n/a]')
    """
    if x is None or x != x:
        return NONE
    shown = [number(value, unit, digits=digits, signed=signed) for value in (x, low, high)]
    return f"{shown[0]} [{NONE}]" if low is None or high is None else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def with_unit(x: float | None, unit: str | None, *, digits: int | None = None) -> str:
    """`71.2 %`, `7.0 px`, `0.71`."""
    shown = number(x, unit, digits=digits)
    return shown if shown == NONE else f"{shown} {unit_sign(unit)}".rstrip()


def difference_unit(unit: str | None) -> str:
    """Differences of percentages are in points."""
    return "points" if unit == _PERCENT else unit_sign(unit)


def difference(x: float | None, unit: str | None, *, digits: int | None = None) -> str:
    """How far two values lie apart: `8.7 points`, `0.7 px`, `0.02`."""
    shown = number(x, unit, digits=digits)
    return shown if shown == NONE else f"{shown} {difference_unit(unit)}".rstrip()


def percent(share: float | None, digits: int = 0) -> str:
    """A share: `56 %`."""
    if share is None or share != share:
        return NONE
    return f"{round(100 * share, digits) + 0:.{digits}f} %"  # no minus before a zero


def exact_percent(share: float | None) -> str:
    """A share that someone chose, with the digits that it has: `5 %`, `12.5 %`."""
    return NONE if share is None else f"{100 * share:g} %"


def probability(x: float | None) -> str:
    """`54.2 %`, which is never all or nothing: `< 0.1 %`, `> 99.9 %`."""
    if x is None or x != x:
        return NONE
    return "< 0.1 %" if x < 0.001 else "> 99.9 %" if x > 0.999 else percent(x, 1)


def p_value(x: float | None) -> str:
    """`0.036`, `< 0.001`."""
    return NONE if x is None or x != x else "< 0.001" if x < 0.001 else f"{x:.3f}"


def finite(x: float | None) -> float | None:
    """The number, or None where there is none, as JSON has it."""
    return None if x is None or x != x else x


def count(n: int | None) -> str:
    """The number, or nothing."""
    return "" if n is None else str(n)


def counted(n: int | Collection[int], noun: str) -> str:
    """A number with its noun, or the range of several.

    >>> counted(1, "seed"), counted([3, 3], "seed"), counted([2, 5], "case"), counted(2, "class")
    ('1 seed', '3 seeds', '2 to 5 cases', '2 classes')
    """
    low, high = (n, n) if isinstance(n, int) else (min(n, default=0), max(n, default=0))
    return f"{low} {noun if low == 1 else plural_of(noun)}" if low == high else f"{low} to {high} {plural_of(noun)}"


def plural_of(noun: str) -> str:
    """`data sets`, `classes`."""
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def in_a_row(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])


def duration(seconds: float | None) -> str:
    """`34 s`, `12 min`, `3.4 h`."""
    if seconds is None:
        return NONE
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(n_bytes: float) -> str:
    """Of a file or of memory, by powers of 1000.

    >>> size(25_400), size(1.4e8), size(3.42e9)
    ('25 KB', '140 MB', '3.4 GB')
    """
    if n_bytes >= 1e9:
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} KB"


def quantity(x: float | None, digits: int = 3) -> str:
    """A measured quantity with so many significant digits and no exponent: `5730`, `0.0213`, `43.2`."""
    if x is None:
        return NONE
    return f"{x:.{digits}g}" if 1e-4 <= abs(x) < 10**digits else f"{x:.0f}" if x else "0"
