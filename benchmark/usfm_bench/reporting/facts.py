"""On what a trial ran, and what its weights and groups are, in words."""

from __future__ import annotations

from collections.abc import Sequence

from usfm_bench.reporting.report import Report
from usfm_bench.results.record import Record

NOT_RECORDED = "what they are is not recorded, by an earlier version"
# Before precision was measured, trainings in bf16 left the training steps without autocast.
_UNMEASURED = "float32 in training, bfloat16 in evaluation"


def groups_told(report: Report) -> list[str]:
    """What the groups of each data set are, in the order of the tables."""
    told = {}
    for r in report.results:
        name = r.first.spec.dataset.name.partition("@")[0]  # parts of a training side are of the same groups
        told[name] = f"{name}: {r.first.groups or NOT_RECORDED}"
    return list(told.values())


def device_of(record: Record) -> str:
    """Device, precision and threads of a trial."""
    environment = record.environment
    precision = environment.get("precision")
    if precision == "bf16-mixed" and "dtypes" not in environment:
        precision = _UNMEASURED
    threads = f", {environment['threads']} threads" if environment.get("threads") else ""
    return f"{environment.get('device')}, {precision}{threads}"


def weight_notes(records: Sequence[tuple[str, Record]]) -> list[str]:
    """How models and records of a table came to their weights, where that is a choice or not as registered."""
    readings: dict[str, dict[str, None]] = {}
    others: dict[str, None] = {}
    for model, record in records:
        if record.reading:
            readings.setdefault(record.reading, {})[f"{model} ({record.spec.task})"] = None
        if record.registered_hash:
            found = (record.weight_hash or "")[:12]
            others[f"{model} has {found}, the registry {record.registered_hash[:12]}"] = None
    lines = []
    if readings:
        used = "; ".join(f"{reading} for {', '.join(models)}" for reading, models in readings.items())
        lines.append(f"How the last norm of the weight file is used (docs/training.md): {used}.")
    if others:
        lines.append(f"NOT THE REGISTERED WEIGHTS (--allow-hash): by sha256, {'; '.join(others)}.")
    return lines
