"""Text cells of CSV files that no spreadsheet takes for a formula."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"\s*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)")


def guarded(value: object) -> object:
    """The value, with an apostrophe in front where it is text that a spreadsheet would compute.

    >>> guarded("=1+1"), guarded("-1.2"), guarded(-1.2), guarded("benign")
    ("'=1+1", '-1.2', -1.2, 'benign')

    Reference: OWASP, CSV Injection.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def unguarded(text: str) -> str:
    """What `guarded` was given.

    >>> unguarded("'=1+1"), unguarded("'t Hart")
    ('=1+1', "'t Hart")
    """
    return text[1:] if text.startswith("'") and guarded(text[1:]) == text else text


def guarded_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with its text and its headings guarded; columns of numbers are as they were."""
    import pandas as pd  # every start imports all readers; most need no table

    cells = {name: frame[name].map(guarded) if _has_text(frame[name]) else frame[name] for name in frame}
    heads: dict[Hashable, object] = {name: guarded(name) for name in frame}
    return pd.DataFrame(cells, index=frame.index).rename(columns=heads)


def _has_text(column: pd.Series) -> bool:
    return column.dtype.kind not in "biufcmM"
