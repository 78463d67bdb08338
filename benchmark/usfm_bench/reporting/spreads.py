"""Where the spread of a mean comes from, and whether more seeds or more cases would narrow its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from usfm_bench.stats import Components, variance_components
from usfm_bench.stats.compare import with_cases, with_seeds
from usfm_bench.stats.headline import Headline


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of one headline metric of one model on one data set. With one seed, what seeds add is not known: None."""

    table: str | None
    dataset: str
    model: str
    metric: str
    definition: str
    unit: str
    n_seeds: int
    n_groups: int
    sd_seeds: float | None
    """Standard deviation between seeds, over all cases."""
    sd_groups: float | None
    """Between cases, or groups of them, over all seeds."""
    sd_residual: float | None
    """Of what seeds and cases leave."""
    share_seeds: float | None
    """Of the variance of the mean."""
    share_groups: float | None
    share_residual: float | None
    twice_seeds: float | None
    """Width of the interval with twice the seeds, as a share of today's."""
    twice_cases: float | None
    """Likewise with twice the cases."""


def spreads(headlines: Sequence[Headline]) -> Iterator[Spread]:
    """One for each headline metric that has a spread."""
    for each in headlines:
        if each.contributions is None:
            continue
        values, groups, folds, sizes = each.contributions
        parts = variance_components(values, groups, folds=folds, sizes=sizes)
        if not parts.none:
            yield _spread(each, parts)


def _spread(each: Headline, parts: Components) -> Spread:
    spec, one_seed = each.results.first.spec, parts.n_seeds == 1
    cases = max(0.0, parts.cases - parts.residual)
    now = parts.half_width(0.975)
    return Spread(
        table=spec.table,
        dataset=spec.dataset.name,
        model=each.model,
        metric=each.definition.name,
        definition=each.definition.id,
        unit=each.definition.unit,
        n_seeds=parts.n_seeds,
        n_groups=parts.n_groups,
        sd_seeds=None if one_seed else (parts.seeds * parts.n_seeds) ** 0.5,
        sd_groups=(cases * parts.n_groups) ** 0.5,
        sd_residual=None if one_seed else (parts.residual * parts.n_seeds * parts.n_groups) ** 0.5,
        share_seeds=None if one_seed else parts.seeds / parts.variance,
        share_groups=None if one_seed else cases / parts.variance,
        share_residual=None if one_seed else parts.residual / parts.variance,
        twice_seeds=None if one_seed else with_seeds(parts, 2 * parts.n_seeds).half_width(0.975) / now,
        twice_cases=with_cases(parts, 2 * parts.n_groups).half_width(0.975) / now,
    )
