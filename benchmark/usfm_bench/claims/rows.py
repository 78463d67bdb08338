"""Published rows: what the file holds, and every fault in it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field, StrictInt, ValidationError, field_validator, model_validator

from usfm_bench.claims.checks import Box, Printed
from usfm_bench.claims.readings import AVERAGING, READINGS, Reading
from usfm_bench.core.errors import BenchError, did_you_mean
from usfm_bench.core.resources import load_yaml
from usfm_bench.core.settings import Settings
from usfm_bench.core.validation import said
from usfm_bench.specs.task import TASKS

JUDGED = ("DSC", "IOU", "ACC", "SEN", "SPEC", "PREC", "F1")
"""Rates that the checks are about."""
RATES = (*JUDGED, "BACC", "AUROC", "AUPRC", "NSD", "LDR")
"""Percent, from 0 to 100."""
METRICS = (*RATES, "HD95", "HD", "ASSD")
"""What `values` may name; the last ones are distances, which are checked for their sign alone."""
PRINTED_AS = {
    **{name.lower(): name for name in METRICS},
    **{"dice": "DSC", "jaccard": "IOU", "miou": "IOU", "accuracy": "ACC", "f1score": "F1", "auc": "AUROC"},
    **{"sensitivity": "SEN", "recall": "SEN", "specificity": "SPEC", "precision": "PREC", "ppv": "PREC"},
}
"""Names in tables, in small letters and digits alone, to the name here."""


class Claim(Settings):
    """One published row."""

    table: str
    """Where it stands, such as `1`."""
    dataset: str
    task: str
    """A name of `TASKS` whose metrics are judged here."""
    model: str
    citation: str
    averaging: str | None = None
    """How its source says that it was averaged: a key of `readings.AVERAGING`. None: not said; each reading counts."""
    n_cases: StrictInt | None = Field(default=None, ge=1)
    """Cases that each run was tested on, the same number in every run."""
    n_runs: StrictInt | None = Field(default=None, ge=1)
    """Runs that the values are means over; 1 where there was one, or where counts were pooled over folds."""
    values: dict[str, str] = Field(min_length=1)
    """Metric to the number as printed: rates in percent."""
    protocol: str = ""
    """How it was come by, as far as its source says: adaptation, split, seeds, what is missing. Not judged."""
    spread: dict[str, Any] = Field(default_factory=dict)
    """What is printed behind the plus-minus sign. Not judged."""
    definitions: dict[str, str] = Field(default_factory=dict)
    """Metric to the id of the definition that it stands for, where a report may compare with it."""
    not_comparable: dict[str, str] = Field(default_factory=dict)
    """Metric to the reason why it is not what this project computes under that name."""

    @field_validator("task")
    @classmethod
    def _judged_task(cls, name: str) -> str:
        known = [task for task in reversed(list(TASKS)) if TASKS[task].of in READINGS]
        if name not in known:
            raise ValueError(f"unknown '{name}'.{did_you_mean(name, known)} Known: {', '.join(known)}.")
        return name

    @field_validator("values", mode="before")
    @classmethod
    def _numbers(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        named = [
            (PRINTED_AS.get(re.sub("[^a-z0-9]", "", str(name).lower()), str(name)), text)
            for name, text in values.items()
        ]
        faults = [fault for name, text in named if (fault := _value_fault(name, text))]
        faults += [f"{name}: stands there twice." for name, n in Counter(name for name, _ in named).items() if n > 1]
        if faults:
            raise ValueError("\n".join(faults))
        return dict(named)

    @model_validator(mode="after")
    def _averaging_fits_task(self) -> Claim:
        known = AVERAGING[self.of]
        if self.averaging is not None and self.averaging not in known:
            near = did_you_mean(self.averaging, known)
            raise ValueError(
                f"averaging: unknown '{self.averaging}' in {self.task}.{near} Known: {', '.join(sorted(known))}."
            )
        return self

    @property
    def of(self) -> str:
        """What the numbers were computed from, `Task.of`."""
        return TASKS[self.task].of

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The uniform readings that `averaging` leaves."""
        return READINGS[self.of] if self.averaging is None else AVERAGING[self.of][self.averaging]

    @property
    def box(self) -> Box:
        """The judged columns with the numbers that round to them."""
        return {name: rounded(self.values[name]) for name in JUDGED if name in self.values}


def rounded(text: str) -> Printed:
    """What rounds to a percentage, as fractions; both ends belong to it, whichever way a tie is rounded.

    >>> rounded("82.0")
    Printed(text='82.0', value=0.82, low=0.8195, high=0.8205)
    """
    return _printed(text, -0.5, 0.5)


def cut_off(text: str) -> Printed:
    """What a percentage can have been before its further digits were cut off."""
    return _printed(text, 0.0, 1.0)


def _printed(text: str, below: float, above: float) -> Printed:
    # Of whole last digits, so that 82.0 ends at 82.05 / 100 and not a bit beside it.
    scale = 10 ** len(text.partition(".")[2])
    digits = round(float(text) * scale)
    low, high = (digits + below) / scale / 100, (digits + above) / scale / 100
    return Printed(text, digits / scale / 100, max(0.0, low), min(1.0, high))


def load_claims(path: Path) -> list[Claim]:
    """The rows of a YAML file, `rows: [{table, dataset, task, model, citation, values: {DSC: "92"}}]`.

    Raises:
        BenchError: no such file, not YAML, or rows that are not right; every fault, with the row's number and model.
    """
    content = load_yaml(path)
    rows = content.get("rows") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not rows:
        raise BenchError(f"{path}: expected `rows:` and a list of at least one row below it.")
    faults = [f"{path}: unknown key '{key}' beside `rows`." for key in content if key != "rows"]
    claims = []
    for number, row in enumerate(rows, 1):
        try:
            claims.append(Claim.model_validate(row))
        except ValidationError as error:
            faults += [f"{path}: {_row_name(number, row)}: {fault}" for e in error.errors() for fault in _faults(e)]
        else:
            faults += [f"{path}: {_row_name(number, row)}: {fault}" for fault in _fractions(claims[-1])]
    if faults:
        raise BenchError("\n".join(faults))
    return claims


def _row_name(number: int, row: Any) -> str:
    model = row.get("model") if isinstance(row, dict) else None
    return f"row {number} ({model})" if model else f"row {number}"


def _faults(error: Any) -> list[str]:
    place = ".".join(map(str, error["loc"]))
    match error["type"], error.get("ctx", {}).get("error"):
        case "value_error", cause if place == "task":
            return [f"task: {cause}"]
        case "value_error", cause:
            return [f"{place}.{line}" if place else line for line in str(cause).splitlines()]
        case "extra_forbidden", _:
            return [f"unknown key '{place}'.{did_you_mean(place, Claim.model_fields)}"]
        case "missing", _:
            return [f"the key '{place}' is missing."]
        case "string_type", _:
            return [f"{place}: {error['input']!r} is not text; write it in quotes."]
        case _:
            return [f"{place}: {said(error)}." if place else f"{said(error)}."]


def _value_fault(name: str, text: Any) -> str | None:
    if name not in METRICS:
        return f"{name}: unknown metric.{did_you_mean(name.upper(), METRICS)} Known: {', '.join(METRICS)}."
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return f'{name}: {text} is a YAML number, whose decimals are lost; write it in quotes, as "{text}".'
    if isinstance(text, str) and (parts := re.split(r"±|\+/?-", text))[1:]:
        return f"{name}: {text!r}: write {parts[0].strip()!r} here, and what stands behind the sign under `spread`."
    if not isinstance(text, str) or not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text):
        return f'{name}: {text!r} is not a number as it is printed, such as "92" or "82.0", without a sign for percent.'
    if float(text) < 0:
        return f"{name}: {text} is negative."
    if name in RATES and float(text) > 100:
        return f"{name}: {text} is above 100; rates are in percent."
    return None


def _fractions(claim: Claim) -> list[str]:
    rates = [float(text) for name, text in claim.values.items() if name in RATES]
    if rates and 0 < max(rates) <= 1:
        return ['values: no rate is above 1, so they look like fractions; write percent, as "92" for 0.92.']
    return []
