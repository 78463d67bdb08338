"""The data set registry as pages: an index, docs/datasets.md, and a page for each part of the body."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from usfm_bench.core.pipe_table import pipe_table
from usfm_bench.data.group_words import stated_groups
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.task import TASKS

INDEX = "datasets.md"
_TITLES = {
    "busi": "BUSI, and what is drawn from it",
    "breast": "Breast",
    "thyroid": "Thyroid",
    "fetus": "Fetus and birth",
    "heart": "Heart and vessels",
    "other": "Other organs",
}
_PART_OF_ORGAN = {
    "breast": "breast",
    "thyroid": "thyroid",
    "fetal head": "fetus",
    "fetal head, pubic symphysis": "fetus",
    "fetus, maternal cervix": "fetus",
    "heart chamber": "heart",
    "carotid artery": "heart",
}
_ABOUT = """# Data sets

    usfm-bench data list                               # what there is, and what is here
    usfm-bench data show busi                          # all that an entry says, and where the data are looked for
    usfm-bench data verify busi --data-root DATA_ROOT  # reads every file

None of the data comes with usfm-bench; an entry says how a release is read as it was unpacked. `make docs` writes these
pages from `datasets.yaml`. Nothing here is legal advice: read the terms at the source before you use a data set or pass
it on.
"""
_SHARED = {True: "yes", False: "no", None: "not stated"}


def dataset_pages(specs: Iterable[DatasetSpec]) -> dict[str, str]:
    """File names in docs/ and their texts; simulated data sets have no files and stand on none of them."""
    real = sorted((spec for spec in specs if not spec.synthetic), key=lambda spec: spec.name)
    parts = {part: [spec for spec in real if _part(spec) == part] for part in _TITLES}
    pages = {INDEX: _index(parts)}
    for part, members in parts.items():
        lines = [
            f"# Data sets: {_TITLES[part]}",
            "",
            f"All data sets are in the [index]({INDEX}).",
            *_sections(members),
        ]
        pages[_page(part)] = "\n".join([*lines, ""])
    return pages


def _part(spec: DatasetSpec) -> str:
    return "busi" if spec.layout == "busi" else _PART_OF_ORGAN.get(spec.organ, "other")


def _page(part: str) -> str:
    return f"datasets-{part}.md"


def _index(parts: dict[str, list[DatasetSpec]]) -> str:
    header = ["name", "organ", "tasks", "images", "patients", "may be passed on", "agreement"]
    lines = [_ABOUT]
    for part, members in parts.items():
        table = pipe_table(header, map(_row, members), left=set(header) - {"images", "patients"})
        # Cells of a table are text, in which a link would be escaped.
        links = "\n".join(re.sub(r"^\| `([^`]+)`", rf"| [`\1`]({_page(part)}#\1)", line) for line in table)
        lines += [f"## {_TITLES[part]}", "", links, ""]
    return "\n".join(lines)


def _row(spec: DatasetSpec) -> list[str]:
    tasks = ", ".join(TASKS[task].short for task in spec.tasks) or "none"
    agreement = "needed" if spec.agreement else "none"
    counts = [_count(spec.n_images), _count(spec.n_patients)]
    return [f"`{spec.name}`", spec.organ, tasks, *counts, _SHARED[spec.redistributable], agreement]


def _count(n: int | None) -> str:
    return "not stated" if n is None else str(n)


def _sections(specs: list[DatasetSpec]) -> Iterator[str]:
    for spec in specs:
        yield from ("", f"## {spec.name}", "", f"{spec.title}. {spec.citation}", "")
        yield from (f"- **{name}**: {value}" for name, value in _facts(spec).items() if value)
        if spec.uncertain:
            yield from ("", "What is not certain:", "", *(f"- {sentence}" for sentence in spec.uncertain))


def _facts(spec: DatasetSpec) -> dict[str, str]:
    classes = [f"{name} {n}" if (n := spec.n_by_class.get(name)) is not None else name for name in spec.classes]
    known = {"Probe": spec.probe, "Image size in pixels": spec.image_size, "Size on disk": spec.size}
    return {
        "Organ": spec.organ,
        "Images": _count(spec.n_images),
        "Patients": _count(spec.n_patients),
        "Groups": stated_groups(spec),
        "Classes": ", ".join(classes),
        "Structures": ", ".join(spec.structures),
        "Pixel spacing": spec.spacing or "not stated",
        "Licence": spec.licence,
        "May be passed on": _SHARED[spec.redistributable],
        "Agreement": spec.agreement or "none",
        "Source": spec.source,
        **{name: "" if value == "not stated" else value for name, value in known.items()},
    }
