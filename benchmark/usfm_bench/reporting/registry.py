"""The data set registry as text: a list for the terminal, and the pages docs/datasets*.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from usfm_bench.core.pipe_table import pipe_table, printable
from usfm_bench.data.group_words import stated_groups
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.model import MODELS
from usfm_bench.specs.seen import in_groups
from usfm_bench.specs.task import TASKS

HEADER = ("name", "organ", "images", "tasks", "terms", "data")
_WRITTEN = "Written by `make docs` from `datasets.yaml`; [data sets](datasets.md) lists all."
_ABOUT = """# Data sets

Written by `make docs` from `datasets.yaml`; [breast](datasets-breast.md) and [other organs](datasets-others.md) say
what each is, under which licence, and what is not certain. None of the data comes with usfm-bench; an entry says how a
release is read as it was unpacked. `usfm-bench data show NAME` prints all that an entry says and where the data are
looked for; `usfm-bench data verify NAME` reads every file.

Nothing here is legal advice: read the terms at the source before you use a data set or pass it on.
"""


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


def datasets_pages(specs: Iterable[DatasetSpec]) -> dict[str, str]:
    """File name -> text: a table of all entries with data on disk, and pages of what each is, by organ."""
    real = sorted((spec for spec in specs if not spec.synthetic), key=lambda spec: (spec.organ, spec.name))
    releases: dict[tuple[str, ...], list[DatasetSpec]] = {}
    for spec in real:
        releases.setdefault((spec.citation, *_release_facts(spec), *spec.uncertain), []).append(spec)
    header = ["name", "organ", "images", "patients", "may be passed on"]
    table = pipe_table(header, [_row(spec) for spec in real], left=set(header) - {"images", "patients"})
    pages = {"datasets.md": [_ABOUT, *table, ""]}
    for title, ours in (("Breast", True), ("Other organs", False)):
        own = [each for each in releases.values() if (each[0].organ == "breast") == ours]
        lines = [line for each in own for line in _section(each)]
        pages[_page(own[0][0])] = [
            f"# {title}: what each data set is, and what is not certain",
            "",
            _WRITTEN,
            *lines,
            "",
        ]
    return {name: "\n".join(lines) for name, lines in pages.items()}


def _page(spec: DatasetSpec) -> str:
    return "datasets-breast.md" if spec.organ == "breast" else "datasets-others.md"


def _row(spec: DatasetSpec) -> list[str]:
    shared = {True: "yes", False: "no", None: "not stated"}[spec.redistributable]
    counts = ["not stated" if n is None else str(n) for n in (spec.n_images, spec.n_patients)]
    return [f"`{spec.name}`", spec.organ, *counts, shared]


def _section(release: list[DatasetSpec]) -> Iterator[str]:
    """What entries of one release have in common once, and a line on each."""
    first = release[0]
    yield from ("", f"## {first.title.partition(',')[0]}", "", first.citation)
    yield from ("", *(f"- `{spec.name}`: {spec.title}. {_classes(spec)}".rstrip() for spec in release))
    yield from ("", " ".join(_release_facts(first)))
    if first.uncertain:
        yield from ("", "Not certain:", "", *(f"- {sentence}" for sentence in first.uncertain))


def _release_facts(spec: DatasetSpec) -> list[str]:
    return _known(
        {
            "Structures": ", ".join(spec.structures),
            "Groups": stated_groups(spec),
            "Probe": spec.probe,
            "Image size in pixels": spec.image_size,
            "Pixel spacing": spec.spacing,
            "Size on disk": spec.size,
            "Licence": spec.licence,
            "Agreement": spec.agreement,
            "Source": spec.source,
        }
    )


def _classes(spec: DatasetSpec) -> str:
    classes = [f"{name} {n}" if (n := spec.n_by_class.get(name)) is not None else name for name in spec.classes]
    return " ".join(_known({"Classes": ", ".join(classes)}))


def _known(facts: dict[str, str]) -> list[str]:
    return [f"{name}: {value.rstrip('.')}." for name, value in facts.items() if value not in ("", "not stated")]


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
