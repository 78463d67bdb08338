"""Where each number comes from: records, hashes, versions, device. No folder, user or host of the machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from usfm_bench.core.words import duration
from usfm_bench.reporting.facts import device_of
from usfm_bench.reporting.report import Report
from usfm_bench.results.frames import ModelResults
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store

_SHORT = 12
_UNKNOWN = "unknown"


class Trial(NamedTuple):
    """One record."""

    seed: int
    fold: int
    path: str
    """Under the runs folder."""
    record: str
    """sha256 of record.json."""
    settings: str
    """Hash of the settings."""
    finished: str
    wall: str


class Source(NamedTuple):
    """What the numbers of one model on one data set come from."""

    ident: str
    dataset: str
    model: str
    facts: tuple[tuple[str, str], ...]
    """Name and value, the short ones, in the same order for every model."""
    hashes: tuple[tuple[str, str], ...]
    """Whole."""
    versions: str
    trials: tuple[Trial, ...]


def sources_of(report: Report, store: Store, prefix: str) -> list[Source]:
    """One for each model and data set, in the order of the results; ids start with the prefix."""
    folders = {
        (r.spec.dataset.name, r.spec.model, r.spec.seed, r.spec.fold): folder
        for folder, r in store.finished(report.suite, report.profile)
    }
    return [_source(r, f"{prefix}-from-{i}", folders, store.root) for i, r in enumerate(report.results)]


def _source(results: ModelResults, ident: str, folders: Mapping[tuple[str, str, int, int], Path], root: Path) -> Source:
    first, spec = results.first, results.first.spec
    trials = tuple(
        _trial(r, folders[spec.dataset.name, spec.model, r.spec.seed, r.spec.fold], root) for r in results.records
    )
    wall = sum(r.cost.wall_s for r in results.records)
    seen = {True: "YES", False: "no", None: _UNKNOWN}[results.seen_in_pretraining]
    facts = (
        ("Data", f"v{spec.dataset.version}, {first.data_hash[:_SHORT]}"),
        ("Split", first.split_hash[:_SHORT]),
        ("Weights", _weights_in_short(first)),
        ("Commit", _all(results, _commit)),
        ("Device", _all(results, lambda r: device_of(r) if r.environment else _UNKNOWN)),
        ("Train, val., test", f"{first.n_train}, {first.n_val}, {first.n_test}"),
        ("Test seen", seen),
        ("Time", duration(wall)),
    )
    pretraining = (("pre-training", first.pretraining_hash),) if first.pretraining_hash else ()
    hashes = (("data", first.data_hash), ("split", first.split_hash), ("weights", _weights(first)), *pretraining)
    return Source(ident, spec.dataset.name, spec.model, facts, hashes, _all(results, _versions), trials)


def _trial(record: Record, folder: Path, root: Path) -> Trial:
    path = folder / "record.json"
    return Trial(
        record.spec.seed,
        record.spec.fold,
        path.relative_to(root).as_posix(),
        hashlib.sha256(path.read_bytes()).hexdigest(),
        record.spec_hash,
        str(record.environment.get("finished") or _UNKNOWN),
        duration(record.cost.wall_s),
    )


def _weights_in_short(record: Record) -> str:
    if not record.weight_hash:
        return "from scratch"
    other = ["not the registered file"] if record.registered_hash else []
    reading = [f"norm: {record.reading}"] if record.reading else []
    return ", ".join([record.weight_hash[:_SHORT], *other, *reading])


def _weights(record: Record) -> str:
    return record.weight_hash or "none: trained from scratch"


def _commit(record: Record) -> str:
    commit = record.environment.get("git_commit")
    if not commit:
        return _UNKNOWN
    return str(commit)[:_SHORT] + (" with changes" if record.environment.get("git_dirty") else "")


def _versions(record: Record) -> str:
    environment = record.environment
    if not environment:
        return _UNKNOWN
    versions = [f"{name} {version}" for name, version in (environment.get("versions") or {}).items() if version]
    python = [f"Python {environment['python']}"] if environment.get("python") else []
    system = [str(environment["system"])] if environment.get("system") else []
    return ", ".join([*versions, *python, *system])


def _all(results: ModelResults, of: Callable[[Record], str]) -> str:
    """What trials say, each once; more than one where they differ."""
    return "; ".join(dict.fromkeys(of(record) for record in results.records))
