"""`usfm-bench submit` and `usfm-bench leaderboard`: results that others can check, and a site of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.options import DATA_ROOT, RUNS, RegistryFile, RunsFolder, TextFormat, split_names
from usfm_bench.core.errors import BenchError
from usfm_bench.core.pipe_table import printable_lines

SUBMIT_EXAMPLES = (
    "Examples: `usfm-bench submit --suite busi-cls --models efficientnet-lite0@linear --contact ann@example.org --out "
    "leaderboard` · `usfm-bench submit --suite busi-seg --models usfm:mine.pth --name my-encoder --licence MIT "
    "--contact ann@example.org --out submissions`"
)
VERIFY_EXAMPLES = (
    "Examples: `usfm-bench leaderboard verify leaderboard` · `usfm-bench leaderboard verify submissions --data-root "
    "~/data --format json`. Exit codes: 0 nothing is wrong; 1 a submission is refused; 2 there is none."
)
BUILD_EXAMPLES = "Example: `usfm-bench leaderboard build --out site`, then open site/index.html."

app = typer.Typer(help="Verify submissions, and build a static site of them.", no_args_is_help=True)
Board = Annotated[Path, typer.Option("--board", help="Folder of the submissions and of the manifests.")]
BOARD = Path("leaderboard")
_SAID = "What only you can say"


def submit(
    suite: Annotated[str, typer.Option(help="Suite of the finished trials.")],
    models: Annotated[str, typer.Option(help="Models, as a,b; each becomes a submission of its own.")],
    out: Annotated[Path, typer.Option(help="A board, or a new folder.")],
    contact: Annotated[
        str, typer.Option(help="Whom to ask: an address or a page. It is public.", rich_help_panel=_SAID)
    ],
    name: Annotated[
        str, typer.Option(help="The board's name of the model; needed for a file's path.", rich_help_panel=_SAID)
    ] = "",
    licence: Annotated[str, typer.Option(help="Of the weights; without: the registry's.", rich_help_panel=_SAID)] = "",
    seen: Annotated[
        str,
        typer.Option(
            help="Whether the weights saw test images, as `no: trained on photographs alone`; used where neither a "
            "card nor the registry knows.",
            rich_help_panel=_SAID,
        ),
    ] = "",
    about: Annotated[str, typer.Option(help="What a reader should know.", rich_help_panel=_SAID)] = "",
    profile: Annotated[str | None, typer.Option(help="Needed where several are finished.")] = None,
    runs: RunsFolder = RUNS,
) -> None:
    """Pack finished trials so that others can score them again: predictions, hashes, costs; no image, no path."""
    from usfm_bench.board.pack import Said, to_settle
    from usfm_bench.board.pack import submit as pack
    from usfm_bench.board.submission import Statement
    from usfm_bench.results.store import Store, choose_profile
    from usfm_bench.suites.plan import load_suite

    names, statement = split_names(models), None
    if name and len(names) > 1:
        raise BenchError("--name is of one model, and --models names several; submit them one by one.")
    if seen:
        verdict, _, why = seen.partition(":")
        if verdict.strip() not in ("yes", "no", "unknown"):
            raise BenchError(f"--seen '{seen}': expected yes, no or unknown, a colon and the reason.")
        statement = Statement.model_validate({"verdict": verdict.strip(), "why": why.strip()[:1000]})
    store, plan = Store(runs), load_suite(suite)
    said = Said(contact, name, licence, statement, about)
    for model in names:
        folder = pack(store, plan, choose_profile(store, plan.name, profile), model, out, said)
        for line in to_settle([trial for trial in store.finished(plan.name) if trial[1].spec.model == model]):
            typer.echo(f"note: {line}", err=True)
        typer.echo(f"Wrote {folder}. Check it as others will: usfm-bench leaderboard verify {folder}")


@app.command("verify", epilog=VERIFY_EXAMPLES)
def verify(
    folder: Annotated[Path, typer.Argument(help="A submission, or a folder of them.")],
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="Where the data lie: test cases and references are checked against them, and not against the "
            "board's manifests."
        ),
    ] = None,
    rerun: Annotated[
        Path | None, typer.Option(help="Runs folder of your own training of the same trials: `check` decides.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Note the tiers on the board, for `build`; who keeps the board does this.")
    ] = False,
    board: Board = BOARD,
    form: Annotated[TextFormat, typer.Option("--format", help="How to print.")] = TextFormat.text,
) -> None:
    """Score every prediction of submissions again, and say what is wrong with them or which tier they have."""
    from usfm_bench.board.submission import find_submissions
    from usfm_bench.board.verdicts import record_verdicts, verify_all

    folders = find_submissions(folder)
    if not folders:
        raise BenchError(f"No submission (submission.json) in '{folder}'. `usfm-bench submit` makes them.")
    found = verify_all(folders, board, data_root, rerun)
    if record:
        record_verdicts(board, found)
    if form is TextFormat.json:
        shown = [
            {"folder": str(v.folder), "tier": v.tier, "refused": list(v.faults), "notes": list(v.notes)} for v in found
        ]
        typer.echo(json.dumps(shown, indent=1))
    else:
        for each in found:
            typer.echo(printable_lines(f"{each.folder}: {each.tier or 'REFUSED'}"))
            for line in (*each.faults, *(f"note: {note}" for note in each.notes)):
                typer.echo(printable_lines(f"  {line}"))
    if any(v.faults for v in found):
        raise typer.Exit(1)


@app.command("manifest")
def manifest(
    suite: Annotated[str, typer.Option(help="Suite whose test cases are written down.")],
    datasets: Annotated[str | None, typer.Option(help="These alone, as a,b. Without: all of the suite.")] = None,
    data_root: Annotated[Path, typer.Option(help="Where the data lie.")] = DATA_ROOT,
    registry: RegistryFile = None,
    board: Board = BOARD,
) -> None:
    """Write down a suite's test cases and references as digests, so that a verifier needs no data."""
    from usfm_bench.board.manifest import manifest_of, write_manifest
    from usfm_bench.data.dataset import open_dataset
    from usfm_bench.specs.dataset import find_dataset, load_registry
    from usfm_bench.suites.plan import load_suite

    plan, known = load_suite(suite), load_registry(registry)
    for part in plan.parts:
        for name in part.datasets:
            if not datasets or name in split_names(datasets):
                spec = find_dataset(name, known)
                whole = open_dataset(spec, data_root)
                typer.echo(f"Wrote {write_manifest(board, manifest_of(whole, part.task, plan.split), spec)}")


@app.command("build", epilog=BUILD_EXAMPLES)
def build(
    out: Annotated[Path, typer.Option(help="Folder of the site.")],
    board: Board = BOARD,
) -> None:
    """Build the site: one folder that opens from disk and from any web server, without a service behind it."""
    from usfm_bench.board.site import build_site

    page, notes = build_site(board, out)
    for note in notes:
        typer.echo(f"note: {printable_lines(note)}", err=True)
    typer.echo(f"Wrote {page}")
