"""`usfm-bench`: the commands, and how a user's fault is shown."""

from __future__ import annotations

import sys
import warnings

import typer

from usfm_bench import __version__
from usfm_bench.cli import (
    baseline,
    check,
    claims,
    data,
    design,
    evaluate,
    leaderboard,
    models,
    predict,
    pretrain,
    report,
    run,
    score,
)
from usfm_bench.cli.output import plain_streams, say_error
from usfm_bench.core.errors import BenchError, capped

_ALL = "; of a data set, `usfm-bench data verify NAME --format json` lists all"

app = typer.Typer(
    name="usfm-bench",
    help="An honest benchmark of ultrasound foundation models: defined metrics, no leaks, intervals that cover.",
    epilog="Start with `usfm-bench run --suite demo`, then `usfm-bench report --suite demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("pretrain", epilog=pretrain.EXAMPLES, context_settings=pretrain.LENIENT)(pretrain.pretrain)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("predict", epilog=predict.EXAMPLES)(predict.predict)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("score", epilog=score.EXAMPLES)(score.score)
app.command("baseline", epilog=baseline.EXAMPLES)(baseline.baseline)
app.command("check", epilog=check.EXAMPLES)(check.check)
app.command("claims", epilog=claims.EXAMPLES)(claims.claims)
app.command("submit", epilog=leaderboard.SUBMIT_EXAMPLES)(leaderboard.submit)
app.command("design", epilog=design.EXAMPLES)(design.design)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(leaderboard.app, name="leaderboard")


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", is_eager=True, help="Show the version and exit."),
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line. A fault that the user can mend is one message on stderr and exit code 2."""
    plain_streams()
    warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file is said in our words
    try:
        app()
    except BenchError as error:
        say_error("\n".join(capped(str(error).split("\n"), hint=_ALL)))
        sys.exit(2)
