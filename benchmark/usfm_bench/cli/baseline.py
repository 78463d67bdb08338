"""`usfm-bench baseline`: what `check` compares with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.options import RUNS, AnyRuns

EXAMPLES = "Example: `usfm-bench baseline --suite phantom --out reports/baselines/phantom.json`"


def baseline(
    suite: Annotated[
        str, typer.Option(help="Suite, or your own YAML file, whose finished trials become the baseline.")
    ],
    out: Annotated[Path, typer.Option(help="JSON file to write, small enough to commit.")],
    profile: Annotated[
        str | None, typer.Option(help="Which profile's trials, where the runs folder holds several.")
    ] = None,
    runs: AnyRuns = RUNS,
) -> None:
    """Write scores by seed and case, with hashes of data and settings, for `usfm-bench check` to compare with."""
    from usfm_bench.core import words
    from usfm_bench.core.files import write_text
    from usfm_bench.regression.baseline import make_baseline, to_json
    from usfm_bench.results.store import Store, choose_profile
    from usfm_bench.suites.plan import suite_name

    store, suite = Store(runs), suite_name(suite)
    made, notes = make_baseline(store, suite, choose_profile(store, suite, profile))
    write_text(out, to_json(made))
    for note in notes:
        typer.echo(note, err=True)
    typer.echo(f"Wrote {out}: {len(made.entries)} models on data sets, {words.size(out.stat().st_size)}", err=True)
