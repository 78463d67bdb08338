"""`usfm-bench check`: are new runs worse than a baseline?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.options import RUNS, AnyRuns
from usfm_bench.core.errors import BenchError

EXAMPLES = (
    "Examples: `usfm-bench check --baseline reports/baselines/phantom.json` · `usfm-bench check --baseline b.json "
    "--margin 0.01 --margin HD95=2 --strict` · `usfm-bench check --baseline b.json --exact`. Exit codes: 0 no "
    "regression shown; 1 a regression, a cost beyond its limit, another bit; 2 the runs cannot be compared."
)
_COSTS = "Costs, as ratios of new to old"


class Format(StrEnum):
    """How a check is written."""

    text = "text"
    markdown = "markdown"
    junit = "junit"


def check(
    baseline: Annotated[Path, typer.Option(help="File that `usfm-bench baseline` wrote.")],
    margin: Annotated[
        list[str] | None,
        typer.Option(
            help="Drop that is no regression: `0.01` for every rate (one point), `HD95=2` for one metric in its unit; "
            "may be given several times. Without: 0."
        ),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Compute scores anew from kept predictions; they must equal the baseline's to the last bit."
        ),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also where the runs cannot tell whether there is a regression.")
    ] = False,
    form: Annotated[
        Format, typer.Option("--format", help="markdown suits a job summary, junit a CI server.")
    ] = Format.text,
    max_slowdown: Annotated[
        float | None, typer.Option(min=0, help="Largest ratio of wall time.", rich_help_panel=_COSTS)
    ] = None,
    max_memory: Annotated[
        float | None, typer.Option(min=0, help="Largest ratio of peak memory.", rich_help_panel=_COSTS)
    ] = None,
    min_throughput: Annotated[
        float | None,
        typer.Option(min=0, help="Smallest ratio of training images a second.", rich_help_panel=_COSTS),
    ] = None,
    runs: AnyRuns = RUNS,
) -> None:
    """Say whether finished trials are worse than a baseline: a paired test, with its power where it cannot tell."""
    from usfm_bench.regression.baseline import load_baseline
    from usfm_bench.regression.check import Limits
    from usfm_bench.regression.check import check as compare_with
    from usfm_bench.regression.costs import CostLimits
    from usfm_bench.regression.render import render, render_error
    from usfm_bench.results.store import Store

    general, named = parse_margins(margin or [])
    limits = Limits(general, named, CostLimits(max_slowdown, max_memory, min_throughput))
    try:
        found = compare_with(load_baseline(baseline), Store(runs), limits, exact=exact)
    except BenchError as error:
        if form is Format.junit:  # a CI server reads the file, whatever came of it
            typer.echo(render_error(str(error)), nl=False)
        raise
    typer.echo(render(found, form.value, strict=strict), nl=False)
    if found.failed(strict=strict):
        raise typer.Exit(1)


def parse_margins(values: list[str]) -> tuple[float, dict[str, float]]:
    """The margin of rates, and those of named metrics.

    >>> parse_margins(["0.01", "HD95=2"])
    (0.01, {'HD95': 2.0})

    Raises:
        BenchError: not a number, or negative; all of them at once.
    """
    general, named, faults = 0.0, {}, []
    for value in values:
        name, _, number = value.rpartition("=")
        try:
            margin = float(number)
        except ValueError:
            margin = -1.0
        if not 0 <= margin < float("inf"):
            faults.append(f"--margin {value}: expected a number of 0 or more, such as 0.01 or HD95=2.")
        elif name:
            named[name.strip().upper()] = margin
        elif margin >= 1:
            faults.append(
                f"--margin {value}: rates are fractions, so one point is 0.01; a distance is named, as HD95=2."
            )
        else:
            general = margin
    if faults:
        raise BenchError("\n".join(faults))
    return general, named
