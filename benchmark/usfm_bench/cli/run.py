"""`usfm-bench run`: fine-tune and score every trial of a suite that is not finished yet."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from usfm_bench.cli.options import (
    DATA_ROOT,
    RUNS,
    CacheFolder,
    DataRoot,
    Device,
    RegistryFile,
    RunsFolder,
    parse_pairs,
    parse_seeds,
    split_names,
)
from usfm_bench.core import words
from usfm_bench.core.cores import wait_passively
from usfm_bench.core.errors import BenchError, listed
from usfm_bench.core.pipe_table import printable

if TYPE_CHECKING:
    from usfm_bench.execution.outcome import Event
    from usfm_bench.execution.run import Tally
    from usfm_bench.results.remote import Remote
    from usfm_bench.specs.dataset import DatasetSpec
    from usfm_bench.specs.trial import TrialSpec

EXAMPLES = (
    "Examples: `usfm-bench run --suite demo` · `usfm-bench run --suite busi-seg --profile quick --seeds 3 "
    "--data-root ~/data` · `usfm-bench run --suite busi-cls --models usfm-tiny-scratch,timm:resnet18@scratch --dry-run`"
)
_WHAT, _HOW = "What to run", "How to run it"


def run(
    suite: Annotated[
        str,
        typer.Option(help="Suite to run, such as demo or busi-seg, or a YAML file of your own.", rich_help_panel=_WHAT),
    ],
    profile: Annotated[
        str | None,
        typer.Option(
            help="Training recipe: paper, quick, smoke, or a YAML file of your own; the suite's own when not given.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Models instead of the suite's, as a,b.", rich_help_panel=_WHAT)
    ] = None,
    datasets: Annotated[
        str | None, typer.Option(help="Data sets instead of the suite's, as a,b.", rich_help_panel=_WHAT)
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="5 means seeds 0 to 4; 0,3,7 means these.", rich_help_panel=_WHAT)
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Random holdouts of each data set, instead of the suite's number: reports then say too what networks "
            "trained anew on such data would score. 10 is usual; more can be added later.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    data_root: DataRoot = DATA_ROOT,
    registry: RegistryFile = None,
    cache: CacheFolder = None,
    runs: RunsFolder = RUNS,
    device: Annotated[Device, typer.Option(help="auto takes a GPU where there is one.", rich_help_panel=_HOW)] = (
        Device.auto
    ),
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Trials at once: one GPU each, or processes sharing the cores; with slurm, jobs at once.",
            show_default="1, or what there is room for",
            rich_help_panel=_HOW,
        ),
    ] = None,
    per_gpu: Annotated[
        int | None,
        typer.Option(min=1, help="Trials at once on each GPU, which share its memory.", rich_help_panel=_HOW),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Where trials run: here (this process), local (processes of this machine), slurm (jobs of a cluster), "
            "ray (actors of a cluster), or what a plug-in adds; without: here for one worker, local for several.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    engine_option: Annotated[
        list[str] | None,
        typer.Option(
            "--engine-option",
            "-E",
            metavar="NAME=VALUE",
            help="A setting of the engine, as often as needed; slurm takes all of sbatch, such as partition=gpu.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the engine ray: HOST:PORT of a cluster, or auto on a machine of one; without: this machine.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Set earlier results of these trials aside and start over.", rich_help_panel=_HOW),
    ] = False,
    allow_hash: Annotated[
        bool,
        typer.Option(
            "--allow-hash",
            help="Use a weight file with another sha256 than the registry's; records and tables say so.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    keep_weights: Annotated[
        bool,
        typer.Option(
            help="Keep each trial's trained weights, which `predict` and `evaluate` need. --dry-run says their size.",
            rich_help_panel=_HOW,
        ),
    ] = True,
    push: Annotated[
        str | None,
        typer.Option(
            help="Copy each finished trial to this URL too (s3://, gs://, file://, ...); `report --runs URL` reads it. "
            "What could not be copied is copied when the command is run again.",
            metavar="URL",
            rich_help_panel=_HOW,
        ),
    ] = None,
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="End instead of waiting for what other processes run.", rich_help_panel=_HOW),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what is done and what is to do.", rich_help_panel=_HOW)
    ] = False,
) -> None:
    """Fine-tune and score every trial of a suite that is not finished yet; run it again to continue."""
    from usfm_bench.execution.engine import check_engine
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.suites.plan import load_suite, plan_suite

    wait_passively()
    options = parse_pairs(engine_option, "--engine-option") | ({"address": address} if address else {})
    check_engine(engine, workers, per_gpu, options)  # before anything is read
    if per_gpu is not None and device is Device.cpu:
        raise BenchError("--per-gpu shares GPUs, and --device cpu uses none. --workers N runs N trials at once.")
    datasets_known = load_registry(registry)
    trials = plan_suite(
        load_suite(suite),
        datasets_known,
        profile=profile,
        models=split_names(models),
        datasets=split_names(datasets),
        seeds=parse_seeds(seeds),
        repeats=repeats,
    )
    if dry_run:
        _show_plan(trials, runs, data_root, fresh=fresh, keep_weights=keep_weights)
        return
    flags = {"fresh": fresh, "allow_hash": allow_hash, "keep_weights": keep_weights, "wait": not no_wait}
    where = {"workers": workers, "engine": engine, "per_gpu": per_gpu, "options": options}
    code = _run(trials, datasets_known, data_root, runs, device.value, where, _remote(push), **flags)
    raise typer.Exit(code)


def _run(
    trials: list[TrialSpec],
    registry: dict[str, DatasetSpec],
    data_root: Path,
    runs: Path,
    device: str,
    where: dict[str, Any],
    remote: Remote | None,
    *,
    fresh: bool,
    allow_hash: bool,
    keep_weights: bool,
    wait: bool,
) -> int:
    from usfm_bench.cli.progress import RunProgress

    with RunProgress(trials) as progress:
        progress.say(f"{len(trials)} trials: suite {trials[0].suite}, profile {trials[0].profile}. Loading torch ...")
        require_training()
        from usfm_bench.execution.engine import chooses_device
        from usfm_bench.execution.pushing import Pusher
        from usfm_bench.execution.run import run_trials
        from usfm_bench.results.store import Store
        from usfm_bench.training.device import resolve_device

        pusher = Pusher(Store(runs), remote, progress.say)

        def tell(event: Event) -> None:
            progress.tell(event)
            pusher.take(event)

        with pusher:
            try:
                tally = run_trials(
                    trials,
                    data_root=data_root,
                    runs=runs,
                    device=device if chooses_device(where["engine"]) else resolve_device(device),
                    **where,
                    fresh=fresh,
                    wait=wait,
                    tell=tell,
                    say=progress.say,
                    keep=progress.keep,
                    allow_hash=allow_hash,
                    keep_weights=keep_weights,
                    registry=registry,
                )
            except KeyboardInterrupt:
                progress.say("Interrupted. Finished trials are kept; the same command goes on where this one stopped.")
                return 1
            left = pusher.finish(trials)
    _print_summary(tally, trials[0], runs)
    return tally.exit_code or int(left > 0)


def _remote(url: str | None) -> Remote | None:
    """What finished trials are copied to; a BenchError now where it cannot be written, and not after the training."""
    if url is None:
        return None
    from usfm_bench.results.remote import Remote

    remote = Remote(url)
    remote.check_writable()
    return remote


def require_training() -> None:
    """Raise a BenchError where torch or another package of the extra [train] is missing."""
    try:
        import usfm_bench.models.build  # noqa: F401 - asks whether it can be
    except ModuleNotFoundError as error:
        raise BenchError(
            f"Training needs '{error.name}', which is not installed: pip install 'usfm-bench[train]'. "
            "Reports and scores need nothing more."
        ) from None


def _print_summary(tally: Tally, first: TrialSpec, runs: Path) -> None:
    counts = {"done": tally.count("done"), "kept from before": len(tally.kept)}
    counts |= {status: tally.count(status) for status in ("skipped", "failed")}
    counts["left to other processes"] = tally.count("busy")
    typer.echo(", ".join(f"{n} {what}" for what, n in counts.items() if n) + ".")
    if tally.kept or tally.count("done"):
        place = "" if runs == RUNS else f" --runs {shlex.quote(str(runs))}"
        typer.echo(f"Tables: usfm-bench report --suite {first.suite} --profile {first.profile}{place}")


def _show_plan(trials: list[TrialSpec], runs: Path, data_root: Path, *, fresh: bool, keep_weights: bool) -> None:
    from usfm_bench.results.store import Store

    store, to_do = Store(runs), []
    for spec in trials:
        if fresh:
            state = "to do, anew"
        elif changed := store.changed_settings(spec):
            state = "settings differ: " + "; ".join(changed)
        else:
            state = "done" if store.record(spec) else "to do"
        if state.startswith("to do"):
            to_do.append(spec)
            state += _missing(spec, data_root)
        typer.echo(printable(f"{spec.label}  [{spec.profile}]  {state}"))
    typer.echo(f"{len(trials)} trials. Whether data or weights have changed is checked by the run itself.", err=True)
    if keep_weights and to_do:
        typer.echo(_disk(to_do), err=True)


def _disk(trials: list[TrialSpec]) -> str:
    """What the kept weights of trials take, in words."""
    try:
        from usfm_bench.models.size import disk_bytes, weight_bytes
    except ModuleNotFoundError as error:
        return f"What the kept weights will take is not known without '{error.name}' (usfm-bench[train])."
    sizes = weight_bytes(trials)
    unknown = sorted({spec.model for spec, size in zip(trials, sizes, strict=True) if size is None})
    others = f", without those of {listed(unknown)}, whose size is not known here" if unknown else ""
    total = words.size(disk_bytes(sizes))
    return f"Kept weights will take about {total}{others}; none with --no-keep-weights."


def _missing(spec: TrialSpec, data_root: Path) -> str:
    from usfm_bench.specs.model import resolve

    entry = resolve(spec.model)
    weights = entry.weight_file
    missing = ["its data is not here"] if spec.dataset.path and not (data_root / spec.dataset.path).exists() else []
    if weights is not None and not weights.is_file():
        missing.append("its weights are pre-trained first" if entry.recipe else "its weights are missing")
    return f", but {' and '.join(missing)}" if missing else ""
