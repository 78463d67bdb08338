"""When two names are the same to a reader and different to a computer: Unicode form, spaces, case, width."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable


def tidy(name: str) -> str:
    r"""NFC, without characters that have no width, and with one space where there are several, none at the ends.

    >>> tidy("\ufeffP\u00a0 01 ") == "P 01"
    True
    """
    shown = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFC", shown).split())


def alike(name: str) -> str:
    r"""Equal for names that differ in Unicode form, spaces, case or full width alone.

    >>> alike("P01") == alike("p 01\u200b") == alike("\uff30\uff10\uff11")
    True
    """
    folded = unicodedata.normalize("NFKC", tidy(name)).casefold()
    return unicodedata.normalize("NFC", "".join(folded.split()))


def only_one(names: Iterable[str], key: Callable[[str], str] = alike) -> dict[str, str]:
    """What `key` makes of a name -> the name, where it makes the same of no other."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(key(name), []).append(name)
    return {form: same[0] for form, same in found.items() if len(same) == 1}
