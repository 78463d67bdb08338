"""What a model costs: size, work, speed, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from usfm_bench.core.pipe_table import Grid
from usfm_bench.core.words import duration, number, quantity
from usfm_bench.reporting.facts import device_of
from usfm_bench.reporting.report import Report
from usfm_bench.reporting.sections.base import SECTIONS, Section, SectionKind
from usfm_bench.results.frames import ModelResults

_HEADER = ["Dataset", "Model", "Parameters (M)", "Trained (M)", "GFLOPs an image", "Training images/s"]
_HEADER += ["Latency (ms)", "Peak memory (MiB)", "Time a trial", "Device"]
_NOTES = (
    "Parameters and GFLOPs are of the whole network; a multiplication with an addition counts as two operations. "
    "Latency is of one image alone, its normalisation included, on the device and in the precision of the trial. "
    "Speeds and times are the median of the trials, and memory is their highest.",
    "Other work on the same machine slows a trial. On a CPU the memory is that of the process, with what earlier "
    "trials held.",
)


def costs(report: Report) -> Iterator[Section]:
    """One a table of the paper."""
    for table in dict.fromkeys(r.first.spec.table for r in report.results):
        results = [r for r in report.results if r.first.spec.table == table]
        yield Section(
            title="What the models cost",
            grid=_grid(results),
            notes=_NOTES,
            caption="One line a model and data set.",
            table=table,
            ident="costs",
            folded=True,
        )


def _grid(results: Sequence[ModelResults]) -> Grid:
    body, of = [], []
    for cost in map(cost_of, results):
        body.append(
            [
                *(cost["dataset"], cost["model"], _millions(cost["parameters"]), _millions(cost["trained_parameters"])),
                *(quantity(cost[name]) for name in ("gflops", "train_images_per_s", "latency_ms")),
                *(number(cost["peak_memory_mb"], digits=0), duration(cost["wall_s"]), "; ".join(cost["devices"])),
            ]
        )
        of.append((cost["dataset"], cost["model"]))
    return Grid(list(_HEADER), body, tuple(of))


def cost_of(results: ModelResults) -> dict[str, Any]:
    """Of one model on one data set, over its trials; None where no trial has recorded it."""
    spec, trials = results.first.spec, [record.cost for record in results.records]
    known = {
        name: [x for cost in trials if (x := getattr(cost, name)) is not None]
        for name in ("trained_parameters", "gflops", "train_images_per_s", "latency_ms", "wall_s")
    }
    return {
        "table": spec.table,
        "dataset": spec.dataset.name,
        "model": spec.model,
        "parameters": trials[0].parameters,
        "peak_memory_mb": max(c.peak_memory_mb for c in trials),
        "devices": list(dict.fromkeys(device_of(record) for record in results.records if record.environment)),
        **{name: median(values) if values else None for name, values in known.items()},
    }


def _millions(n: float | None) -> str:
    return quantity(None if n is None else n / 1e6)


def _data(report: Report) -> Mapping[str, object]:
    return {"costs": [cost_of(r) for r in report.results]}


SECTIONS.register("costs")(SectionKind(name="costs", make=costs, place="table", order=100, data=_data))
