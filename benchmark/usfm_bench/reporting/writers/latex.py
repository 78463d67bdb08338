"""A report as LaTeX tables (booktabs) for a paper."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from usfm_bench.core.pipe_table import Grid, printable
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import WORDS, Section, sections
from usfm_bench.reporting.writers.markdown import shown_notes

_PREAMBLE = (
    "% Needs \\usepackage{booktabs}; graphicx, for \\resizebox; and [T1]{fontenc}.\n"
    "% Names in other than Latin letters need XeLaTeX or LuaLaTeX, and a font that has them."
)


def to_latex(report: Report, names: Sequence[str] = ()) -> str:
    """Tables with their notes; below the first one stands also what is said of the report as a whole.

    Sections of notes alone that stand on top are written where somebody names them; a paper has a text of its own.
    """
    found = sections(report, names)
    said = [s for s in found if not s.grid and (s.place != "top" or names)]
    tables = [s for s in found if s.grid]
    parts = [_PREAMBLE]
    whole = " ".join(sentence for section in said for sentence in _sentences(section))
    for i, section in enumerate(tables):
        notes = " ".join(_sentences(section) + [whole] * (i == 0))
        label = "-".join(["tab:" + report.suite, report.profile, section.table or "further", *_ident(section)])
        parts.append(_table(section, label, notes.strip()))
    if said and not tables:
        parts.append(escaped(whole))
    return "\n\n".join(parts) + "\n"


def _ident(section: Section) -> list[str]:
    return [section.ident] if section.ident else []


def _sentences(section: Section) -> list[str]:
    head = [", ".join(filter(None, (section.title, section.caption))) + "."] if section.place == "top" else []
    return [*head, *shown_notes(section)]


def _table(section: Section, label: str, notes: str = "") -> str:
    grid = section.grid or Grid([], [])
    columns = "".join("l" if name in WORDS | section.words else "r" for name in grid.header)
    tabular = [
        f"\\begin{{tabular}}{{{columns}}}",
        *("\\toprule", _row(grid.header), "\\midrule", *map(_row, grid.body), "\\bottomrule"),
        "\\end{tabular}}",
    ]
    return "\n".join(
        [
            "\\begin{table}",
            f"\\caption{{{escaped(section.full_title)}.}}",
            f"\\label{{{_safe(label)}}}",
            "\\resizebox{\\linewidth}{!}{%",
            *tabular,
            *([f"\\par\\smallskip\\footnotesize {escaped(notes)}"] if notes else ()),
            "\\end{table}",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    line = " & ".join(escaped(cell) for cell in cells)
    # Behind the end of a row or a rule, a bracket or a star would be taken for its option.
    return f"{'{}' if line.startswith(('[', '*')) else ''}{line} \\\\"


_SPECIAL = {
    "\\": "\\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "±": "$\\pm$",
    "×": "$\\times$",
    "²": "$^2$",
    "≤": "$\\leq$",
    "≥": "$\\geq$",
    "`": "\\textasciigrave{}",
    '"': '\\string"',  # an abbreviation in some languages of babel
}


def escaped(text: object) -> str:
    """Text that LaTeX prints as it is."""
    plain = "".join(_SPECIAL.get(character, character) for character in printable(str(text)))
    # Two hyphens would become a dash, and two commas or apostrophes a quotation mark.
    return re.sub(r"([-,'])(?=\1)", r"\1{}", plain)


def _safe(label: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9:.-]+", "-", label)
    # Two names may have the same letters, and labels must differ.
    return safe if safe == label else f"{safe}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
