"""The list of definitions in docs/method.md, written from the code."""

from __future__ import annotations

from collections.abc import Sequence

from usfm_bench.core.pipe_table import Grid, pipe_table
from usfm_bench.metrics.definitions import DEFINITIONS, Definition, emulators
from usfm_bench.metrics.operating import RULES
from usfm_bench.metrics.tuned import DECIDED, SCALED, decided_definition
from usfm_bench.specs.task import TASKS

BEGIN, END = "<!-- definitions: written by `make docs` -->\n", "<!-- end of definitions -->\n"


def definitions_markdown() -> str:
    """Every definition: the primary ones, the others, and those of emulated repositories."""
    known = list(DEFINITIONS.values())
    first = [d for name in reversed(list(TASKS)) for d in TASKS[name].primary()]
    others = [d for d in known if d not in first and d.emulates is None and not d.tuned]
    tuned = [*SCALED.values(), *(decided_definition(name, "CLASS", rule) for rule in RULES for name in DECIDED)]
    parts = ["### In every record", "", *_table(first), "", "### On request (`usfm-bench score`)", "", *_table(others)]
    parts += ["", "### After a choice on validation cases", "", *_table(tuned)]
    for name in emulators():
        parts += ["", f"### Emulator {name}", "", *_table([d for d in known if d.emulates == name])]
    return "\n".join([*parts, ""])


def with_definitions(text: str) -> str:
    """The text of docs/method.md with its list written anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + definitions_markdown() + END + rest.split(END)[1]


def _table(definitions: Sequence[Definition]) -> list[str]:
    grid = definitions_grid(definitions)
    return pipe_table(grid.header, [[f"`{line[0]}`", *line[1:]] for line in grid.body], left=set(grid.header))


def definitions_grid(definitions: Sequence[Definition]) -> Grid:
    """One line a definition, its id first."""
    of_masks = any(d.of == "masks" for d in definitions)
    header = ["id", "name", "formula", "grid", "unit", "range", "better"]
    header += ["both empty", "missed lesion", "false alarm"] * of_masks + ["source"]
    body = []
    for d in definitions:
        low, high = d.range
        line = [d.id, d.name, d.formula, d.grid if d.of == "masks" else "", d.unit]
        line += [f"{low:g} and more" if high == float("inf") else f"{low:g} to {high:g}"]
        line += ["higher" if d.higher_is_better else "lower"]
        line += [d.both_empty, d.prediction_empty, d.reference_empty] * of_masks + [d.source]
        body.append(line)
    return Grid(header, body)
