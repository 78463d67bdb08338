"""What a design will tell, as text, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from usfm_bench.core.pipe_table import bullet, pipe_table
from usfm_bench.stats.design import Assumptions, Design, Expected
from usfm_bench.stats.design.grid import ENOUGH

_TWO_ERRORS = 2.0
_HEAD = ("Metric", "True value", "Width", "Covers", "No interval", "Detectable")


def assumed_in_words(design: Design, assumed: Assumptions) -> list[str]:
    """The generative model, a sentence a line."""
    sentences = [
        f"DSC has a mean of {_percent(assumed.dsc)} and a standard deviation of {_percent(assumed.dsc_spread)} between "
        f"images; {_percent(assumed.missed)} of the lesions are missed, with an HD95 of 700 px; the others are around "
        "12 px.",
    ]
    if design.positives is not None:
        sentences.insert(
            0,
            f"Sensitivity is {_percent(assumed.sensitivity)} and specificity {_percent(assumed.specificity)}; scores "
            "are normal, and as many cases are positive in every test set.",
        )
    sentences.append(
        f"Trainings differ by a standard deviation of about {_percent(assumed.seed_spread)} in these means; of what "
        f"varies between a network's cases, {_percent(assumed.decided)} is the cases' own."
    )
    if design.groups < design.cases:
        sentences.append(
            f"Two cases of a group are alike with a correlation of {assumed.alike:g}; each group has a case of one "
            "class, and the other cases fall to groups of their class by chance."
        )
    sentences.append(f"Two models find the same cases hard, with a correlation of {assumed.shared:g}.")
    return sentences


def warnings_of(design: Design, rows: Sequence[Expected]) -> list[str]:
    """What a reader of the table must know, the most important first."""
    found = [
        f"{row.metric}: the interval holds the truth in {_percent(row.coverage)} of the studies, not 95 %"
        f" (± {100 * _TWO_ERRORS * (row.coverage_error or 0):.1f})."
        for row in rows
        if row.coverage is not None and row.coverage < ENOUGH
    ]
    found += [f"{row.metric}: no interval, since {row.reason}." for row in rows if row.reason]
    if design.seeds == 1:
        found.insert(
            0,
            "One seed: the interval is of that one network, over cases alone. Coverage here is of the mean over "
            "trainings. No difference of models can be tested.",
        )
    return found


def design_text(design: Design, assumed: Assumptions, rows: Sequence[Expected], draws: int, *, markdown: bool) -> str:
    """A table with what was assumed before it, and the warnings behind it."""
    of_classes = "" if design.positives is None else f", {design.positives} of them positive"
    title = f"{design.cases} test cases{of_classes}, in {design.groups} groups, by {_counted(design.seeds, 'training')}"
    table = pipe_table(_HEAD, [_line(row) for row in rows], left=("Metric",))
    notes = [
        f"Simulated {draws} times. Width: of the 95 % interval, its mean. Covers: how often it holds the true value, "
        f"give or take {_error(rows)} points. Detectable: the smallest true difference of two models that one test at "
        "5 % finds with 80 % power; tests of many models find less.",
    ]
    warned = warnings_of(design, rows)
    if markdown:
        parts = [f"# {title}", _listed(assumed_in_words(design, assumed)), "\n".join(table), *notes, _listed(warned)]
        return "\n\n".join(part for part in parts if part) + "\n"
    parts = [f"{title}.", "Assumed:", *(f"  {s}" for s in assumed_in_words(design, assumed)), "", *table, "", *notes]
    return "\n".join([*parts, *(f"warning: {text}" for text in warned)]) + "\n"


def design_json(design: Design, assumed: Assumptions, rows: Sequence[Expected], draws: int, seed: int) -> str:
    """Fractions and pixels; what does not exist is null."""
    content = {
        "design": asdict(design),
        "assumed": asdict(assumed),
        "draws": draws,
        "seed": seed,
        "metrics": [asdict(row) for row in rows],
        "warnings": warnings_of(design, rows),
    }
    return json.dumps(content, indent=2) + "\n"


def _line(row: Expected) -> tuple[str, ...]:
    return (
        row.metric,
        *(_amount(value, row.unit) for value in (row.assumed, row.width)),
        _percent(row.coverage) if row.coverage is not None else "n/a",
        _percent(row.without_interval),
        _amount(row.detectable, row.unit),
    )


def _amount(value: float | None, unit: str) -> str:
    if value is None:
        return "n/a"
    return f"{value:.1f} px" if unit == "px" else f"{100 * value:.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _error(rows: Sequence[Expected]) -> str:
    errors = [row.coverage_error for row in rows if row.coverage_error is not None]
    return f"{_TWO_ERRORS * 100 * max(errors):.1f}" if errors else "0"


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(map(bullet, lines))
