"""The lists of definitions in docs/metrics*.md and docs/emulators.md, written from the code."""

from __future__ import annotations

from collections.abc import Sequence

from usfm_bench.core.pipe_table import Grid, pipe_table
from usfm_bench.metrics.definitions import DEFINITIONS, Definition, emulators
from usfm_bench.metrics.operating import RULES
from usfm_bench.metrics.tuned import DECIDED, SCALED, decided_definition
from usfm_bench.specs.task import TASKS

BEGIN, END = "<!-- definitions: written by `make docs` -->\n", "<!-- end of definitions -->\n"


def definition_pages() -> dict[str, str]:
    """Every definition, by the page of docs/ that lists it: a page of all of them is longer than anybody reads."""
    known = list(DEFINITIONS.values())
    first = [d for name in reversed(list(TASKS)) for d in TASKS[name].primary()]
    others = [d for d in known if d not in first and d.emulates is None and not d.tuned]
    tuned = [*SCALED.values(), *(decided_definition(name, "CLASS", rule) for rule in RULES for name in DECIDED)]
    asked = "On request (`usfm-bench score`)"
    return {
        "metrics.md": _section("In every record", first),
        "metrics-masks.md": _section(asked, [d for d in others if d.of != "labels"]),
        "metrics-classes.md": _section(asked, [d for d in others if d.of == "labels"])
        + "\n"
        + _section("After a choice on validation cases", tuned),
        "emulators.md": "\n".join(
            _section(f"Emulator {name}", [d for d in known if d.emulates == name]) for name in emulators()
        ),
    }


def with_definitions(text: str, page: str) -> str:
    """The text of that page of docs/ with its list written anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + definition_pages()[page] + END + rest.split(END)[1]


def _section(title: str, definitions: Sequence[Definition]) -> str:
    return "\n".join([f"## {title}", "", *_table(definitions), ""])


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
