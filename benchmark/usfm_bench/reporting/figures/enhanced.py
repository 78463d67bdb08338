"""Images that a model enhanced: input, output, target, difference and a profile of best, median and worst case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from usfm_bench.core.errors import BenchError
from usfm_bench.core.words import with_unit
from usfm_bench.data.sample import Image, Mask
from usfm_bench.reporting.figures.group import FigureData, NamedFigure, defined_cases, seeds_of, sentence
from usfm_bench.reporting.figures.style import new_figure, shown, styled
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.predictions import load_predictions
from usfm_bench.tasks.enhancement import with_images

_COLUMNS = ("input", "output", "target", "output - target")
_SPAN = 128  # levels of a difference that are shown
_PROFILE = "profile along the line"
_LINES = {"input": "#7B3294", "output": "#D95F0E", "target": "#0072B2"}
_ROW, _MARGIN = 38.0, 14.0  # millimetres


class Views(NamedTuple):
    """One case's images (H, W)."""

    input: Image
    output: Image
    target: Image
    line: int
    """The row of the profile: through the middle of the lesion, or of the image where there is none."""


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
            "Profile: grey levels along the row that is marked, through the middle of the lesion where there is one",
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


def _images(group: FigureData, results: ModelResults, wanted: Sequence[str]) -> tuple[dict[str, Views], int]:
    """Input, output and target by case, of the first seed; of a case in several folds the first."""
    seed = results.seeds[0]
    found: dict[str, Views] = {}
    for record, folder in group.trials(results):
        if record.spec.seed != seed:
            continue
        try:
            kept = with_images(load_predictions(folder / "predictions.npz"))
        except BenchError:
            continue
        if kept is not None:
            of_cases = zip(kept.case_ids, kept.inputs, kept.outputs, kept.targets, kept.lesions, strict=True)
            for case, low, output, good, lesion in of_cases:
                if case in wanted:
                    found.setdefault(case, Views(low.copy(), output.copy(), good.copy(), line_of(good, lesion)))
    return found, seed


def line_of(image: Image, lesion: Mask | None) -> int:
    """The row through the middle of the lesion, or of the image where it shows none."""
    if lesion is None or not lesion.any():
        return int(image.shape[0]) // 2
    return round(float(np.flatnonzero(lesion.any(axis=1)).mean()))


@styled
def draw(cases: Sequence[Views], titles: Sequence[str], width: float) -> Figure:
    """One row a case."""
    figure = new_figure(width, _MARGIN + _ROW * len(cases))
    figure.set_layout_engine("compressed")
    grid = figure.add_gridspec(len(cases), len(_COLUMNS) + 1, width_ratios=[*[1.0] * len(_COLUMNS), 1.5])
    for row, (views, title) in enumerate(zip(cases, titles, strict=True)):
        images = views[:3]
        difference = views.output.astype(np.float64) - views.target
        for column, name in enumerate(_COLUMNS):
            axes = figure.add_subplot(grid[row, column])
            if column < len(images):
                axes.imshow(images[column], cmap="gray", vmin=0, vmax=255)
                axes.axhline(views.line, color=_LINES[name], linewidth=0.6)
            else:
                axes.imshow(difference, cmap="RdBu_r", vmin=-_SPAN, vmax=_SPAN)
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(name)
            if column == 0:
                axes.set_ylabel(title)
        _draw_profile(figure.add_subplot(grid[row, -1]), views, first=row == 0, last=row == len(cases) - 1)
    return figure


def _draw_profile(axes: Axes, views: Views, *, first: bool, last: bool) -> None:
    for (name, colour), image in zip(_LINES.items(), views[:3], strict=True):
        axes.plot(image[views.line], color=colour, linewidth=0.7, label=name)
    axes.set(xlim=(0, views.input.shape[1] - 1), ylim=(0, 255), yticks=(0, 128, 255))
    axes.tick_params(labelsize=6)
    if first:
        axes.set_title(_PROFILE)
    if last:
        axes.set_xlabel("column (px)")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=3, fontsize=6, handlelength=1.0)
