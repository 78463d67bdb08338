"""One number of a table: a measured or a reported metric, with everything that says what it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from usfm_bench.metrics.definitions import PER_CLASS, class_definition_id, primary
from usfm_bench.resources import load_yaml, resource
from usfm_bench.results.frames import ModelResults
from usfm_bench.scoring import PROBABILITY
from usfm_bench.stats import Interval, classification_interval, crossed_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the JSON report. A figure that does not exist is None, never 0; rates are fractions."""

    table: str | None
    """Table of the paper."""
    dataset: str
    model: str
    metric: str
    definition: str | None = None
    """Versioned id; None for a reported value, whose definition its source does not state."""
    unit: str | None = None
    """`fraction` or `px`."""
    source: Literal["measured", "reported"]
    mean: float | None
    ci_low: float | None = None
    ci_high: float | None = None
    interval: str | None = None
    """`seeds+cases`, `cases` (one seed), or None where there is no interval."""
    sd_cases: float | None = None
    """Standard deviation over cases of the mean over seeds; None for metrics that cases do not have."""
    n_seeds: int | None = None
    n_cases: int | None = None
    """Cases that the mean is over."""
    n_groups: int | None = None
    """Groups (patients, near-duplicates) among them."""
    n_missed: int | None = None
    """Lesions with an empty prediction, counted over all seeds."""
    n_false_alarms: int | None = None
    """Images without a lesion and with a prediction, counted over all seeds."""
    synthetic: bool | None = None
    seen_in_pretraining: bool | None = None
    """Whether the model's weights saw test images; None: unknown."""
    citation: str | None = None
    label: str | None = None
    """The class that the metric is of, one against the rest; None: over all cases or classes."""
    printed: str | None = None
    """A reported value as its source prints it, with its decimals and whatever stands behind the plus-minus sign."""


def reported_rows(table: str) -> list[Row]:
    """The rows that the paper prints in one of its tables."""
    rows = []
    for entry in load_yaml(resource("reports/reference/paper_tables.yaml"))["rows"]:
        if entry["table"] != table:
            continue
        spreads = entry.get("spread", {})
        for metric, text in entry["values"].items():
            # The published HD95 comes without a unit.
            scale, unit = (1.0, None) if metric == "HD95" else (0.01, "fraction")
            rows.append(
                Row(
                    table=table,
                    dataset=entry["dataset"],
                    model=entry["model"],
                    metric=metric,
                    unit=unit,
                    source="reported",
                    mean=float(text) * scale,
                    printed=f"{text} ± {spreads[metric]}" if metric in spreads else text,
                    citation=entry["citation"],
                )
            )
    return rows


def measured_rows(results: ModelResults) -> Iterator[Row]:
    """Every metric of one model on one data set."""
    if results.first.spec.task == "segmentation":
        yield from _segmentation_rows(results)
    else:
        yield from _classification_rows(results)


def _common(results: ModelResults) -> dict[str, Any]:
    spec = results.first.spec
    return {
        "table": spec.table,
        "dataset": spec.dataset.name,
        "model": spec.model,
        "source": "measured",
        "n_seeds": len(results.seeds),
        "synthetic": spec.dataset.synthetic,
        "seen_in_pretraining": results.first.seen_in_pretraining,
    }


def _segmentation_rows(results: ModelResults) -> Iterator[Row]:
    """Means over the images with a lesion; a miss counts, and so do false alarms on the others."""
    table = results.case_table
    lesion = table["lesion"].to_numpy(bool)
    counts: dict[str, Any] = {
        "n_missed": int(results.cases["missed"].sum()),
        "n_false_alarms": None if lesion.all() else int(results.cases["false_alarm"].sum()),
    }
    for name, definition in primary("segmentation").items():
        scores = results.matrix(name)
        # A value that is undefined for any seed leaves the case out for all, and n_cases says so.
        used = lesion & ~np.isnan(scores).any(axis=0)
        groups = table["group_id"].to_numpy()[used]
        values = scores[:, used]
        bounds = (0.0, 1.0 if definition.unit == "fraction" else float("inf"))
        interval = (
            crossed_interval(values, groups=groups.tolist(), bounds=bounds)
            if used.any()
            else Interval(np.nan, None, None)
        )
        yield Row(
            **_common(results),
            **counts,
            **_figures(interval),
            metric=name,
            definition=definition.id,
            unit=definition.unit,
            sd_cases=_spread(values),
            n_cases=int(used.sum()),
            n_groups=len(set(groups)),
        )


def _classification_rows(results: ModelResults) -> Iterator[Row]:
    classes, table = results.first.classes, results.case_table
    probabilities = np.stack([results.matrix(PROBABILITY + name) for name in classes], axis=-1)  # (S, N, C)
    labels = table["label"].to_numpy(np.int64)
    groups = table["group_id"].tolist()
    size: dict[str, Any] = {"unit": "fraction", "n_cases": len(labels), "n_groups": len(set(groups))}
    for name, definition in primary("classification").items():
        interval = classification_interval(name, probabilities, labels, groups=groups)
        spread = _spread((probabilities.argmax(axis=2) == labels).astype(np.float64)) if name == "ACC" else None
        yield Row(
            **_common(results), **size, **_figures(interval), metric=name, definition=definition.id, sd_cases=spread
        )
    for k, label in enumerate(classes):
        n_class = int((labels == k).sum())
        for name in PER_CLASS if n_class else ():
            interval = classification_interval(name, probabilities, labels, groups=groups, only=k)
            yield Row(
                **_common(results),
                **(size | {"n_cases": n_class, "n_groups": len(set(np.array(groups)[labels == k]))}),
                **_figures(interval),
                metric=name,
                definition=class_definition_id(name),
                label=label,
            )


def _figures(interval: Interval) -> dict[str, Any]:
    point = interval.point
    return {
        "mean": None if np.isnan(point) else point,
        "ci_low": interval.low,
        "ci_high": interval.high,
        "interval": None if interval.low is None else interval.kind,
    }


def _spread(scores: Floats) -> float | None:
    """(S, C) -> standard deviation over cases of the mean over seeds; None below two cases."""
    return float(scores.mean(axis=0).std(ddof=1)) if scores.shape[1] > 1 else None
