"""What a check is: a bound on one column by others, or columns that are one number, with the proof in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

SLACK = 1e-9
"""What float arithmetic may lose; far below any rounding of a printed value."""


class Printed(NamedTuple):
    """A printed rate and the numbers that round to it, as fractions."""

    text: str
    value: float
    low: float
    high: float

    @property
    def decimals(self) -> int:
        """Digits behind the point."""
        return len(self.text.partition(".")[2])


def twice_rounded(printed: Printed) -> Printed:
    """What a mean over runs can have been whose values were rounded to the printed digits before they were averaged."""
    half = 0.5 / 10**printed.decimals / 100
    return printed._replace(low=max(0.0, printed.low - half), high=min(1.0, printed.high + half))


Box = Mapping[str, Printed]
"""The columns of a row that are rates, by name."""


@dataclass(frozen=True)
class Bound:
    """`column` is at least, or at most, an increasing function of other columns."""

    column: str
    side: Literal["at least", "at most"]
    others: tuple[str, ...]
    formula: str
    value: Callable[..., float]
    """Of the other columns as fractions."""
    why: str
    any_of: bool = False
    """Applies with one of the others; the missing ones are at most 1."""

    @property
    def columns_needed(self) -> list[frozenset[str]]:
        """Sets of columns with any of which the bound applies."""
        groups = [(name,) for name in self.others] if self.any_of else [self.others]
        return [frozenset((self.column, *group)) for group in groups]

    def applies(self, box: Box) -> bool:
        """Whether the row has the columns."""
        return self.column in box and (any if self.any_of else all)(name in box for name in self.others)

    def refutes(self, box: Box) -> bool:
        """Whether no numbers that round to the row obey the bound."""
        limit = self._limit(box)
        return self._end(box) < limit - SLACK if self._is_lower else self._end(box) > limit + SLACK

    def label(self, box: Box) -> str:
        """The bound in short."""
        return f"{self.column} {'>=' if self._is_lower else '<='} {self._formula(box)}"

    def proof(self, box: Box) -> str:
        """The bound with the row's numbers put in."""
        given = [name for name in self.others if name in box]
        exact = self.value(*(box[name].value if name in box else 1.0 for name in self.others))
        limit, end = self._limit(box), self._end(box)
        show = _shower(box[self.column].decimals, limit, end)
        values = ", ".join(f"{name} {box[name].text}" for name in given)
        ends = ", ".join(f"{name} {_percent(box[name].low if self._is_lower else box[name].high)}" for name in given)
        return (
            f"{self.column} is {self.side} {self._formula(box)}: {self.why} "
            f"That is {show(exact)} at exactly {values}, and {show(limit)} after every rounding (at {ends}); "
            f"{self.column} {box[self.column].text} is {'at most' if self._is_lower else 'at least'} {_percent(end)}."
        )

    @property
    def _is_lower(self) -> bool:
        return self.side == "at least"

    def _end(self, box: Box) -> float:
        """The end of the column's own rounding that obeys the bound best."""
        return box[self.column].high if self._is_lower else box[self.column].low

    def _limit(self, box: Box) -> float:
        # The function increases in every column, so the ends of their roundings decide.
        ends = [(box[name].low if self._is_lower else box[name].high) if name in box else 1.0 for name in self.others]
        return self.value(*ends)

    def _formula(self, box: Box) -> str:
        missing = [name for name in self.others if name not in box]
        return self.formula + (f" ({', '.join(missing)} is not given: 1)" if missing else "")


@dataclass(frozen=True)
class Same:
    """Columns that are one number."""

    columns: tuple[str, ...]
    why: str

    @property
    def columns_needed(self) -> list[frozenset[str]]:
        """Sets of columns with any of which the equality applies."""
        return [frozenset(pair) for pair in combinations(self.columns, 2)]

    def applies(self, box: Box) -> bool:
        """Whether the row has two of the columns."""
        return sum(name in box for name in self.columns) > 1

    def refutes(self, box: Box) -> bool:
        """Whether no number rounds to all of them."""
        below, above = self._apart(box)
        return box[below].high < box[above].low - SLACK

    def label(self, box: Box) -> str:
        """The equality in short."""
        return " = ".join(self._given(box))

    def proof(self, box: Box) -> str:
        """The equality with the two values that are farthest apart."""
        below, above = self._apart(box)
        return (
            f"{' = '.join(self._given(box))}: {self.why} {below} {box[below].text} is at most "
            f"{_percent(box[below].high)} and {above} {box[above].text} is at least {_percent(box[above].low)}."
        )

    def _given(self, box: Box) -> list[str]:
        return [name for name in self.columns if name in box]

    def _apart(self, box: Box) -> tuple[str, str]:
        given = self._given(box)
        return min(given, key=lambda name: box[name].high), max(given, key=lambda name: box[name].low)


Check = Bound | Same


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.6f}".rstrip("0").rstrip(".")


def _shower(decimals: int, limit: float, end: float) -> Callable[[float], str]:
    """Percent with as many decimals as the column is printed with, or more where the proof needs them."""
    digits = max(1, decimals)
    while digits < 9 and (round(100 * limit, digits) - 100 * end) * (limit - end) <= 0:
        digits += 1
    return lambda fraction: f"{100 * fraction:.{digits}f}"
