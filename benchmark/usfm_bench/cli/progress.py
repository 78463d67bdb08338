"""What a person sees while trials run: a bar for all of them and one for each that is running. On stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from usfm_bench.cli.output import console
from usfm_bench.core.errors import capped
from usfm_bench.core.pipe_table import printable_lines
from usfm_bench.execution.outcome import Event, Notice, Outcome, Tick
from usfm_bench.specs.trial import TrialSpec

_STYLES = {
    "done": "[green]done[/]",
    "skipped": "[yellow]skipped[/]",
    "failed": "[bold red]failed[/]",
    "busy": "[yellow]left[/]",
}


class _Bars:
    """Bars that stand in a terminal while a block runs, with the time that it took and the time left."""

    def __init__(self, *columns: ProgressColumn) -> None:
        times = (TimeElapsedColumn(), TimeRemainingColumn())
        self._bars = Progress(*columns, *times, console=console(), transient=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line above them."""
        self._bars.console.print(_text(text))


class RunProgress(_Bars):
    """Bars in a terminal; plain lines elsewhere. The overall bar counts epochs, for a useful time left."""

    def __init__(self, trials: Sequence[TrialSpec]) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
        )
        self._total, self._ended = len(trials), 0
        self._left = {spec.label: spec.training.epochs for spec in trials}
        self._overall = self._bars.add_task("all trials", total=sum(self._left.values()), state="")
        self._running: dict[str, TaskID] = {}

    def keep(self, trials: Sequence[TrialSpec]) -> None:
        """Trials that were finished before."""
        for spec in trials:
            self._end(spec)
        if trials:
            self.say(f"{len(trials)} of {self._total} trials are already done.")

    def tell(self, event: Event) -> None:
        """Show an epoch, or how a trial ended."""
        if isinstance(event, Tick):
            self._show_epoch(event)
            return
        if isinstance(event, Notice):
            self.say(f"{event.spec.label}: {event.text}" if event.spec else event.text)
            return
        self._end(event.spec)
        self._bars.console.print(
            f"[dim]{self._ended:>3}/{self._total}[/] {_STYLES[event.status]} {_text(self._name(event))}  "
            f"{_text(_short(event.message))}"
        )

    @staticmethod
    def _name(outcome: Outcome) -> str:
        # Missing weights concern every seed of a model.
        return outcome.spec.model if outcome.status == "skipped" else outcome.spec.label

    def _show_epoch(self, tick: Tick) -> None:
        label, epochs = tick.spec.label, tick.spec.training.epochs
        done = int(tick.row["epoch"])
        if label not in self._running:
            # Short enough for a terminal of 80 columns; the line at the trial's end names it in full.
            name = f"  {tick.spec.model} seed {tick.spec.seed}"
            self._running[label] = self._bars.add_task(_text(name), total=epochs, state="")
        score = tick.row["val_score"]
        state = f"epoch {done}/{epochs}  loss {tick.row['loss']:.3f}" + ("" if score != score else f"  val {score:.3f}")
        self._bars.update(self._running[label], completed=done, state=state)
        self._advance(label, epochs - done)

    def _end(self, spec: TrialSpec) -> None:
        self._ended += 1
        self._advance(spec.label, 0)
        if (task := self._running.pop(spec.label, None)) is not None:
            self._bars.remove_task(task)

    def _advance(self, label: str, left: int) -> None:
        self._bars.update(self._overall, advance=self._left[label] - left, state=f"{self._ended}/{self._total} ended")
        self._left[label] = left


def _text(words: str) -> str:
    """Words that are no markup and no command to the terminal."""
    return escape(printable_lines(words))


def _short(message: str) -> str:
    return "\n".join(capped(message.split("\n"), hint="; `usfm-bench data verify NAME --format json` lists all"))


class CountProgress(_Bars):
    """A bar that counts, with the time left, in a terminal; elsewhere nothing but what is said."""

    def __init__(self, name: str, total: int) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[state]}"),
        )
        self._bar = self._bars.add_task(name, total=total, state="")

    def advance(self, state: str, by: int = 1) -> None:
        """Count on, and show what was done last."""
        self._bars.update(self._bar, advance=by, state=_text(state))


class PretrainProgress:
    """A line with loss, speed and time left in a terminal; a line now and then elsewhere.

    The bar is made in the process that trains, which may be another than the one that made this object.
    """

    _every_s = 15.0  # between plain lines

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._bar: Progress | None = None
        self._last_line = -self._every_s

    def __enter__(self) -> PretrainProgress:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, row: dict[str, float]) -> None:
        """Show a row of the history."""
        if self._bar is None:
            self._bar = Progress(
                BarColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=console(),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self._steps)
            if self._bar.console.is_interactive:
                self._bar.start()
        step = int(row["step"])
        text = f"step {step}/{self._steps}  {losses_in_words(row)}  {row['images_per_s']:.0f} images/s"
        self._bar.update(self._task, completed=step, description=text)
        now = time.monotonic()
        if not self._bar.console.is_interactive and (now - self._last_line >= self._every_s or step == self._steps):
            self._bar.console.print(text)
            self._last_line = now
        if step == self._steps:
            self._bar.stop()


def losses_in_words(row: Mapping[str, float | None]) -> str:
    """The loss of a row of a pre-training's history, then what else its method writes there."""
    others = {name: value for name, value in row.items() if name not in ("step", "lr", "loss", "images_per_s")}
    shown = {name: row[name] for name in ("loss",) if name in row} | others
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items() if value is not None)
