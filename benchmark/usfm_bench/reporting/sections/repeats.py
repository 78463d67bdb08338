"""What networks trained anew on such data would score, beside what these would on new cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import NONE, counted, difference_unit, p_value, unit_sign, with_interval
from usfm_bench.reporting.repeats import Repeated
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind

_GIVEN, _ANEW = "These networks on new cases", "Networks trained anew"
QUESTIONS = (
    f"{_GIVEN}: what networks trained on these images score on other cases of this source. {_ANEW}: what networks "
    "trained on other such data, as many images of them, score on average."
)


def repeats(report: Report) -> Iterator[Section]:
    """One a table of the paper that has repeats."""
    for table in dict.fromkeys(each.table for each in report.repeats):
        own = [each for each in report.repeats if each.table == table]
        yield Section(
            title="Repeated holdouts",
            grid=_grid(own),
            caption="Mean [95 % interval], or the difference between two models.",
            notes=(
                QUESTIONS,
                f"{counted([each.n_repeats for each in own], 'random holdout')}, each with test cases of its own; the "
                "second interval and p are Nadeau and Bengio's, which allow for the cases that repeats share "
                "(docs/intervals.md).",
            ),
            table=table,
        )


def _grid(found: Sequence[Repeated]) -> Grid:
    header = ["Dataset", "Metric", "Model", _GIVEN, _ANEW, "p (anew)", "Repeats", "Seeds", "Trained on"]
    body = [
        [
            *(each.dataset, each.metric, each.model if each.minus is None else f"{each.model} - {each.minus}"),
            _shown(each, each.mean, each.ci_low, each.ci_high),
            _shown(each, each.anew_mean, each.anew_low, each.anew_high),
            NONE if each.minus is None else p_value(each.anew_p),
            *(str(each.n_repeats), str(each.n_seeds), str(each.n_train)),
        ]
        for each in found
    ]
    return Grid(header, body)


def _shown(each: Repeated, mean: float | None, low: float | None, high: float | None) -> str:
    unit = unit_sign(each.unit) if each.minus is None else difference_unit(each.unit)
    return f"{with_interval(mean, low, high, each.unit)} {unit}".rstrip()


def _data(report: Report) -> Mapping[str, object]:
    return {"repeats": [asdict(each) for each in report.repeats]}


SECTIONS.register("repeats")(
    SectionKind(
        name="repeats",
        make=repeats,
        place="table",
        order=15,
        shown=True,
        nothing="No data set of this report was divided more than once; `usfm-bench run --repeats 10` does that.",
        data=_data,
    )
)
