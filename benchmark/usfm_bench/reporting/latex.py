"""A report as LaTeX tables (booktabs) for a paper."""

from __future__ import annotations

import re

import pandas as pd

from usfm_bench.pipe_table import Grid
from usfm_bench.reporting.decisions import DECISIONS
from usfm_bench.reporting.markdown import AGAINST, LEFT, TITLES, caption, table_grids
from usfm_bench.reporting.prevalence_tables import prevalence_sections
from usfm_bench.reporting.report import Report

_PREAMBLE = "% Needs \\usepackage{booktabs}; and graphicx, for \\resizebox."
_MORE, _CLASSES = "More metrics of the same predictions.", "By class, one against the rest."


def to_latex(report: Report) -> str:
    """Every table of the report; what a reader must know stands below the first of each."""
    parts = [_PREAMBLE]
    notes = " ".join(line if line.endswith(".") else f"{line}." for line in caption(report))
    for table, grids in table_grids(report):
        name = f"{report.suite}-{report.profile}-{table or 'further'}"
        parts.append(_table(grids.main, TITLES[table], f"tab:{name}", notes))
        others = (("against", grids.against, f"{AGAINST}."), ("more", grids.more, _MORE))
        of_class = (("classes", grids.classes, _CLASSES), ("decisions", grids.decisions, f"{DECISIONS}."))
        for key, grid, title in (*others, *of_class):
            if grid is not None:
                parts.append(_table(grid, title, f"tab:{name}-{key}"))
        for section in prevalence_sections(report, table):
            label = f"tab:{name}-prevalence-{section.dataset}"
            parts.append(_table(section.grid, f"{section.title}.", label, " ".join(section.notes)))
    return "\n\n".join(parts) + "\n"


def _table(grid: Grid, title: str, label: str, notes: str = "") -> str:
    # pandas needs unique column names.
    frame = pd.DataFrame(grid.body, columns=pd.RangeIndex(len(grid.header)))
    style = frame.style.hide(axis="index").relabel_index([escaped(name) for name in grid.header], axis=1)
    columns = "".join("l" if name in LEFT else "r" for name in grid.header)
    tabular: str = style.format(escaped).to_latex(hrules=True, column_format=columns)
    return "\n".join(
        [
            "\\begin{table}",
            f"\\caption{{{escaped(title)}}}",
            f"\\label{{{_safe(label)}}}",
            "\\resizebox{\\linewidth}{!}{%",
            f"{tabular.rstrip()}}}",
            *([f"\\par\\smallskip\\footnotesize {escaped(notes)}"] if notes else ()),
            "\\end{table}",
        ]
    )


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
    "\n": " ",
}


def escaped(text: object) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(character, character) for character in str(text))


def _safe(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9:.-]+", "-", label)
