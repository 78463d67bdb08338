"""Decision curves: net benefit against the probability at which somebody acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from usfm_bench.core.words import scale_of
from usfm_bench.reporting.figures.group import NamedFigure, chunks, sentence
from usfm_bench.reporting.figures.style import GREY, Look, blocks, looks_of, shown, styled
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.travel import THRESHOLDS, Benefit


def net_benefit_figures(report: Report, width: float) -> Iterator[NamedFigure]:
    """One figure a source, a panel a set of cases."""
    rows = report.travel.benefits
    looks = looks_of([row.model for row in rows])
    for source in dict.fromkeys(row.source for row in rows):
        own = [row for row in rows if row.source == source]
        caption = sentence(
            f"Net benefit of acting on every case with at least this probability of {own[0].positive}, in true "
            "positives per 100 cases (Vickers and Elkin 2006)",
            "Lines: mean over seeds and cases; bands: 95 % interval at each threshold",
            "Grey: acting on every case, and on none",
            *(["Probabilities after the temperature that validation cases of the source chose"] * own[0].scaled),
        )
        title = f"Decision curves, trained on {source}"
        yield NamedFigure(f"net-benefit-{source}", title, caption, net_benefit_panels(own, looks, width))


@styled
def net_benefit_panels(rows: Sequence[Benefit], looks: Mapping[str, Look], width: float) -> Figure:
    """Benefit upwards, the threshold to the right; four models a block of panels."""
    places = list(dict.fromkeys(row.target for row in rows))
    parts = chunks(list(dict.fromkeys(row.model for row in rows)))
    labels = [[shown(model, 30) for model in part] for part in parts]
    figure, made = blocks(labels, len(places), width, least=55, most=85, height=55)
    scale, _ = scale_of("fraction")
    x = [scale * t for t in THRESHOLDS]
    top = scale * max(max(row.of_all[0], *(v.high or v.point for v in row.values)) for row in rows)
    for block, part in zip(made, parts, strict=True):
        for axes, place in zip(block.axes, places, strict=False):
            own = [row for row in rows if row.target == place and row.model in part]
            axes.axhline(0, color=GREY, linewidth=0.8)
            for row in own[:1]:
                axes.plot(x, [scale * value for value in row.of_all], ":", color=GREY, linewidth=0.8)
            for row in own:
                look = looks[row.model]
                axes.plot(x, [scale * v.point for v in row.values], color=look.colour, marker=look.marker, markersize=3)
                ends = [(scale * (v.point if end is None else end)) for v in row.values for end in (v.low, v.high)]
                axes.fill_between(x, ends[::2], ends[1::2], color=look.colour, alpha=0.15, linewidth=0)
            axes.set_title(shown(place or f"{rows[0].source}, own test cases", 40))
            axes.set_xlabel("Threshold of the probability (%)")
            axes.set_ylim(-0.15 * top, 1.08 * top)  # acting on all soon costs more than can be shown
            axes.set_ylabel("Net benefit per 100 cases")
            axes.label_outer()
        for axes in block.axes[len(places) :]:
            axes.set_visible(False)
        entries = [
            Line2D([], [], linestyle="-", marker=looks[m].marker, color=looks[m].colour, label=shown(m, 30))
            for m in part
        ]
        block.legend(entries)
    return figure
