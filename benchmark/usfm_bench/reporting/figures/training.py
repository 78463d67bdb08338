"""Training curves: loss and validation score, a line a seed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from usfm_bench.core.words import counted
from usfm_bench.reporting.figures.group import FigureData, Floats, NamedFigure, chunks, sentence
from usfm_bench.reporting.figures.style import GREY, Look, blocks, shown, styled


class History(NamedTuple):
    """What one trial noted of its training."""

    model: str
    epoch: Floats
    """(E,)."""
    loss: Floats
    """(E,) NaN where it was not noted."""
    score: Floats
    """(E,) NaN in epochs without a validation."""
    best_epoch: int


def training_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure; up to four models a pair of panels."""
    what = "Training curves"
    histories, lost = [], []
    for results in group.results:
        found = [read_history(folder, r.spec.model, r.best_epoch) for r, folder in group.trials(results)]
        histories.append([each for each in found if each is not None])
        if None in found:
            lost.append(f"{results.first.spec.model} ({found.count(None)} of {len(found)} trials)")
    not_shown = f"Not shown, no history.csv in the trial's folder: {', '.join(lost)}" if lost else ""
    drawn = [each for each in histories if each]
    if not drawn:
        yield group.nothing("training", what, f"{what}. {not_shown}.")
        return
    unscored = [each[0].model for each in drawn if all(np.isnan(trial.score).all() for trial in each)]
    caption = sentence(
        f"One thin line a trial (seed and fold), {counted([len(each) for each in drawn], 'trial')} a model: mean loss "
        "of each epoch in training, and score on the validation images",
        "Marker: the epoch whose checkpoint was tested",
        "Losses of models with other heads are not comparable" if len(drawn) > 1 else "",
        f"No validation score was noted: {', '.join(unscored)}" if unscored else "",
        not_shown,
    )
    yield group.named(
        "training", what, caption, training_panels(drawn, group.looks, group.width, group.task.validation)
    )


def read_history(folder: Path, model: str, best_epoch: int) -> History | None:
    """A trial's `history.csv`; None where it is missing, empty or damaged."""
    try:
        table = pd.read_csv(folder / "history.csv")
        columns = [
            table[name].to_numpy(np.float64) if name in table else np.full(len(table), np.nan)
            for name in ("epoch", "loss", "val_score")
        ]
    except (OSError, ValueError):
        return None
    return (
        History(model, columns[0], columns[1], columns[2], best_epoch)
        if len(table) and not np.isnan(columns[0]).any()
        else None
    )


@styled
def training_panels(models: Sequence[Sequence[History]], looks: Mapping[str, Look], width: float, score: str) -> Figure:
    """Loss and validation score beside each other; up to four models a pair of panels."""
    parts = chunks(models)
    names = [[shown(trials[0].model, 40) for trials in part] for part in parts]
    figure, made = blocks(names, 2, width, least=75, most=90, height=52)
    last = max(trial.epoch.max() for trials in models for trial in trials)
    for block, part in zip(made, parts, strict=True):
        left, right = block.axes
        for trial in itertools.chain.from_iterable(part):
            _draw(left, right, trial, looks[trial.model])
        left.set_ylabel("Training loss")
        right.set_ylabel(shown(score, 28))
        for axes in block.axes:
            axes.set_xlabel("Epoch")
            axes.set_xlim(0.5, last + 0.5)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if all(np.isnan(trial.score).all() for trials in part for trial in trials):
            right.set_yticks([])
            right.text(0.5, 0.5, "none noted", transform=right.transAxes, ha="center", va="center", color=GREY)
        block.legend([_handle(trials[0].model, looks[trials[0].model]) for trials in part])
    return figure


def _handle(model: str, look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, linestyle=look.line, marker=look.marker, label=shown(model, 40))


def _draw(left: Axes, right: Axes, trial: History, look: Look) -> None:
    best = trial.epoch == trial.best_epoch
    scores = 100 * trial.score
    for axes, values in ((left, trial.loss), (right, scores)):
        known = ~np.isnan(values)
        # A run of one epoch is a point.
        dot = "." if known.sum() == 1 else ""
        axes.plot(
            *(trial.epoch[known], values[known]), color=look.colour, linestyle=look.line, linewidth=0.8, marker=dot
        )
    right.plot(trial.epoch[best], scores[best], look.marker, color=look.colour)
