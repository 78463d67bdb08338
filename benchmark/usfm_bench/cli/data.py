"""`usfm-bench data`: the registry, and what lies on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import DATA_ROOT, DataRoot, RegistryFile, TextFormat

app = typer.Typer(help="The data set registry, and what lies on disk.", no_args_is_help=True)
FormatOption = Annotated[TextFormat, typer.Option("--format", help="How to print.")]
Name = Annotated[str, typer.Argument(help="A data set of the registry.")]


@app.command("list", epilog="Example: `usfm-bench data list --data-root ~/data`")
def list_datasets(
    data_root: DataRoot = DATA_ROOT, registry: RegistryFile = None, form: FormatOption = TextFormat.text
) -> None:
    """Every registered data set and whether it is here."""
    from usfm_bench.data.spec import load_registry

    specs = load_registry(registry)
    here = {name: not spec.path or (data_root / spec.path).exists() for name, spec in specs.items()}
    if form is TextFormat.json:
        facts = [spec.model_dump(mode="json") | {"available": here[name]} for name, spec in specs.items()]
        print_facts(facts, form)
        return
    width = max(map(len, specs))
    for name, spec in specs.items():
        state = ("simulated" if not spec.path else "here") if here[name] else f"not at {data_root / spec.path}"
        typer.echo(f"{name:<{width}}  {spec.title}; {' and '.join(spec.tasks)}; {state}")


@app.command("show", epilog="Example: `usfm-bench data show busi`")
def show_dataset(
    name: Name,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    form: FormatOption = TextFormat.text,
) -> None:
    """One entry of the registry: source, licence, citation, classes, what is left out and why."""
    from usfm_bench.data.spec import find_dataset, load_registry

    spec = find_dataset(name, load_registry(registry))
    place = {"folder": str(data_root / spec.path)} if spec.path else {}
    print_facts(spec.model_dump(mode="json") | place, form)


@app.command("verify", epilog="Example: `usfm-bench data verify busi --data-root ~/data`")
def verify(
    name: Name,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    form: FormatOption = TextFormat.text,
) -> None:
    """Read every file of a data set: counts, sizes, masks, groups, and every fault. Exit 2 when there are faults."""
    from usfm_bench.data.checks import verify_dataset
    from usfm_bench.data.spec import find_dataset, load_registry

    result = verify_dataset(find_dataset(name, load_registry(registry)), data_root)
    if form is TextFormat.json:
        print_facts({"dataset": name, "ok": not result.faults, **result.facts, "faults": result.faults}, form)
    else:
        print_facts(result.facts, form)
        for fault in result.faults:
            typer.secho(f"error: {fault}", fg="red", err=True)
        typer.echo(f"{len(result.faults)} faults." if result.faults else "No faults.")
    raise typer.Exit(2 if result.faults else 0)
