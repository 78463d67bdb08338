"""`usfm-bench evaluate`: finished trials on other cases, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from usfm_bench.cli.options import DATA_ROOT, RUNS, CacheFolder, DataRoot, Device, RegistryFile, RunsFolder, split_names
from usfm_bench.cli.run import require_training
from usfm_bench.cli.score import Format
from usfm_bench.core.errors import BenchError, unknown
from usfm_bench.core.pipe_table import printable_lines

if TYPE_CHECKING:
    from pathlib import Path

    from usfm_bench.execution.evaluation import Evaluated
    from usfm_bench.results.store import Store
    from usfm_bench.results.trials import Trial
    from usfm_bench.specs.dataset import DatasetSpec

EXAMPLES = (
    "Examples: `usfm-bench evaluate --suite busi-cls --on breast-lesions-usg --data-root ~/data` · `usfm-bench "
    "evaluate --suite busi-seg` scores the trials' own test cases again · `usfm-bench evaluate --suite demo --on "
    "phantom-clinical --models usfm-micro-scratch --format json` · `usfm-bench evaluate --suite busi-seg "
    "--conditions all --severities 1,3,5`, then `usfm-bench report --suite busi-seg --sections robustness` · "
    "`usfm-bench evaluate --suite enhance-phantom --by enhance-judges` asks networks of another suite about the images "
    "that models enhanced"
)
_WHAT, _HOW = "What to evaluate", "How to evaluate it"


def evaluate(
    suite: Annotated[str, typer.Option(help="Suite whose finished trials are evaluated.", rich_help_panel=_WHAT)],
    profile: Annotated[
        str | None,
        typer.Option(help="Profile of the trials; needed where several are finished.", rich_help_panel=_WHAT),
    ] = None,
    models: Annotated[str | None, typer.Option(help="These models only, as a,b.", rich_help_panel=_WHAT)] = None,
    on: Annotated[
        str | None,
        typer.Option(
            help="Data sets, as a,b: all their cases. Without: what the suite says, or the trials' own test cases.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(
            help="Ways in which images go wrong, as a,b; groups are ultrasound, medmnistc and all.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    severities: Annotated[
        str | None, typer.Option(help="Of the conditions, from 1 to 5, as 1,3,5. Without: all.", rich_help_panel=_WHAT)
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Suite whose finished trials, trained on good images, are asked about the images that the models of "
            "--suite enhanced: does enhancement help?",
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
    allow_seen: Annotated[
        bool,
        typer.Option("--allow-seen", help="Score cases that were trained on, and mark it.", rich_help_panel=_HOW),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Set earlier evaluations aside and start over.", rich_help_panel=_HOW)
    ] = False,
    form: Annotated[
        Format,
        typer.Option("--format", help="markdown shows percent; json and csv hold fractions.", rich_help_panel=_HOW),
    ] = Format.markdown,
) -> None:
    """Score finished trials on other cases, without training; results lie in evaluations/ in each trial's folder."""
    from usfm_bench.cli.progress import CountProgress
    from usfm_bench.results.store import Store, choose_profile
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.suites.plan import known_suite, suite_name

    if by is not None and (on or conditions or severities or allow_seen):
        raise BenchError(
            "--by asks about enhanced images alone: leave out --on, --conditions, --severities, --allow-seen."
        )
    plan, store, suite = known_suite(suite), Store(runs), suite_name(suite)
    trials = list(store.finished(suite, choose_profile(store, suite, profile)))
    require_training()
    from usfm_bench.execution.evaluation import Evaluator
    from usfm_bench.execution.evaluation_jobs import plan_conditions, plan_jobs, plan_suite_jobs
    from usfm_bench.training.device import resolve_device

    known = load_registry(registry)
    if by is not None:
        judges = list(store.finished(suite_name(by), choose_profile(store, suite_name(by), None)))
        place = resolve_device(device.value)
        _show_judgements(
            _of_models(trials, split_names(models)), judges, known, data_root, place, fresh=fresh, form=form
        )
        return
    states = plan_conditions(split_names(conditions), split_names(severities))
    names = split_names(models)
    by_suite = plan is not None and not on and not states and any(part.evaluate for part in plan.parts)
    jobs = plan_suite_jobs(trials, plan, names, known) if plan is not None and by_suite else None
    jobs = plan_jobs(trials, split_names(on), names, known, states) if jobs is None else jobs
    states = [job.condition for job in jobs if job.condition is not None and job.dataset is None]
    with CountProgress("evaluations", len(jobs)) as progress:
        place = resolve_device(device.value)
        evaluator = Evaluator(known, data_root, place, allow_seen=allow_seen, fresh=fresh, say=progress.say)
        try:
            ended = evaluator.run(jobs, lambda job, text: progress.advance(job.label))
        except KeyboardInterrupt:
            progress.say("Interrupted. Finished evaluations are kept; the same command goes on where it stopped.")
            raise typer.Exit(1) from None
    if states and not on and form is Format.markdown and ended.done:
        _show_losses(store, suite, ended.done[0][1].spec.profile)
    _show(ended, form, brief=bool(states and not on))
    raise typer.Exit(ended.exit_code)


def _of_models(trials: Sequence[Trial], names: Sequence[str]) -> list[Trial]:
    known = list(dict.fromkeys(record.spec.model for _, record in trials))
    if strange := [name for name in names if name not in known]:
        raise unknown("finished model", strange[0], known)
    return [trial for trial in trials if not names or trial[1].spec.model in names]


def _show_judgements(
    enhanced: Sequence[Trial],
    judges: Sequence[Trial],
    known: Mapping[str, DatasetSpec],
    data_root: Path,
    device: str,
    *,
    fresh: bool,
    form: Format,
) -> None:
    """What networks of another suite make of enhanced images."""
    from usfm_bench.cli.progress import CountProgress
    from usfm_bench.execution.judging import judge
    from usfm_bench.reporting.judged import judged_rows, render_judged
    from usfm_bench.results.frames import gather, stored_cases

    found: dict[tuple[str, str, str], list[Trial]] = {}
    with CountProgress("evaluations", len(judges)) as progress:
        for each in judge(enhanced, judges, known, data_root, device, fresh=fresh, say=progress.say):
            spec = each.trial[1].spec
            found.setdefault((spec.task, spec.model, each.shown), []).append(each.trial)
    results = [(shown, gather(trials, stored_cases)) for (_, _, shown), trials in found.items()]
    if not results:
        raise BenchError("no network of --by has the seed and fold of an enhanced trial.")
    typer.echo(render_judged(judged_rows(results), form.value), nl=False)


def _show_losses(store: Store, suite: str, profile: str) -> None:
    """What the conditions cost, of everything that was evaluated."""
    from usfm_bench.reporting import build_report, render

    typer.echo(render([build_report(store, suite, profile)], Format.markdown.value, ["robustness"]), nl=False)


def _show(ended: Evaluated, form: Format, *, brief: bool) -> None:
    """The scores; `brief`: in Markdown, only what is to be known of them."""
    from usfm_bench.execution.evaluation import seen_lines
    from usfm_bench.reporting import render_scores

    reasons: dict[str, list[str]] = {}
    for job, reason in ended.failed:
        reasons.setdefault(reason, []).append(job.label)
    said = [
        f"{labels[0]}{f' and {len(labels) - 1} more' if len(labels) > 1 else ''}: {reason}"
        for reason, labels in reasons.items()
    ]
    if not ended.done:
        raise BenchError("\n".join(said))
    results = ended.results()
    headline = {d.id: d for each in results for d in each.task.headline()}
    if form is not Format.markdown or not brief:
        typer.echo(render_scores(results, list(headline.values()), form.value), nl=False)
    notes = list(seen_lines(ended.evaluations))
    if form is Format.markdown:
        typer.echo("".join(f"- {printable_lines(note)}\n" for note in notes), nl=False)
    else:
        said = notes + said
    for line in said:
        typer.echo(printable_lines(line), err=True)
    typer.echo(f"{len(ended.done) - ended.n_kept} evaluated, {ended.n_kept} kept from before.", err=True)
