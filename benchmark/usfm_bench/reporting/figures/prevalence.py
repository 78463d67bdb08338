"""F1 against prevalence: trained at each, and of one classifier that is only tested at each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from usfm_bench.core.words import counted
from usfm_bench.reporting.families import Family, families
from usfm_bench.reporting.figures.group import NamedFigure, chunks, seeds_of, sentence
from usfm_bench.reporting.figures.style import GREY, Look, blocks, looks_of, shown, styled
from usfm_bench.reporting.prevalence import JUDGED, published_f1
from usfm_bench.reporting.report import Report
from usfm_bench.stats.reweighted import at_prevalence, rates

_TICKS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
_FINE = 61
_DASHED = (0, (4, 1.5))
_SAME, _OWN = "same classifier,\ntest prevalence alone", "the test set's own prevalence"


def prevalence_figures(report: Report, width: float) -> Iterator[NamedFigure]:
    """One figure for each data set that names a positive class, its variants together."""
    looks = looks_of([r.first.spec.model for r in report.results])
    found = families(report.results)
    for place in dict.fromkeys(family.place for family in found):
        own = [family for family in found if family.place == place]
        spec = own[0].first.results.first.spec.dataset
        title = f"F1 against prevalence of {own[0].first.positive}, {place[1]}{' (synthetic)' * spec.synthetic}"
        yield NamedFigure(f"prevalence-{place[1]}", title, _caption(own), prevalence(own, looks, width))


@styled
def prevalence(found: Sequence[Family], looks: Mapping[str, Look], width: float) -> Figure:
    """F1 of the positive class and macro F1 upwards, prevalence to the right; four models a row of panels."""
    trained, parts = found[0].is_trained, chunks(found)
    extra = [_SAME if trained else _OWN]
    names = [[*(shown(family.model, 30) for family in part), *extra] for part in parts]
    figure, made = blocks(names, len(JUDGED), width, least=80, most=90, height=62)
    ends = _ends(found)
    for block, part in zip(made, parts, strict=True):
        for axes, metric in zip(block.axes, JUDGED, strict=True):
            for i, family in enumerate(part):
                # Bars of several models at one prevalence would hide each other.
                _draw(axes, family, metric, looks[family.model], 1.025 ** (i - (len(part) - 1) / 2), ends)
            _published(axes)
            name = "Macro F1" if metric == "F1 macro" else f"F1 of {shown(part[0].first.positive)}"
            axes.set_ylabel(f"{name} (%)")
            _finish(axes, ends, "trained and tested at it" if trained else "of the test cases")
        block.legend([*(_entry(family, looks[family.model]) for family in part), _extra(trained)])
    return figure


def _ends(found: Sequence[Family]) -> tuple[float, float]:
    tested = [p for family in found for p in family.prevalences]
    return min(tested), max(tested)


def _draw(axes: Axes, of: Family, metric: str, look: Look, shift: float, ends: tuple[float, float]) -> None:
    first = of.first
    fine = np.geomspace(*ends, _FINE)
    sen, spec = (each[:, 0] for each in rates(first.decisions, first.labels))
    curve = [100 * at_prevalence(metric, sen, spec, p).mean() for p in fine]
    axes.plot(100 * fine, curve, linestyle=_DASHED if of.is_trained else "-", color=look.colour, linewidth=1.0)
    tested = [*of.classifiers] if of.is_trained else [first] * len(of.prevalences)
    intervals = [c.at(metric, p) for c, p in zip(tested, of.prevalences, strict=True)]
    at = [100 * p * shift for p in of.prevalences]
    points = [100 * each.point for each in intervals]
    if of.is_trained:
        axes.plot(at, points, "-", color=look.colour)
    for x, y, prevalence_, each in zip(at, points, of.prevalences, intervals, strict=True):
        hollow = not of.is_trained and prevalence_ != first.own
        if each.low is not None and each.high is not None:
            axes.plot([x, x], [100 * each.low, 100 * each.high], "-", color=look.colour, linewidth=0.9)
        axes.plot([x], [y], look.marker, color=look.colour, markerfacecolor="white" if hollow else look.colour)


def _published(axes: Axes) -> None:
    value = 100 * (published_f1().mean or 0.0)
    axes.axhline(value, color=GREY, linewidth=0.7)
    words = f"paper, clinical: F1 {published_f1().printed} (averaging not stated)"
    # Curves rise to the right, so the room is below the line there.
    axes.text(0.99, value - 1, words, transform=axes.get_yaxis_transform(), ha="right", va="top", color=GREY, size=6)


def _finish(axes: Axes, ends: tuple[float, float], what: str) -> None:
    axes.set_xscale("log")
    axes.set_xlim(100 * ends[0] / 1.12, 100 * ends[1] * 1.12)
    axes.set_ylim(-2, 102)
    axes.xaxis.set_major_locator(FixedLocator([100 * p for p in _TICKS]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"Prevalence (%), {what}; logarithmic")


def _entry(of: Family, look: Look) -> Line2D:
    return Line2D([], [], linestyle="-", marker=look.marker, color=look.colour, label=shown(of.model, 30))


def _extra(trained: bool) -> Line2D:
    if trained:
        return Line2D([], [], linestyle=_DASHED, color=GREY, linewidth=1.0, label=_SAME)
    return Line2D([], [], linestyle="none", marker="o", color=GREY, label=_OWN)


def _caption(found: Sequence[Family]) -> str:
    results = [c.results for family in found for c in family.classifiers]
    positive = found[0].first.positive
    numbers = (
        f"{seeds_of(results)}, {counted([r.n_distinct() for r in results], 'case')}, "
        f"{counted([int(c.labels.sum()) for family in found for c in family.classifiers], 'positive')}"
    )
    ids = f"f1.binary[{positive}].reweighted@1 and f1.macro[{positive}].reweighted@1"
    if not found[0].is_trained:
        return sentence(
            f"Mean and 95 % interval of the same decisions among test cases of each prevalence of {positive}: {ids}; "
            f"{numbers}",
            "Nothing but the prevalence of the test cases changes along a curve. Filled: the test set's own",
        )
    best = ", ".join(dict.fromkeys(f"{100 * (f.first.trained_at or 0):g} %" for f in found))
    return sentence(
        f"Mean and 95 % interval, trained and tested at each prevalence of {positive}: {ids}; {numbers}, the same at "
        "every prevalence and reweighted to it",
        f"Dashed: the classifier trained at {best}, tested at each; what lies between is owed to training",
    )
