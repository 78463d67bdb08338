"""`usfm-bench claims`: is a published row arithmetically possible?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from usfm_bench.cli.options import TextFormat
from usfm_bench.core.pipe_table import printable_lines

EXAMPLES = (
    "Example: `usfm-bench claims reports/reference/paper_tables.yaml`. The file: `rows: [{table, dataset, task, model, "
    'citation, averaging?, n_cases?, n_runs?, values: {DSC: "92", ACC: "82.0"}}]`; docs/claims.md says what it means.'
)


def claims(
    file: Annotated[Path, typer.Argument(help="YAML file with published rows.")],
    form: Annotated[TextFormat, typer.Option("--format", help="How to print.")] = TextFormat.text,
) -> None:
    """Whether the numbers of published rows can belong together, with the proof where not; exit code 1 where not."""
    from usfm_bench.claims import check_claims, claims_json, claims_text, load_claims

    verdicts = check_claims(load_claims(file))
    text = claims_json(verdicts) if form is TextFormat.json else printable_lines(claims_text(verdicts))
    typer.echo(text, nl=False)
    if any(verdict.verdict == "impossible" for verdict in verdicts):
        raise typer.Exit(1)
