"""`usfm-bench models`: what `--models` can name, and what a weight file holds."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import RegistryFile, TextFormat, split_names
from usfm_bench.core.pipe_table import printable

if TYPE_CHECKING:
    from usfm_bench.specs.dataset import DatasetSpec
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
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.specs.family import FAMILIES
    from usfm_bench.specs.model import ADAPTATIONS, MODELS

    entries = [entry for name, entry in MODELS.items() if fnmatch(name, pattern)]
    if form is TextFormat.json:
        print_facts([_facts(entry) for entry in entries], form)
        return
    if not entries:
        typer.echo(f"No model matches '{pattern}'.", err=True)
    else:
        known = load_registry()
        header, *lines = _columns([_HEADER, *(_line(entry, known) for entry in entries)])
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


@app.command("seen", epilog="Example: `usfm-bench models seen 'ultra*' --datasets busi,bus-bra`")
def seen_data(
    pattern: Annotated[str, typer.Argument(help="Only names that match, with * and ?.")] = "*",
    datasets: Annotated[str, typer.Option(metavar="NAME,...", help="Of these data sets; none: of all.")] = "",
    registry: RegistryFile = None,
    form: FormatOption = TextFormat.text,
) -> None:
    """Which models saw which data sets in training: a table of yes, no and unknown; in JSON with the reasons."""
    from usfm_bench.specs.dataset import find_dataset, load_registry
    from usfm_bench.specs.model import MODELS
    from usfm_bench.specs.seen import VERDICTS, image_sets, seen_by

    known = load_registry(registry)
    asked = [find_dataset(name, known) for name in split_names(datasets)] or image_sets(known)
    entries = [e for name, e in MODELS.items() if fnmatch(name, pattern) and e.weights != "scratch"]
    found = {e.name: {spec.name: seen_by(e, spec, known) for spec in asked} for e in entries}
    if form is TextFormat.json:
        shown = {
            model: {name: {"seen": seen.verdict, "why": seen.why} for name, seen in row.items()}
            for model, row in found.items()
        }
        print_facts(shown, form)
        return
    body = [[model, *(VERDICTS[seen.verdict] for seen in row.values())] for model, row in found.items()]
    for line in _columns([["model", *(spec.name for spec in asked)], *body]):
        typer.echo(printable(line))


_HEADER = ["name", "family", "size", "licence", "saw BUSI", "weights"]
_WIDEST = 34


def _line(entry: ModelEntry, known: dict[str, DatasetSpec]) -> list[str]:
    """Of the list: what it takes to have the weights, and whether they are here."""
    from usfm_bench.specs.seen import VERDICTS, seen_by

    if entry.weights == "scratch":
        return [entry.name, entry.family, "", "", "", "random"]
    licence = entry.licence if len(entry.licence) <= _WIDEST else f"{entry.licence[: _WIDEST - 1]}…"
    seen = VERDICTS[seen_by(entry, known["busi"], known).verdict]
    return [entry.name, entry.family, entry.size, licence, seen, _state(entry)]


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def _facts(entry: ModelEntry) -> dict[str, Any]:
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.specs.family import FAMILIES
    from usfm_bench.specs.model import load_recipe
    from usfm_bench.specs.seen import in_groups

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
        "seen in training": {said: ", ".join(names) for said, names in in_groups(entry, load_registry()).items()},
        "adaptation": entry.adaptation,
        "patch": family.patch_of(entry.architecture) or family.patch,
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
    if entry.unsettled:
        return f"cannot be loaded yet: {entry.unsettled}"
    if entry.weights == "hub":
        return "weights from a hub, downloaded when first used"
    here = entry.weight_file is not None and entry.weight_file.is_file()
    if here and not has_registered_hash(entry):
        return f"another file is here: its sha256 is {file_sha256(weight_file(entry))}"
    absent = f"pre-trained by `run`, to {entry.weight_file}" if entry.recipe else ""
    return "weights here" if here else absent or f"weights missing, expected at {entry.weight_file}"
