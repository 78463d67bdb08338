"""Images that a model enhanced: input, output, target and difference of the best, the median and the worst case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from usfm_bench.core.errors import BenchError
from usfm_bench.core.words import with_unit
from usfm_bench.data.sample import Image
from usfm_bench.reporting.figures.group import FigureData, NamedFigure, defined_cases, seeds_of, sentence
from usfm_bench.reporting.figures.style import new_figure, shown, styled
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.predictions import load_predictions
from usfm_bench.tasks.enhancement import with_images

_COLUMNS = ("input", "output", "target", "output - target")
_SPAN = 128  # levels of a difference that are shown
_ROW, _MARGIN = 43.0, 8.0  # millimetres


class Shown(NamedTuple):
    """A case of the figure."""

    case_id: str
    why: str
    """`best`, `median` or `worst`."""
    score: float
    """Mean over seeds."""


def enhanced_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure a model, of its first seed. Images of patients are drawn only where images were asked for."""
    for results in group.results:
        model = results.first.spec.model
        what, kind = f"Images of {model}", f"enhanced-{model}"
        if not group.synthetic and group.image_root is None:
            yield group.nothing(
                kind,
                what,
                f"{what}: not drawn, since they are of patients; a page (--format html) draws them where the data lie.",
            )
            continue
        cases = choose(results, group.task.by_case)
        images, seed = _images(group, results, [case.case_id for case in cases])
        if not images:
            yield group.nothing(kind, what, f"{what}: no readable predictions.npz has images of its cases.")
            continue
        definition = results.definition(group.task.by_case)
        caption = sentence(
            f"Best, median and worst case by {definition.name} {definition.id}, mean over {seeds_of([results])}; "
            f"images of seed {seed} at native size",
            f"Difference: red is too bright, blue too dark, full colour at {_SPAN} of 255 levels",
        )
        cases = [case for case in cases if case.case_id in images]
        titles = [f"{c.why}: {shown(c.case_id, 20)}\n{with_unit(c.score, definition.unit)}" for c in cases]
        drawn = draw([images[case.case_id] for case in cases], titles, group.width)
        yield group.named(kind, what, caption, drawn)


def choose(results: ModelResults, column: str) -> list[Shown]:
    """Best, median (the lower of the two middle ones) and worst case by a score where higher is better."""
    used = defined_cases(results, column)
    ids = results.case_table["case_id"].to_numpy()[used]
    scores = results.matrix(column)[:, used].mean(axis=0)
    order = np.argsort(scores, kind="stable")
    if not len(order):
        return []
    places = {"best": order[-1], "median": order[(len(order) - 1) // 2], "worst": order[0]}
    return [Shown(str(ids[i]), why, float(scores[i])) for why, i in places.items()]


def _images(
    group: FigureData, results: ModelResults, wanted: Sequence[str]
) -> tuple[dict[str, tuple[Image, Image, Image]], int]:
    """Input, output and target by case, of the first seed; of a case in several folds the first."""
    seed = results.seeds[0]
    found: dict[str, tuple[Image, Image, Image]] = {}
    for record, folder in group.trials(results):
        if record.spec.seed != seed:
            continue
        try:
            kept = with_images(load_predictions(folder / "predictions.npz"))
        except BenchError:
            continue
        if kept is not None:
            of_cases = zip(kept.case_ids, kept.inputs, kept.outputs, kept.targets, strict=True)
            for case, *images in of_cases:
                if case in wanted:
                    found.setdefault(case, (images[0].copy(), images[1].copy(), images[2].copy()))
    return found, seed


@styled
def draw(cases: Sequence[tuple[Image, Image, Image]], titles: Sequence[str], width: float) -> Figure:
    """One row a case."""
    figure = new_figure(width, _MARGIN + _ROW * len(cases))
    figure.set_layout_engine("compressed")
    for row, (images, title) in enumerate(zip(cases, titles, strict=True)):
        difference = images[1].astype(np.float64) - images[2]
        for column, name in enumerate(_COLUMNS):
            axes = figure.add_subplot(len(cases), len(_COLUMNS), row * len(_COLUMNS) + column + 1)
            if column < len(images):
                axes.imshow(images[column], cmap="gray", vmin=0, vmax=255)
            else:
                axes.imshow(difference, cmap="RdBu_r", vmin=-_SPAN, vmax=_SPAN)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(name)
            if column == 0:
                axes.set_ylabel(title)
    return figure
