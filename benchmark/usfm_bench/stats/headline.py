"""What each case adds to the headline metrics of a report's models, for comparisons, spreads and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.definitions import Definition, known_definitions
from usfm_bench.metrics.measures import Missed
from usfm_bench.results.frames import ModelResults, counted_scores
from usfm_bench.stats.contributions import Contributions, class_contributions

Unit = tuple[str, int]
"""A case or group by its id, and the repeat that tests it; 0 for a split in which a case is tested once."""


@dataclass(frozen=True)
class Headline:
    """One headline metric of one model on one data set."""

    results: ModelResults
    definition: Definition
    contributions: Contributions | None
    """Over all its seeds; None where the metric is undefined without one of the groups."""
    units: tuple[Unit, ...]
    """(U,) what is behind the contributions."""

    @property
    def place(self) -> tuple[str | None, str, str]:
        """Table, data set and definition: within one, models can be compared."""
        spec = self.results.first.spec
        return spec.table, spec.dataset.name, self.definition.id

    @property
    def model(self) -> str:
        """Its name."""
        return self.results.first.spec.model

    @cached_property
    def n_names(self) -> int:
        """Cases or groups behind the contributions; one of several repeats counts once."""
        return len({name for name, _ in self.units})

    def of_seeds(self, seeds: Sequence[int]) -> NDArray[np.float64]:
        """(S, U) contributions of some of its seeds."""
        assert self.contributions is not None
        return self.contributions.values[[self.results.seeds.index(seed) for seed in seeds]]


def headlines(results: Sequence[ModelResults], missed: Missed, *, in_mm: bool = False) -> list[Headline]:
    """Every headline metric of every model, in the order of the results.

    Args:
        results: of models.
        missed: what a missed lesion's distances get.
        in_mm: distances in millimetres too, of results that have them, for data sets with pixels of other sizes.
    """
    return [h for r in results for d in _wanted(r, in_mm) if (h := _headline(r, d, missed)) is not None]


def _wanted(results: ModelResults, in_mm: bool) -> list[Definition]:
    own = results.task.headline(results.first.spec.dataset)
    twins = {d.id.replace(".px", ".mm") for d in own if in_mm and d.unit == "px"}
    return [*own, *known_definitions([ident for ident in results.definitions.values() if ident in twins])]


def _headline(results: ModelResults, definition: Definition, missed: Missed) -> Headline | None:
    table = results.case_table
    case_ids = table["case_id"].to_numpy().astype(str)
    groups, folds, repeats = results.groups, results.folds, results.repeats
    units = list(zip(case_ids.tolist(), (np.zeros_like(folds) if repeats is None else repeats).tolist(), strict=True))
    if not results.task.per_case:
        labels = results.labels
        found = class_contributions(definition, results.probabilities, labels, groups, folds, repeats)
        if found is not None and found.values.shape[1] != len(units):
            units = [(name, 0) for name in table["group_id"].astype(str).unique().tolist()]  # as `groups` numbers them
        return Headline(results, definition, found, tuple(units))
    if results.definitions.get(definition.column) != definition.id:
        return None
    definition, scores, used = counted_scores(results, definition, missed)
    if not used.any():
        return Headline(results, definition, None, ())
    found = Contributions(scores[:, used], groups[used], folds[used])
    return Headline(results, definition, found, tuple(compress(units, used)))
