"""Fonts for names in scripts that matplotlib's own font lacks."""

from __future__ import annotations

import functools
import sys
import unicodedata
from collections.abc import Iterator

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

OWN = "DejaVu Sans"
"""Comes with matplotlib, and has Latin, Greek, Cyrillic and Arabic letters."""
_JOINED = ("ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "HEBREW", "SYRIAC", "THAI", "GUJARATI", "GURMUKHI")
"""Scripts whose letters join, or run from right to left."""
_SHAPES = (3, 11)  # the first matplotlib that arranges such letters
_TO_INSTALL = {
    **{"CJK": "Noto Sans CJK SC", "HIRAGANA": "Noto Sans CJK JP", "KATAKANA": "Noto Sans CJK JP"},
    **{"HANGUL": "Noto Sans CJK KR", "YI": "Noto Sans Yi"},
}


def set_fonts(figure: Figure) -> None:
    """Give every text of a figure a font that has its letters; where none here has, say so on stderr, once a script."""
    letters = {c for text in _texts(figure) for c in text.get_text() if c.isprintable()}
    lacking = frozenset(c for c in letters if ord(c) not in _letters_of(font_manager.findfont(OWN)))
    for script in sorted({_script(c) for c in letters}.intersection(_JOINED)):
        if mpl.__version_info__ < _SHAPES:
            _tell_unshaped(script)
    if not lacking:
        return
    families, missing = fallbacks(lacking)
    for text in _texts(figure):
        text.set_fontfamily([OWN, *families])
    for axes in figure.axes:
        axes.tick_params(labelfontfamily=[OWN, *families])
    for c in sorted(missing):
        _tell_missing(_script(c))


def _texts(figure: Figure) -> Iterator[Text]:
    for axes in figure.axes:  # their labels exist once they are asked for
        yield from (*axes.get_xticklabels(), *axes.get_yticklabels())
    for found in figure.findobj(Text):
        if isinstance(found, Text):
            yield found


@functools.cache
def fallbacks(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Names of installed fonts that have these letters, upright sans-serif ones first; and the letters of none."""
    missing, families = letters, []
    for entry in sorted(font_manager.fontManager.ttflist, key=_preference):
        if not missing:
            break
        # Matplotlib's last resort has a box for every letter.
        if entry.name.startswith("Last Resort") or not (held := missing & _held(entry.fname)):
            continue
        families.append(entry.name)
        missing -= held
    return tuple(dict.fromkeys(families)), missing


def _preference(entry: font_manager.FontEntry) -> tuple[bool, bool, bool, str, str]:
    plain = entry.style == "normal" and str(entry.weight) in ("400", "normal", "regular")
    return not plain, "Sans" not in entry.name, not entry.name.startswith("Noto Sans"), entry.name, entry.fname


def _held(path: str) -> frozenset[str]:
    return frozenset(map(chr, _letters_of(path)))


@functools.cache
def _letters_of(path: str) -> frozenset[int]:
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError):  # gone since the fonts were listed, or of a kind that FreeType cannot read
        return frozenset()


def _script(letter: str) -> str:
    """`CJK`, `ARABIC`: the first word of a letter's name."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]


@functools.cache
def _tell_missing(script: str) -> None:
    font = _TO_INSTALL.get(script, f"Noto Sans {script.title()}")
    sys.stderr.write(
        f"note: no font here has {script.title() if script != 'CJK' else 'CJK'} letters, so figures show boxes in "
        f"their place; install one, such as {font}. Captions and tables have the names.\n"
    )


@functools.cache
def _tell_unshaped(script: str) -> None:
    sys.stderr.write(
        f"note: figures show {script.title()} letters one by one and from left to right; matplotlib joins and orders "
        "them from version 3.11 on. Captions and tables have the names.\n"
    )
