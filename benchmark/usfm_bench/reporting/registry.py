"""The registries as text: data sets as a list for the terminal, models as tables of docs/models.md and docs/seen.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping

from usfm_bench.core.pipe_table import pipe_table, printable
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.model import MODELS
from usfm_bench.specs.seen import in_groups
from usfm_bench.specs.task import TASKS

HEADER = ("name", "organ", "images", "tasks", "terms", "data")


def terms(spec: DatasetSpec) -> str:
    """What it takes to have the data, in a word: `open`, `agreement`, `not shared`, or `unclear`."""
    if spec.synthetic:
        return "none"
    if spec.agreement:
        return "agreement"
    return {True: "open", False: "not shared", None: "unclear"}[spec.redistributable]


def list_text(specs: Iterable[DatasetSpec], here: Mapping[str, bool]) -> str:
    """One line a data set, by organ and name; simulated ones apart, below."""
    ordered = sorted(specs, key=lambda spec: (spec.synthetic, spec.organ, spec.name))
    lines = [HEADER, *(_line(spec, here[spec.name]) for spec in ordered)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    n_real = 1 + sum(not spec.synthetic for spec in ordered)
    return "\n".join([*text[:n_real], "", *text[n_real:]]).rstrip()


def _line(spec: DatasetSpec, here: bool) -> tuple[str, ...]:
    n = "" if spec.n_images is None else str(spec.n_images)
    tasks = ", ".join(TASKS[task].short for task in spec.tasks) or "none"
    state = "simulated" if spec.synthetic else "here" if here else "not here"
    organ = textwrap.shorten(printable(spec.organ), 20, placeholder=" ...")
    return printable(spec.name), organ, n, tasks, terms(spec), state


SEEN_BEGIN, SEEN_END = "<!-- seen: written by `make docs` -->\n", "<!-- end of seen -->\n"


def with_seen(text: str, registry: dict[str, DatasetSpec]) -> str:
    """The text of docs/seen.md with its table of what models saw written anew."""
    body = [
        [f"`{name}`", *_seen_cells(in_groups(entry, registry))]
        for name, entry in sorted(MODELS.items())
        if entry.weights != "scratch"
    ]
    header = ["Model", "Seen", "Unknown", "Not seen", "Why"]
    before, rest = text.split(SEEN_BEGIN)
    table = "\n".join([*pipe_table(header, body, set(header)), ""])
    return before + SEEN_BEGIN + table + SEEN_END + rest.split(SEEN_END)[1]


def _seen_cells(groups: dict[str, list[str]]) -> list[str]:
    """Data sets by verdict, the largest group as `all` or `all others`, and the reasons of the rest."""
    largest = max(groups, key=lambda said: len(groups[said]))
    cells = dict.fromkeys(("yes", "unknown", "no"), "")
    for said, names in groups.items():
        word = said.partition(",")[0]
        shown = ", ".join(names) if said != largest else "all others" if len(groups) > 1 else "all"
        cells[word] = f"{cells[word]}, {shown}".lstrip(", ")
    return [*cells.values(), "; ".join(dict.fromkeys(said.partition(", ")[2] for said in groups))]


FAMILIES_BEGIN, FAMILIES_END = "<!-- families: written by `make docs` -->\n", "<!-- end of families -->\n"


def with_families(text: str) -> str:
    """The text of docs/models.md with its list of families written anew."""
    header = ["Family", "What", "Native px", "Mean", "Deviation", "Trained on", "Licence of its weights"]
    body = [
        [
            *(f"`{name}`", family.title, str(family.image_size or "any")),
            *(", ".join(f"{x:.4g}" for x in dict.fromkeys(each)) for each in (family.mean, family.std)),
            *(family.trained_on or "differs", family.licence or "see its entry"),
        ]
        for name, family in sorted(FAMILIES.items())
        if family.reads_files and family.usage
    ]
    before, rest = text.split(FAMILIES_BEGIN)
    table = "\n".join([*pipe_table(header, body, set(header)), ""])
    return before + FAMILIES_BEGIN + table + FAMILIES_END + rest.split(FAMILIES_END)[1]
