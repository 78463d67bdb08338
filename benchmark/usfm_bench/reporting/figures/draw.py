"""All figures of a report, and their files."""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from matplotlib.figure import Figure

from usfm_bench.core.errors import unknown
from usfm_bench.core.files import write_atomic
from usfm_bench.reporting.figures.confusion import confusion_figures
from usfm_bench.reporting.figures.critical_difference import critical_difference
from usfm_bench.reporting.figures.curves import curve_figures
from usfm_bench.reporting.figures.distribution import distribution_figures
from usfm_bench.reporting.figures.enhanced import enhanced_figures
from usfm_bench.reporting.figures.fonts import set_fonts
from usfm_bench.reporting.figures.forest import forest_figures
from usfm_bench.reporting.figures.group import FigureData, NamedFigure, groups_of
from usfm_bench.reporting.figures.labels import label_figures
from usfm_bench.reporting.figures.lesion_size import lesion_size_figures
from usfm_bench.reporting.figures.net_benefit import net_benefit_figures
from usfm_bench.reporting.figures.paired import paired_figures
from usfm_bench.reporting.figures.prevalence import prevalence_figures
from usfm_bench.reporting.figures.reliability import reliability_figures
from usfm_bench.reporting.figures.robustness import robustness_figures
from usfm_bench.reporting.figures.sheets import sheet_figures
from usfm_bench.reporting.figures.style import PAGE, styled
from usfm_bench.reporting.figures.subgroups import subgroup_figures
from usfm_bench.reporting.figures.training import training_figures
from usfm_bench.reporting.report import Report
from usfm_bench.results.store import Store

Kind = Callable[[FigureData], Iterator[NamedFigure]]
KINDS: Mapping[str, Kind] = {
    "forest": forest_figures,
    "distribution": distribution_figures,
    "lesion_size": lesion_size_figures,
    "curve": curve_figures,
    "confusion": confusion_figures,
    "reliability": reliability_figures,
    "paired": paired_figures,
    "training": training_figures,
    "sheet": sheet_figures,
    "enhanced": enhanced_figures,
}
"""What a task can have drawn of a data set."""
FORMATS = ("svg", "png")
_LONGEST = 80  # characters of a file's name


def draw_all(
    report: Report,
    store: Store,
    *,
    width: float = PAGE,
    data_root: Path | None = None,
    images: bool = False,
    sheets: bool = True,
    ranks: bool = True,
) -> Iterator[NamedFigure]:
    """Every figure of a report, one after the other, so that only one need be in memory.

    Args:
        report: of `build_report`.
        store: that the report was built from.
        width: of the figures, in millimetres: 85 for a column, 180 for a page.
        data_root: where the data lie, for images.
        images: draw the images of cases under the contours on case sheets. Not by default: a figure is soon passed
            on, and images are of patients.
        sheets: draw case sheets, which take longest; a page that shows every case needs none.
        ranks: draw critical-difference diagrams.

    Yields:
        Figures with unique names. What cannot be drawn is a figure that says why.
    """
    used: set[str] = set()
    for named in ranking_figures(report) if ranks else ():
        yield named._replace(name=_unique(named.name, used))
    for figures_of in (prevalence_figures, label_figures, robustness_figures, net_benefit_figures, subgroup_figures):
        for named in figures_of(report, width):
            yield named._replace(name=_unique(named.name, used))
    for group in groups_of(report, store, width, data_root if images else None):
        kinds = [KINDS[kind] for kind in group.task.figures if sheets or kind != "sheet"]
        for figure in itertools.chain.from_iterable(kind(group) for kind in kinds):
            yield figure._replace(name=_unique(figure.name, used))


def ranking_figures(report: Report) -> Iterator[NamedFigure]:
    """A critical-difference diagram for each ranking that Friedman's test applies to."""
    for of in report.rankings:
        if of.ranking.critical_difference is not None:
            title = (
                f"Mean ranks by {of.definition.name}, table {of.table}"
                if of.table
                else f"Mean ranks by {of.definition.name}"
            )
            yield NamedFigure(
                f"ranks-{of.table or 'further'}-{of.definition.name}",
                title,
                f"{of.definition.id}. Mean rank over {len(of.ranking.datasets)} data sets, 1 is best; a bar joins "
                "models that Nemenyi's test does not tell apart at 5 %.",
                critical_difference(of.ranking, title),
            )


def write_figures(
    folder: Path, figures: Iterable[NamedFigure], formats: Sequence[str] = FORMATS
) -> list[tuple[NamedFigure, list[Path]]]:
    """Write `<name>.<format>` of each figure; the same figures give the same bytes.

    Returns:
        Each figure with the files that it is in.

    Raises:
        BenchError: an unknown format, or a file that cannot be written.
    """
    for form in formats:
        if form not in FORMATS:
            raise unknown("format of figures", form, FORMATS)
    written = []
    for named in figures:
        paths = [folder / f"{named.name}.{form}" for form in formats]
        for form, path in zip(formats, paths, strict=True):
            write_atomic(path, functools.partial(_write, rendered(named.figure, form)))
        written.append((named, paths))
    return written


@styled
def rendered(figure: Figure, form: str) -> bytes:
    """A figure as the bytes of a file, without a date or a version in it."""
    stream = io.BytesIO()
    metadata: dict[str, None] = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
    set_fonts(figure)
    figure.savefig(stream, format=form, metadata=metadata)
    return stream.getvalue()


def _write(content: bytes, stream: IO[bytes]) -> None:
    stream.write(content)


def _unique(name: str, used: set[str]) -> str:
    """A file name that all systems take, and that no other figure has."""
    stem = re.sub(r"[^A-Za-z0-9.]+", "-", name)[:_LONGEST].strip("-.")
    candidates = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
    found = next(name for name in candidates if name.lower() not in used)
    used.add(found.lower())
    return found
