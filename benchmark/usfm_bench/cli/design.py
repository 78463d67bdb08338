"""`usfm-bench design`: what a study will tell, before anything is trained."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.core.errors import BenchError

EXAMPLES = (
    "Examples: `usfm-bench design --cases 120 --positives 14 --seeds 3 --groups 60` · `usfm-bench design --cases 130 "
    "--seeds 5 --dsc 0.85` (lesions alone) · `usfm-bench design --cases 120 --positives 14 --picture coverage.png` "
    "marks the design in a grid of others (docs/coverage.md)."
)
_SIZES, _TRUTH, _HOW = "The study", "What is taken for true", "How it is simulated"
_MOST_DRAWS = 100_000


class Format(StrEnum):
    """How the expectation is written."""

    text = "text"
    markdown = "markdown"
    json = "json"


def _assumed(text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=text, rich_help_panel=_TRUTH)
    return option


def design(
    cases: Annotated[int, typer.Option(help="Test cases.", rich_help_panel=_SIZES)],
    positives: Annotated[
        int | None,
        typer.Option(help="Cases of the positive class. Without: segmentation alone.", rich_help_panel=_SIZES),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each model.", rich_help_panel=_SIZES)] = 3,
    groups: Annotated[
        int | None,
        typer.Option(help="Patients that the cases come from. Without: as many as cases.", rich_help_panel=_SIZES),
    ] = None,
    sensitivity: Annotated[float, _assumed("Of the positive class.")] = 0.8,
    specificity: Annotated[float, _assumed("Of the positive class.")] = 0.9,
    dsc: Annotated[float, _assumed("Mean DSC.")] = 0.8,
    dsc_spread: Annotated[float, _assumed("Standard deviation of DSC between images.")] = 0.15,
    seed_spread: Annotated[float, _assumed("Standard deviation of DSC and rates between trainings.")] = 0.01,
    missed: Annotated[float, _assumed("Share of lesions that are missed.")] = 0.02,
    alike: Annotated[float, _assumed("Correlation of two cases of one group.")] = 0.5,
    shared: Annotated[float, _assumed("Correlation of what two models find hard.")] = 0.7,
    draws: Annotated[int, typer.Option(help="Studies to simulate.", rich_help_panel=_HOW)] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation.", rich_help_panel=_HOW)] = 0,
    form: Annotated[
        Format, typer.Option("--format", help="text and markdown show percent; json holds fractions.")
    ] = Format.text,
    picture: Annotated[
        Path | None,
        typer.Option(help="Also draw the coverage of a grid of designs with this one marked, as .png or .svg."),
    ] = None,
) -> None:
    """Expected width and coverage of intervals, and the difference that can be found, before anything is trained."""
    import numpy as np

    from usfm_bench.cli.progress import CountProgress
    from usfm_bench.reporting.design import design_json, design_text
    from usfm_bench.stats.design import FEWEST, Assumptions, Design, simulate

    if not FEWEST <= draws <= _MOST_DRAWS:
        raise BenchError(f"--draws is {draws}; expected {FEWEST} to {_MOST_DRAWS}.")
    if picture is not None and picture.suffix.lower() not in (".png", ".svg"):
        raise BenchError(f"--picture {picture}: expected a name that ends in .png or .svg.")
    study = Design(cases, seeds, cases if groups is None else groups, positives)
    assumed = Assumptions(
        sensitivity=sensitivity,
        specificity=specificity,
        dsc=dsc,
        dsc_spread=dsc_spread,
        seed_spread=seed_spread,
        missed=missed,
        alike=alike,
        shared=shared,
    )
    with CountProgress("studies", draws) as progress:
        rows = simulate(study, assumed, draws, np.random.default_rng(seed), lambda: progress.advance(""))
    if picture is not None:
        from usfm_bench.reporting.figures.coverage import write_coverage

        write_coverage(picture, study)
    if form is Format.json:
        typer.echo(design_json(study, assumed, rows, draws, seed), nl=False)
    else:
        typer.echo(design_text(study, assumed, rows, draws, markdown=form is Format.markdown), nl=False)
