"""What figures are drawn from: one data set of a report, and a figure with its name and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from usfm_bench.core.words import counted
from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.figures.style import Look, blank, looks_of
from usfm_bench.reporting.report import LEAKS, Report
from usfm_bench.reporting.rows import Row
from usfm_bench.results.frames import ModelResults, counted_scores
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store
from usfm_bench.specs.task import Task

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
T = TypeVar("T")
_TOGETHER = 4  # models in one panel; more lines cannot be told apart


class NamedFigure(NamedTuple):
    """A figure and what stands around it."""

    name: str
    """Of its file, without ending; unique in a report."""
    title: str
    caption: str
    """Definitions, numbers of seeds and cases, what bars and bands are, and what is not shown."""
    figure: Figure


@dataclass(frozen=True)
class FigureData:
    """All models of a report on one data set."""

    table: str | None
    dataset: str
    synthetic: bool
    results: tuple[ModelResults, ...]
    rows: tuple[Row, ...]
    """Measured, and as published where the data set stands for a row of the paper."""
    looks: Mapping[str, Look]
    """Of all models of the report."""
    folders: Mapping[tuple[str, int, int], Path]
    """(model, fold, seed) -> the trial's folder."""
    missed: Missed = "diagonal"
    """What a missed lesion's distances get in the report."""
    width: float = 180.0
    """Of the figures, in millimetres."""
    image_root: Path | None = None
    """Where the data lie, if images may be drawn; None: no image is."""

    @property
    def task(self) -> Task:
        """Of all results."""
        return self.results[0].task

    @property
    def title(self) -> str:
        """The data set, whether it is simulated, and whether its split leaks."""
        leaks = f" {LEAKS}" * any(r.n_leaked for r in self.results)
        return f"{self.dataset}{' (synthetic)' * self.synthetic}{leaks}"

    def named(self, kind: str, what: str, caption: str, figure: Figure) -> NamedFigure:
        """A figure of this data set."""
        return NamedFigure(f"{kind}-{self.dataset}", f"{what}, {self.title}", caption, figure)

    def nothing(self, kind: str, what: str, reason: str) -> NamedFigure:
        """A figure that says why there is none."""
        return self.named(kind, what, reason, blank(reason, self.width))

    def trials(self, results: ModelResults) -> Iterator[tuple[Record, Path]]:
        """The trials of a model with their folders."""
        for record in results.records:
            yield record, self.folders[record.spec.model, record.spec.fold, record.spec.seed]


def groups_of(report: Report, store: Store, width: float, image_root: Path | None) -> Iterator[FigureData]:
    """The data sets of a report, in its order."""
    looks = looks_of([r.first.spec.model for r in report.results])
    folders: dict[str, dict[tuple[str, int, int], Path]] = {}
    for folder, record in store.finished(report.suite, report.profile):
        spec = record.spec
        folders.setdefault(spec.dataset.name, {})[spec.model, spec.fold, spec.seed] = folder
    by_data: dict[tuple[str | None, str], list[ModelResults]] = {}
    for r in report.results:
        by_data.setdefault((r.first.spec.table, r.first.spec.dataset.name), []).append(r)
    for (table, dataset), results in by_data.items():
        source = results[0].first.spec.dataset
        # Published values belong beside results on the same data alone.
        label = source.paper_label
        rows = [
            row
            for row in report.rows
            if row.table == table
            and row.label is None
            and row.dataset == (dataset if row.source == "measured" else label)
        ]
        yield FigureData(
            *(table, dataset, source.synthetic),
            # Figures of cases have one dot a case, also where several repeats test it.
            tuple(r.averaged if r.task.per_case else r for r in results),
            *(tuple(rows), looks, folders[dataset]),
            *(report.missed, width, image_root),
        )


def seeds_of(results: Sequence[ModelResults]) -> str:
    """`3 seeds`."""
    return counted([len(r.seeds) for r in results], "seed")


def defined_cases(results: ModelResults, column: str, missed: Missed = "diagonal") -> Bools:
    """(C,) the cases that a mean of a column of `cases.parquet` is over."""
    return counted_scores(results, results.definition(column), missed).used


def labels_of(results: ModelResults) -> NDArray[np.int64]:
    """(N,) indices into the classes."""
    return results.case_table["label"].to_numpy(np.int64)


def true_class(results: ModelResults) -> Floats:
    """(S, C) probability of each case's own class."""
    labels = labels_of(results)
    return np.asarray(results.probabilities[:, np.arange(len(labels)), labels])


def missed_lesions(results: ModelResults) -> Bools:
    """(C,) lesions without a prediction in at least one seed."""
    return np.asarray(np.any(results.matrix("missed") > 0, axis=0))


def chunks(models: Sequence[T]) -> list[Sequence[T]]:
    """Models that share a panel."""
    return [models[i : i + _TOGETHER] for i in range(0, len(models), _TOGETHER)]


def sentence(*parts: str) -> str:
    """The parts that are not empty, as sentences."""
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)
