"""What became of a trial, and what its runner tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from usfm_bench.specs.trial import TrialSpec

Status = Literal["done", "skipped", "failed", "busy"]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    spec: TrialSpec
    status: Status
    message: str = ""
    """The headline score, or why it was skipped, failed or left: `busy` is what another process has in hand."""


@dataclass(frozen=True)
class Tick:
    """One epoch of a running trial has ended."""

    spec: TrialSpec
    row: dict[str, float]
    """Row of the history: epoch, lr, loss, val_score."""


@dataclass(frozen=True)
class Notice:
    """What a person should know of a trial that is not running."""

    spec: TrialSpec | None
    """None: of all of them."""
    text: str


Event = Outcome | Tick | Notice
