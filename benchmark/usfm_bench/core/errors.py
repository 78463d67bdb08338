"""The faults that a user can mend, and how they read: what, where, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BenchError(Exception):
    """A fault that the user can fix. Shown as one `error:` message, without a traceback; exit code 2."""


class DataError(BenchError):
    """A data set is missing, unreadable or contradicts its registry entry."""


class WeightsError(BenchError):
    """A checkpoint does not cover the model that it is loaded into, or is no checkpoint."""


class WeightsMissingError(WeightsError):
    """The weight file that a model name promises is not there. `run` skips the model and goes on."""


class TrialError(BenchError):
    """One trial cannot go on (a NaN loss, a full disk); the others can."""


SHOWN = 20
"""Items of a long list that a message shows."""


def capped(items: Sequence[str], most: int = SHOWN, *, hint: str = "") -> list[str]:
    """The first items, and a last one that says how many more there are.

    >>> capped(["a", "b", "c", "d"], 2, hint="; --format json has all")
    ['a', 'b', 'and 2 more; --format json has all']

    Args:
        items: any number.
        most: so many are shown.
        hint: where all of them are, behind the number.
    """
    left = len(items) - most
    return [*items[:most], f"and {left} more{hint}"] if left > 0 else list(items)


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known name, or nothing when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> BenchError:
    """The error for a name that nothing is registered under: the nearest name and where to see all."""
    known = sorted(set(known))
    shown = hint or "Known: " + (listed(known) or "none") + "."
    return BenchError(f"Unknown {kind} '{name}'.{did_you_mean(name, known)} {shown}")
