"""Confusion matrices, mean over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from usfm_bench.core.words import counted
from usfm_bench.reporting.figures.group import FigureData, Floats, NamedFigure, labels_of, seeds_of, sentence
from usfm_bench.reporting.figures.style import lines_of, panels, shown, styled
from usfm_bench.results.frames import ModelResults

_WRITTEN = 8  # classes up to which figures fit into cells


def confusion_figures(group: FigureData) -> Iterator[NamedFigure]:
    """One figure, a panel a model."""
    classes = group.results[0].first.classes
    matrices = [confusion_of(r) for r in group.results]
    models = [r.first.spec.model for r in group.results]
    absent = [name for k, name in enumerate(classes) if not matrices[0][k].any()]
    caption = sentence(
        f"Rows: truth; columns: prediction. Number of test cases, mean over {seeds_of(group.results)}, and percent of "
        f"the row, which the shade shows; {counted([len(labels_of(r)) for r in group.results], 'case')}",
        f"No test case: {', '.join(absent)}" if absent else "",
        f"Without figures: there are {len(classes)} classes" if len(classes) > _WRITTEN else "",
    )
    yield group.named(
        "confusion", "Confusion matrices", caption, confusion_panels(models, matrices, classes, group.width)
    )


def confusion_of(results: ModelResults) -> Floats:
    """(C, C) numbers of cases, mean over seeds; rows: truth."""
    labels, n = labels_of(results), len(results.first.classes)
    predicted = results.probabilities.argmax(axis=2)  # (S, N)
    each = [np.bincount(labels * n + said, minlength=n * n).reshape(n, n) for said in predicted]
    return np.asarray(np.mean(each, axis=0))


@styled
def confusion_panels(models: Sequence[str], matrices: Sequence[Floats], classes: Sequence[str], width: float) -> Figure:
    """A panel a model; the shade is the percent of the row."""
    n = len(classes)
    words = [shown(name, 12) for name in classes]
    slanted = max(len(line) for name in words for line in name.split("\n")) + 4 * max(lines_of(c, 12) for c in classes)
    side = max(22.0, min(11.0 * n, 90.0))
    least = min(width, side + 22)
    figure, all_axes = panels(
        len(models),
        width,
        least=least,
        height=side + 20 + 3.4 * max(lines_of(m, 24) for m in models) + slanted,
        most=least,
    )
    columns = max(1, int(width // least))
    for i, (axes, model, matrix) in enumerate(zip(all_axes, models, matrices, strict=True)):
        _draw(axes, matrix)
        axes.set_title(shown(model, 24))
        axes.set_xticks(
            [i + 0.5 for i in range(n)],
            words,
            rotation=45 if n > 2 else 0,
            ha="right" if n > 2 else "center",
            rotation_mode="anchor",
        )
        axes.set_yticks([i + 0.5 for i in range(n)], words if i % columns == 0 else [""] * n, rotation=0)
        axes.set_xlabel("Predicted")
        if i % columns == 0:
            axes.set_ylabel("Truth")
    return figure


def _draw(axes: Axes, matrix: Floats) -> None:
    import seaborn as sns  # here, since it takes a third of a second to import

    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    words = np.vectorize(_words, otypes=[object])(matrix, shares, totals)
    sns.heatmap(
        shares,
        **{"vmin": 0, "vmax": 1, "cmap": "Blues", "cbar": False, "square": True, "ax": axes},
        **{"annot": words if len(matrix) <= _WRITTEN else False, "fmt": ""},
        annot_kws={"size": 6, "linespacing": 1.1},
    )
    axes.spines[:].set_visible(True)
    axes.tick_params(length=0)


def _words(n: float, share: float, total: float) -> str:
    number = f"{n:.0f}" if float(n).is_integer() else f"{n:.1f}"
    return f"{number}\n{100 * share:.0f} %" if total else "no case"
