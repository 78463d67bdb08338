"""Case sheets: contours of reference and prediction of the best, the median, the worst and every missed case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from usfm_bench.core.errors import BenchError
from usfm_bench.core.words import counted
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.sample import Image, Mask, Masks
from usfm_bench.reporting.figures.group import FigureData, NamedFigure, defined_cases, seeds_of, sentence
from usfm_bench.reporting.figures.style import GREY, Look, hues_of, legend_below, panels, shown, styled
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.predictions import load_predictions
from usfm_bench.tasks.segmentation import with_masks

_DASHED: Final = "dashed"
MOST_MISSED = 12
"""Missed lesions on one sheet."""


@dataclass
class Shown:
    """A case on a sheet."""

    case_id: str
    why: str
    """`best`, `missed in 2 of 3 seeds`."""
    dsc: float
    """Mean over seeds."""
    reference: Mask | Masks | None = None
    """(H, W), or (K, H, W) of several structures."""
    predictions: list[Mask | Masks] = field(default_factory=list)
    """One a seed whose masks were kept."""
    image: Image | None = None


def sheet_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure a model."""
    images, refused = _images(group)
    for results in group.results:
        model = results.first.spec.model
        what = f"Cases of {model}"
        cases, left_out = choose(results)
        n_lesions = int(defined_cases(results, "DSC").sum())
        lost = add_masks(cases, [(r.spec.seed, folder) for r, folder in group.trials(results)])
        cases = [case for case in cases if case.reference is not None]
        if not cases:
            reason = f"no masks were kept, {lost[0]}." if lost else "no test case has a lesion."
            yield group.nothing(f"sheet-{model}", what, f"{what}: {reason}")
            continue
        for case in cases:
            case.image = images.get(case.case_id)
        caption = sentence(
            f"{_lines(results.structures)} of each of {seeds_of([results])}, at native size; DSC "
            f"{results.definitions['DSC']}, mean over seeds; {counted([n_lesions], 'case')} with a lesion",
            "Best, median and worst mean DSC, and every lesion that at least one seed missed",
            f"{left_out} more missed lesions are left out" if left_out else "",
            f"Without the masks of {counted([len(lost)], 'trial')}: {lost[0]}" if lost else "",
            refused if refused else "" if images else "Contours alone, without the image",
        )
        yield group.named(
            f"sheet-{model}", what, caption, sheet(cases, group.looks[model], group.width, results.structures)
        )


def _lines(structures: Sequence[str]) -> str:
    return "Reference (solid) and prediction (dashed)" if structures else "Reference (filled) and prediction"


def choose(results: ModelResults, most_missed: int = MOST_MISSED) -> tuple[list[Shown], int]:
    """Best, median, worst and missed cases, and how many missed ones are left out.

    The median is the lower of the two middle cases where their number is even; of equal cases the first by name counts
    as worse.
    """
    used = defined_cases(results, "DSC")
    ids = results.case_table["case_id"].to_numpy()[used]
    scores = results.matrix("DSC")[:, used].mean(axis=0)
    missed = (results.matrix("missed")[:, used] > 0).sum(axis=0)
    order = np.argsort(scores, kind="stable")
    if not len(order):
        return [], 0
    why: dict[int, list[str]] = {}
    for word, place in (("best", -1), ("median", (len(order) - 1) // 2), ("worst", 0)):
        why.setdefault(int(order[place]), []).append(word)
    lesions = [int(i) for i in order if missed[i]]
    for i in [i for i in lesions if i in why] + [i for i in lesions if i not in why][:most_missed]:
        why.setdefault(i, []).append(f"missed in {missed[i]} of {counted([len(results.seeds)], 'seed')}")
    shown_cases = [Shown(str(ids[i]), ", ".join(words), float(scores[i])) for i, words in why.items()]
    return shown_cases, sum(i not in why for i in lesions)


def add_masks(cases: Sequence[Shown], trials: Sequence[tuple[int, Path]]) -> list[str]:
    """Fill in the masks that trials kept; returns, in words, what could not be read."""
    by_id = {case.case_id: case for case in cases}
    lost = []
    for _, folder in sorted(trials):
        try:
            kept = with_masks(load_predictions(folder / "predictions.npz"))
        except BenchError:
            lost.append("no readable predictions.npz in the trial's folder")
            continue
        if kept is None:
            continue
        for case_id, reference, prediction in zip(kept.case_ids, kept.references, kept.predictions, strict=True):
            if case_id in by_id:
                # Copies, so that the masks of all other cases can be freed.
                by_id[case_id].reference = reference.copy()
                by_id[case_id].predictions.append(prediction.copy())
    return lost


def _images(group: FigureData) -> tuple[dict[str, Image], str]:
    """Images by case where they may be drawn, and why there are none."""
    if group.image_root is None:
        return {}, ""
    first = group.results[0].first
    try:
        dataset = open_dataset(first.spec.dataset, group.image_root)
    except BenchError as error:
        return {}, f"No images: {str(error).splitlines()[0]}"
    if dataset.content_hash != first.data_hash:
        return {}, f"No images: what lies in '{group.image_root}' is not what the trials were made with"
    return {sample.case.case_id: sample.image for sample in dataset.samples}, ""


@styled
def sheet(cases: Sequence[Shown], look: Look, width: float, structures: Sequence[str] = ()) -> Figure:
    """A panel a case; several structures have a colour each, one structure that of the model."""
    titles = [f"{shown(case.why, 28)}\n{shown(case.case_id, 28)}\nDSC {100 * case.dsc:.1f} %" for case in cases]
    lines = max(title.count("\n") + 1 for title in titles)
    height = 50 + 3.6 * lines + 2 * len(structures)  # of the legend, which has two columns
    figure, all_axes = panels(len(cases), width, least=42, height=height, most=45)
    figure.set_layout_engine("compressed")  # its margins hold where images keep their aspect
    for axes, case, title in zip(all_axes, cases, titles, strict=True):
        _draw(axes, case, look, hues_of(structures))
        axes.set_title(title)
    colours = dict(zip(structures, hues_of(structures), strict=True))
    legend_below(
        figure,
        [
            Line2D([], [], color=GREY if colours else "black", linewidth=1.4, label="reference"),
            Line2D(
                *([], []),
                color=GREY if colours else look.colour,
                linestyle=_DASHED if colours else "-",
                linewidth=0.8,
                label="prediction, one line a seed",
            ),
            *(Line2D([], [], color=hue, linewidth=1.4, label=shown(name, 40)) for name, hue in colours.items()),
        ],
    )
    return figure


def _draw(axes: Axes, case: Shown, look: Look, hues: Sequence[str]) -> None:
    assert case.reference is not None
    height, width = case.reference.shape[-2:]
    if case.image is not None:
        axes.imshow(case.image, cmap="gray", vmin=0, vmax=255)
    for k, hue in enumerate(hues):
        _outline(axes, case.reference[k], hue, 1.4)
        for prediction in case.predictions:
            _outline(axes, prediction[k], hue, 0.8, linestyle=_DASHED)
    if not hues:
        _outline(axes, case.reference, "white" if case.image is not None else "black", 1.4, filled=case.image is None)
        for prediction in case.predictions:
            _outline(axes, prediction, look.colour, 0.8)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set(visible=True, color=GREY)
    axes.set_xlabel(f"{width} × {height} px", size=6, color=GREY)


def _outline(
    axes: Axes, mask: Mask, colour: str, linewidth: float, *, filled: bool = False, linestyle: str | None = None
) -> None:
    if not mask.any():
        return
    # A border of background closes contours at the edge of the image.
    padded = np.pad(mask, 1).astype(np.float64)
    y, x = (np.arange(n) - 1.0 for n in padded.shape)
    if filled:
        axes.contourf(x, y, padded, levels=[0.5, 1.5], colors=["#E4E4E4"])
    axes.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=linewidth, linestyles=linestyle)
