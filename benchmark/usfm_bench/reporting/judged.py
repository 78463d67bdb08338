"""What networks that were trained on good images make of enhanced ones, as Markdown, JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from usfm_bench.core.csv_cells import guarded_frame
from usfm_bench.core.pipe_table import bullet, pipe_table
from usfm_bench.core.words import count, heading, p_value, with_interval
from usfm_bench.reporting.rows import chosen_rows
from usfm_bench.reporting.writers.json import SCHEMA_VERSION, dumped
from usfm_bench.results.frames import ModelResults
from usfm_bench.stats.compare import two_sided_p
from usfm_bench.stats.components import paired_components
from usfm_bench.stats.headline import Headline, headlines
from usfm_bench.stats.intervals import interval_of


@dataclass(frozen=True)
class Judged:
    """One headline metric of one judge on one set of images."""

    dataset: str
    """That the judge was trained on."""
    judge: str
    """Its model."""
    images: str
    """What it was shown: the low-quality input, what a model made of it, or the good images."""
    metric: str
    definition: str
    unit: str
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    difference: float | None
    """To the first set of images, paired by network and case."""
    difference_low: float | None
    difference_high: float | None
    p_value: float | None
    n_seeds: int
    n_cases: int


def judged_rows(shown: Sequence[tuple[str, ModelResults]]) -> list[Judged]:
    """Every headline metric of every judge, the sets of images in the order given.

    The networks are the same for all images, so that differences are paired by seed and by case; the model that
    enhanced the images was trained anew for each seed, and its spread is in that of the seeds.

    Args:
        shown: what was shown, and how a judge did on it; of each judge the first one is what the others differ from.
    """
    first: dict[tuple[str, str, str], Headline] = {}
    found = []
    for images, results in shown:
        rows = {
            row.definition: row for row in chosen_rows(results, list(results.task.headline(results.first.spec.dataset)))
        }
        for each in headlines([results], "diagonal"):
            row, spec = rows[each.definition.id], results.first.spec
            dataset = spec.dataset.name.partition("@test")[0]  # behind it stands what was shown
            place = (dataset, spec.model, each.definition.id)
            found.append(
                Judged(
                    *(dataset, spec.model, images, each.definition.name, each.definition.id),
                    *(each.definition.unit, row.mean, row.ci_low, row.ci_high),
                    *_difference(each, first.get(place)),
                    n_seeds=len(results.seeds),
                    n_cases=row.n_cases or 0,
                )
            )
            first.setdefault(place, each)
    return found


def _difference(one: Headline, other: Headline | None) -> tuple[float | None, float | None, float | None, float | None]:
    """Mean, ends and p value; all None where there is nothing to compare with, or other cases."""
    if other is None or one.contributions is None or other.contributions is None or one.units != other.units:
        return None, None, None, None
    seeds = [seed for seed in one.results.seeds if seed in other.results.seeds]
    if not seeds:
        return None, None, None, None
    _, groups, folds, sizes = one.contributions
    parts = paired_components(one.of_seeds(seeds) - other.of_seeds(seeds), groups, folds=folds, sizes=sizes)
    interval = interval_of(parts)
    p = None if parts.none or interval.low is None else two_sided_p(parts)
    return interval.point, interval.low, interval.high, p


def render_judged(rows: Sequence[Judged], form: str) -> str:
    """Text: `markdown`, `json` or `csv`."""
    if form == "json":
        return dumped({"schema_version": SCHEMA_VERSION, "rows": [asdict(row) for row in rows]})
    if form == "csv":
        return guarded_frame(pd.DataFrame([asdict(row) for row in rows])).to_csv(index=False, lineterminator="\n")
    notes = [
        "Mean [95 % interval] over seeds and cases. Difference: to the first line, by the same networks on the same "
        "cases; p is of that one difference, without a correction for how many there are.",
        "The judges were trained on good images of other cases and see enhanced ones for the first time.",
    ]
    return "\n".join([*_lines(rows), *map(bullet, notes), ""])


def _lines(rows: Sequence[Judged]) -> Iterator[str]:
    for judge in dict.fromkeys((row.dataset, row.judge, row.metric) for row in rows):
        own = [row for row in rows if (row.dataset, row.judge, row.metric) == judge]
        header = ["Judge", "Images", heading(own[0].metric, own[0].unit), "Difference", "p", "Seeds", "n"]
        body = [
            [
                *(row.judge, row.images, with_interval(row.mean, row.ci_low, row.ci_high, row.unit)),
                _signed(row),
                p_value(row.p_value) if row.p_value is not None else "",
                *(count(row.n_seeds), count(row.n_cases)),
            ]
            for row in own
        ]
        yield from pipe_table(header, body, {"Judge", "Images"})
        yield ""


def _signed(row: Judged) -> str:
    if row.difference is None:
        return ""
    return with_interval(row.difference, row.difference_low, row.difference_high, row.unit, signed=True)
