"""A report as LaTeX tables (booktabs) for a paper."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from usfm_bench.core.errors import SHOWN
from usfm_bench.core.pipe_table import Grid, printable
from usfm_bench.reporting.decisions import DECISIONS
from usfm_bench.reporting.markdown import AGAINST, LEFT, caption, labelled_title, table_grids, title_of
from usfm_bench.reporting.prevalence_tables import prevalence_sections
from usfm_bench.reporting.report import Report

_PREAMBLE = (
    "% Needs \\usepackage{booktabs}; graphicx, for \\resizebox; and [T1]{fontenc}.\n"
    "% Names in other than Latin letters need XeLaTeX or LuaLaTeX, and a font that has them."
)
_MORE = "More metrics of the same predictions."


def to_latex(report: Report) -> str:
    """Every table of the report; what a reader must know stands below the first of each."""
    parts = [_PREAMBLE]
    notes = " ".join(line if line.endswith(".") else f"{line}." for line in caption(report, SHOWN))
    for table, grids in table_grids(report):
        name = f"{report.suite}-{report.profile}-{table or 'further'}"
        parts.append(_table(grids.main, title_of(report, table), f"tab:{name}", notes))
        others = (("against", grids.against, f"{AGAINST}."), ("more", grids.more, _MORE))
        of_class = (
            ("classes", grids.classes, f"{labelled_title(report, table)}."),
            ("decisions", grids.decisions, f"{DECISIONS}."),
        )
        for key, grid, title in (*others, *of_class):
            if grid is not None:
                parts.append(_table(grid, title, f"tab:{name}-{key}"))
        for section in prevalence_sections(report, table):
            label = f"tab:{name}-prevalence-{section.dataset}"
            parts.append(_table(section.grid, f"{section.title}.", label, " ".join(section.notes)))
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid, title: str, label: str, notes: str = "") -> str:
    columns = "".join("l" if name in LEFT else "r" for name in grid.header)
    tabular = [
        f"\\begin{{tabular}}{{{columns}}}",
        *("\\toprule", _row(grid.header), "\\midrule", *map(_row, grid.body), "\\bottomrule"),
        "\\end{tabular}}",
    ]
    return "\n".join(
        [
            "\\begin{table}",
            f"\\caption{{{escaped(title)}}}",
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
