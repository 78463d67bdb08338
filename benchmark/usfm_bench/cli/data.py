"""`usfm-bench data`: the registry, and what lies on disk."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli import data_add, data_cache, data_export
from usfm_bench.cli.facts import print_facts
from usfm_bench.cli.options import DATA_ROOT, CacheFolder, DataRoot, RegistryFile, TextFormat
from usfm_bench.cli.output import say_error
from usfm_bench.core.errors import capped
from usfm_bench.core.pipe_table import printable_lines

app = typer.Typer(help="The data set registry, and what lies on disk.", no_args_is_help=True)
app.command("add", epilog=data_add.EXAMPLES)(data_add.add)
app.command("cache", epilog=data_cache.EXAMPLES)(data_cache.cache)
app.command("export", epilog=data_export.EXAMPLES)(data_export.export)
FormatOption = Annotated[TextFormat, typer.Option("--format", help="How to print.")]
Name = Annotated[str, typer.Argument(help="A data set of the registry.")]


@app.command("list", epilog="Example: `usfm-bench data list --data-root ~/data`")
def list_datasets(
    data_root: DataRoot = DATA_ROOT, registry: RegistryFile = None, form: FormatOption = TextFormat.text
) -> None:
    """Every registered data set and whether it is here."""
    from usfm_bench.reporting.registry import list_text
    from usfm_bench.specs.dataset import load_registry

    specs = load_registry(registry)
    here = {name: not spec.path or (data_root / spec.path).exists() for name, spec in specs.items()}
    if form is TextFormat.json:
        facts = [spec.model_dump(mode="json") | {"available": here[name]} for name, spec in specs.items()]
        print_facts(facts, form)
        return
    typer.echo(list_text(specs.values(), here))
    typer.echo(
        f"Data root: {data_root}. `usfm-bench data show NAME` says what a data set is, where to get it, and where it "
        "is looked for.",
        err=True,
    )


@app.command("show", epilog="Example: `usfm-bench data show busi`")
def show_dataset(
    name: Name,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    form: FormatOption = TextFormat.text,
) -> None:
    """One entry of the registry: source, licence, citation, classes, what is left out and why, what is uncertain."""
    import yaml

    from usfm_bench.data.group_words import stated_groups
    from usfm_bench.specs.dataset import find_dataset, load_registry

    spec = find_dataset(name, load_registry(registry))
    place = {"folder": str(data_root / spec.path)} if spec.path else {}
    facts = spec.model_dump(mode="json") | {"groups in words": stated_groups(spec)} | place
    if form is TextFormat.text:
        facts["uncertain"] = "\n".join(spec.uncertain)
        if spec.options:
            facts["options"] = yaml.safe_dump(facts["options"], sort_keys=False, allow_unicode=True, width=100).rstrip()
    print_facts(facts, form)


@app.command("verify", epilog="Example: `usfm-bench data verify busi --data-root ~/data`")
def verify(
    name: Name,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    form: FormatOption = TextFormat.text,
) -> None:
    """Read every file of a data set: counts, sizes, masks, groups, and every fault. Exit 2 when there are faults."""
    from usfm_bench.data.audit.verify import verify_dataset
    from usfm_bench.specs.dataset import find_dataset, load_registry

    result = verify_dataset(find_dataset(name, load_registry(registry)), data_root)
    if form is TextFormat.json:
        print_facts({"dataset": name, "ok": not result.faults, **result.facts, "faults": result.faults}, form)
    else:
        print_facts(result.facts, form)
        for fault in capped(result.faults, hint="; --format json has all"):
            say_error(fault)
        typer.echo(f"{len(result.faults)} faults." if result.faults else "No faults.")
    raise typer.Exit(2 if result.faults else 0)


class FailOn(StrEnum):
    """What makes an audit end with exit code 1."""

    leak = "leak"


@app.command("audit", epilog="Example: `usfm-bench data audit busi --data-root ~/data --fail-on leak`")
def audit(
    name: Name,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Another data set that should share no image with this one; may be given several times."),
    ] = None,
    fail_on: Annotated[
        FailOn | None,
        typer.Option(help="Exit 1 when a split can part duplicates, or when images are shared with another data set."),
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write the pairs side by side to this HTML file. It holds patient images.")
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    cache: CacheFolder = None,
    form: FormatOption = TextFormat.text,
) -> None:
    """Duplicates, contradictory labels, leaks between splits and data sets, class balance, lesion sizes, drawn text."""
    from usfm_bench.core.files import write_atomic
    from usfm_bench.data.audit.audit import audit_images, read_images
    from usfm_bench.reporting.audit import audit_json, audit_sheet, audit_text
    from usfm_bench.specs.dataset import find_dataset, load_registry

    specs = load_registry(registry)
    wanted = [find_dataset(each, specs) for each in (name, *dict.fromkeys(against or []))]
    images, *others = [read_images(spec, data_root) for spec in wanted]
    found = audit_images(images, others)
    if sheet is not None:
        page = audit_sheet(found, images.by_id(), {other.spec.name: other.by_id() for other in others})
        write_atomic(sheet, lambda stream: stream.write(page.encode()), private=True)
    if form is TextFormat.json:
        print_facts(audit_json(found), form)
    else:
        typer.echo(printable_lines(audit_text(found)))
    raise typer.Exit(1 if fail_on is FailOn.leak and found.leaks else 0)
