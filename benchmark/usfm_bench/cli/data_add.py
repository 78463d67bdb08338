"""`usfm-bench data add`: from a folder of your own images to a registry entry."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import DATA_ROOT, CacheFolder, DataRoot, RegistryFile, TextFormat
from usfm_bench.core.pipe_table import printable_lines

EXAMPLES = (
    "Examples: `usfm-bench data add clinic ~/images` · `usfm-bench data add clinic images.zip --organ thyroid` · "
    "`usfm-bench data add clinic data/list.csv`"
)


class NoMask(StrEnum):
    """What an image without a mask file is."""

    fault = "fault"
    empty = "empty"


def add(
    name: Annotated[str, typer.Argument(help="Name of the new data set, such as clinic.")],
    path: Annotated[Path, typer.Argument(help="Folder of images, a .zip, or a list (.csv, .parquet).")],
    layout: Annotated[str | None, typer.Option(help="Only try this layout, such as masks or imagefolder.")] = None,
    patient: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Expression whose one group is the patient in a path.")
    ] = None,
    no_mask: Annotated[
        NoMask | None, typer.Option(help="What an image without a mask file is: a fault, or without a lesion.")
    ] = None,
    organ: Annotated[str, typer.Option(help="Organ or organs shown.")] = "not stated",
    data_root: DataRoot = DATA_ROOT,
    cache: CacheFolder = None,
    registry: RegistryFile = None,
    form: Annotated[TextFormat, typer.Option("--format", help="How to print.")] = TextFormat.text,
) -> None:
    """Guess the layout of your own images, read every file, write a registry entry, and print what to run next."""
    from usfm_bench.data.add.adding import Request, add_dataset

    added = add_dataset(
        Request(name, path, data_root, registry, layout, patient, no_mask.value if no_mask else None, organ)
    )
    if form is TextFormat.json:
        print_facts({**added.facts, "notes": added.notes, "next": added.commands}, form)
        return
    print_facts(added.facts, form)
    for note in added.notes:
        typer.echo(printable_lines(f"note: {note}"))
    typer.echo("\nNext:\n")
    for command in added.commands:
        typer.echo(command)
