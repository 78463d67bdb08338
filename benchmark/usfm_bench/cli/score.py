"""`usfm-bench score`: metrics from kept predictions, without the model, the data set or torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from usfm_bench.core.errors import BenchError

if TYPE_CHECKING:
    from usfm_bench.metrics import Definition
    from usfm_bench.results.frames import ModelResults
    from usfm_bench.results.trials import Trial

EXAMPLES = (
    "Examples: `usfm-bench score reports/runs/busi-seg --definition hd95.max_directed.native.px` · `usfm-bench score "
    "reports/runs --definition usfm-repo --format csv` · `usfm-bench score --list` · `usfm-bench score reports/runs "
    "--update` brings records of an earlier version to today's definitions."
)

_FAMILIES = (
    "",
    "Also: nsd.<t>px.native, nsd.<t>mm.native for any tolerance t; <metric>.binary[<class>] for a positive class, with",
    ".val_f1, .val_spec90, .val_spec95 or .val_sens90 behind it for the threshold that validation cases chose; and",
    "usfm-repo, tinyusfm-repo, ultrafedfm-repo for all metrics of an emulated repository. `@1` may be left out.",
)


class Format(StrEnum):
    """How scores are written."""

    markdown = "markdown"
    json = "json"
    csv = "csv"


def score(
    runs: Annotated[
        Path | None, typer.Argument(help="A runs folder, or any folder in one, down to a single trial.")
    ] = None,
    definition: Annotated[
        list[str] | None,
        typer.Option(
            help="Definition id, or an emulator (usfm-repo, tinyusfm-repo, ultrafedfm-repo) for all its metrics; "
            "may be given several times. Without: what every trial is scored with, compared with what is stored."
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="markdown shows percent; json and csv hold fractions.")
    ] = Format.markdown,
    cases: Annotated[
        Path | None, typer.Option(help="Also write the value of every case, to a .csv or .parquet file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write instead of the screen.")] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Write today's primary definitions into the trials, from their predictions."),
    ] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Show every definition and stop.")] = False,
) -> None:
    """Metrics of finished trials from their kept predictions, without the model, the data set or torch."""
    from usfm_bench.metrics import DEFINITIONS, find_definitions
    from usfm_bench.results.rescore import find_trials, rescore

    if list_all:
        typer.echo("\n".join([*(f"{d.id:44} {d.unit:9} {d.formula}" for d in DEFINITIONS.values()), *_FAMILIES]))
        return
    if runs is None:
        raise BenchError("RUNS is missing: the runs folder, or a folder in it. `usfm-bench score --list` needs none.")
    if cases is not None and cases.suffix.lower() not in (".csv", ".parquet"):
        raise BenchError(f"--cases {cases}: expected a name that ends in .csv or .parquet.")
    if update and (definition or cases or out):
        raise BenchError(
            "--update writes into the trials themselves; --definition, --cases and --out do not go with it."
        )
    chosen = find_definitions(definition or [])
    trials, complete = _with_predictions(find_trials(runs))
    if update:
        complete = _update(trials) and complete
    else:
        results, faults = rescore(trials, chosen or None)
        for line in faults:
            typer.echo(line, err=True)
        complete = complete and not faults
        _write(results, chosen, form, cases, out)
    if not complete:
        raise typer.Exit(1)


def _update(trials: list[Trial]) -> bool:
    """Update every trial that can be; whether all could."""
    from usfm_bench.results.rescore import update_trial

    done, faults = 0, []
    for folder, record in trials:
        try:
            done += update_trial(folder, record)
        except BenchError as error:
            faults.append(f"skipped: {error}")
    for line in faults:
        typer.echo(line, err=True)
    current = len(trials) - done - len(faults)
    typer.echo(f"Updated {done} of {len(trials)} trials; {current} had today's definitions.", err=True)
    return not faults


def _with_predictions(trials: list[Trial]) -> tuple[list[Trial], bool]:
    """The trials that keep predictions, and whether all do; the others are named."""
    from usfm_bench.results.rescore import PREDICTIONS

    kept = [(folder, record) for folder, record in trials if (folder / PREDICTIONS).exists()]
    if not kept:
        raise BenchError(f"None of the {len(trials)} trials keeps its {PREDICTIONS}, which scoring anew needs.")
    for folder, _ in trials:
        if not (folder / PREDICTIONS).exists():
            typer.echo(f"skipped, has no {PREDICTIONS}: {folder}", err=True)
    return kept, len(kept) == len(trials)


def _write(
    results: list[ModelResults], chosen: list[Definition], form: Format, cases: Path | None, out: Path | None
) -> None:
    import pandas as pd

    from usfm_bench.core.csv_cells import guarded_frame
    from usfm_bench.core.files import write_atomic, write_text
    from usfm_bench.reporting import render_scores
    from usfm_bench.results.frames import identified

    text = render_scores(results, chosen, form.value)
    if cases is not None:
        frame = pd.concat([identified(r) for r in results])
        write_atomic(
            cases,
            lambda stream: (
                guarded_frame(frame).to_csv(stream, index=False)
                if cases.suffix.lower() == ".csv"
                else frame.to_parquet(stream, index=False)
            ),
        )
        typer.echo(f"Wrote {cases}", err=True)
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(out, text)
        typer.echo(f"Wrote {out}", err=True)
