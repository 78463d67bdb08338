"""`usfm-bench models`: what `--models` can name, and what a weight file holds."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import TextFormat
from usfm_bench.core.pipe_table import printable

if TYPE_CHECKING:
    from usfm_bench.specs.family import Family
    from usfm_bench.specs.model import ModelEntry

app = typer.Typer(help="What --models can name, and what a weight file holds.", no_args_is_help=True)
FormatOption = Annotated[TextFormat, typer.Option("--format", help="How to print.")]


@app.command("list", epilog="Example: `usfm-bench models list 'usfm*'`")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Only names that match, with * and ?.")] = "*",
    form: FormatOption = TextFormat.text,
) -> None:
    """Every named model and whether its weights are here."""
    from usfm_bench.specs.family import FAMILIES
    from usfm_bench.specs.model import ADAPTATIONS, MODELS

    entries = [entry for name, entry in MODELS.items() if fnmatch(name, pattern)]
    if form is TextFormat.json:
        print_facts([_facts(entry) for entry in entries], form)
        return
    if not entries:
        typer.echo(f"No model matches '{pattern}'.", err=True)
    else:
        header, *lines = _columns([_HEADER, *(_line(entry) for entry in entries)])
        typer.echo(header, err=True)  # what is read by a script is names alone
        for line in lines:
            typer.echo(printable(line))
    also = "; ".join(family.usage for family in FAMILIES.values() if family.usage)
    behind = " or ".join(f"@{adaptation}" for adaptation in ADAPTATIONS)
    typer.echo(f"Also: {also}. Behind any name: {behind}.", err=True)


@app.command("show", epilog="Example: `usfm-bench models show usfm`")
def show_model(
    name: Annotated[str, typer.Argument(help="A model name.")], form: FormatOption = TextFormat.text
) -> None:
    """What a model name stands for: architecture, weights, source, licence."""
    from usfm_bench.specs.model import resolve

    print_facts(_facts(resolve(name)), form)


@app.command("inspect", epilog="Example: `usfm-bench models inspect pretrained/USFM_latest.pth`")
def inspect_file(
    file: Annotated[Path, typer.Argument(help="A .pth or .safetensors file.")], form: FormatOption = TextFormat.text
) -> None:
    """What a weight file holds, and whether it covers the encoder of its family."""
    from usfm_bench.models.weights import inspect_checkpoint

    print_facts(inspect_checkpoint(file), form)


_HEADER = ["name", "family", "size", "licence", "saw BUSI", "weights"]
_WIDEST = 34


def _line(entry: ModelEntry) -> list[str]:
    """Of the list: what it takes to have the weights, and whether they are here."""
    if entry.weights == "scratch":
        return [entry.name, entry.family, "", "", "", "random"]
    licence = entry.licence if len(entry.licence) <= _WIDEST else f"{entry.licence[: _WIDEST - 1]}…"
    seen = {True: "yes", False: "no", None: "unknown"}[entry.seen_in_pretraining]
    return [entry.name, entry.family, entry.size, licence, seen, _state(entry)]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def _facts(entry: ModelEntry) -> dict[str, Any]:
    from usfm_bench.specs.family import FAMILIES
    from usfm_bench.specs.model import load_recipe

    family = FAMILIES[entry.family]
    return {
        "name": entry.name,
        "title": entry.title,
        "family": entry.family,
        "architecture": entry.architecture or "read from the file",
        "tasks": list(entry.tasks),
        "weights": _state(entry),
        "file": str(entry.weight_file) if entry.weight_file else None,
        "file size": entry.size or None,
        "sha256": entry.sha256,
        "source": entry.source or None,
        "links": list(entry.links),
        "licence": entry.licence or None,
        "trained on": entry.trained_on or None,
        "test images seen in pre-training": {True: "yes", False: "no", None: "unknown"}[entry.seen_in_pretraining],
        "adaptation": entry.adaptation,
        "patch": family.patch,
        "native input size": family.image_size,
        **_normalisation(entry, family),
        "recipe": load_recipe(entry.recipe).model_dump(mode="json", exclude_defaults=True) if entry.recipe else None,
    }


def _normalisation(entry: ModelEntry, family: Family) -> dict[str, list[float] | None]:
    """Mean and standard deviation of the channels; those of a hub's weights are known once it has given them."""
    known = entry.weights != "hub"
    mean, std = (entry.mean or (family.mean if known else None)), (entry.std or (family.std if known else None))
    return {"mean": list(mean) if mean else None, "std": list(std) if std else None}


def _state(entry: ModelEntry) -> str:
    from usfm_bench.core.files import file_sha256
    from usfm_bench.specs.model import has_registered_hash, weight_file

    if entry.weights == "scratch":
        return "random weights"
    if entry.weights == "hub":
        return "weights from a hub, downloaded when first used"
    here = entry.weight_file is not None and entry.weight_file.is_file()
    if here and not has_registered_hash(entry):
        return f"another file is here: its sha256 is {file_sha256(weight_file(entry))}"
    absent = f"pre-trained by `run`, to {entry.weight_file}" if entry.recipe else ""
    return "weights here" if here else absent or f"weights missing, expected at {entry.weight_file}"
