"""The runs folder: one folder a trial, written atomically, claimed by a lock, resumable.

A trial is done when its `record.json` is there; that file is written last.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from glob import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import ValidationError

from usfm_bench.core.errors import BenchError, listed, unknown
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.files import write_atomic, write_text
from usfm_bench.core.locks import LockHeldError, check_locks, holder, locked
from usfm_bench.core.settings import differing_fields
from usfm_bench.core.validation import in_words
from usfm_bench.results.predictions import save_predictions
from usfm_bench.results.record import SCHEMA_VERSION, Record
from usfm_bench.specs.task import Predictions
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.suites.plan import suite_names

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """Trials under one runs folder: `<suite>/<dataset>/<model>/<profile>/fold-<k>/seed-<n>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out: dict[str, str] = {}
        """Record, as a path under the root, and why it was passed over; here it is an error instead."""

    @property
    def shared(self) -> Path:
        """Where files that several trials have in common are found; each trial's folder has its own name for them."""
        return self.root / ".shared"

    def check_writable(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Raise a BenchError, before anything is read or trained, when results could not be written or locked.

        Args:
            say: told what a user must know of the locks here.
        """
        if warning := check_locks(self.root):
            say(f"note: {warning}")

    def folder(self, spec: TrialSpec) -> Path:
        """Folder of a trial; names are percent-encoded outside [A-Za-z0-9._-]."""
        names = (spec.suite, spec.dataset.name, spec.model, spec.profile)
        return self.root.joinpath(*map(encode_name, names), f"fold-{spec.fold}", f"seed-{spec.seed}")

    def record(self, spec: TrialSpec) -> Record | None:
        """The record of a finished trial, whatever its settings were; None when it is not finished."""
        path = self.folder(spec) / "record.json"
        return read_record(path) if path.exists() else None

    def begin(self, spec: TrialSpec, **inputs: Any) -> Path:
        """Note settings and inputs before training, so that another run sees whose half-done work lies here.

        Half-done work on other inputs (data, weights, code) is not continued but removed.
        """
        folder = self.folder(spec)
        content = {"settings": spec.identity, **inputs}
        path = folder / "spec.json"
        if not path.exists() or read_json(path) != content:
            (folder / "state.pt").unlink(missing_ok=True)
        remove_temporary(folder)
        write_text(path, json.dumps(content, indent=1))
        return folder

    def changed_settings(self, spec: TrialSpec) -> list[str]:
        """The fields in which what lies in the trial's folder differs from `spec`, as `field: old -> new`."""
        folder = self.folder(spec)
        record = self.record(spec)
        if record is not None:
            return [] if record.spec_hash == spec.hash else differing_fields(record.spec.identity, spec.identity)
        begun = folder / "spec.json"
        return differing_fields(read_json(begun).get("settings"), spec.identity) if begun.exists() else []

    def set_aside(self, spec: TrialSpec) -> None:
        """Rename what lies in the trial's folder to `<name>.stale-<hash>`; nothing is deleted.

        Raises:
            BenchError: another process is running the trial.
        """
        try:
            with self.lock(spec):
                self._rename(spec)
        except LockHeldError:
            who = holder(lock_path(self.folder(spec)))
            raise BenchError(f"{spec.label}: is being run by another process{who}; nothing was set aside.") from None

    def _rename(self, spec: TrialSpec) -> None:
        folder = self.folder(spec)
        try:
            record = self.record(spec)
            tag = record.spec_hash[:8] if record else "unfinished"
        except BenchError:
            tag = "damaged"
        put_aside(folder, tag)

    def lock(
        self, spec: TrialSpec, *, wait: bool = False, before_waiting: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[None]:
        """The lock that a running trial holds, see `locks.locked`; the system frees it when the process dies."""
        return locked(lock_path(self.folder(spec)), wait=wait, before_waiting=before_waiting)

    def running(self, spec: TrialSpec) -> bool:
        """Whether a process holds the trial's lock."""
        try:
            with self.lock(spec):
                return False
        except LockHeldError:
            return True

    def save(
        self, record: Record, cases: pd.DataFrame, predictions: Predictions, history: Sequence[Mapping[str, Any]]
    ) -> Record:
        """Write a finished trial; `record.json` lands last and makes it done.

        Raises:
            BenchError: the disk is full or not writable; the trial stays unfinished.
        """
        folder = self.folder(record.spec)
        write_atomic(folder / "cases.parquet", lambda stream: cases.to_parquet(stream, index=False))
        save_predictions(folder / "predictions.npz", predictions)
        write_text(folder / "history.csv", _csv(history))
        if record.weights is None:  # those that lie here are of an attempt that was cut short
            for name in ("weights.safetensors", "frozen.safetensors"):
                (folder / name).unlink(missing_ok=True)
        write_text(folder / "record.json", record.model_dump_json(indent=1))
        self.tidy(record.spec)
        return record

    def receive(self, spec: TrialSpec, content: Mapping[str, bytes]) -> None:
        """Write a trial that was finished elsewhere; `record.json` lands last. The caller holds the trial's lock.

        Raises:
            BenchError: no whole trial, or the disk is full or not writable; the trial stays unfinished.
        """
        folder = self.folder(spec)
        if "record.json" not in content or any(Path(name).name != name for name in content):
            raise BenchError(f"{spec.label}: what came back is no finished trial: {listed(sorted(content))}.")
        if "weights.safetensors" not in content:
            (folder / "weights.safetensors").unlink(missing_ok=True)
        for name in sorted(content, key=lambda name: name == "record.json"):
            write_atomic(folder / name, partial(_write, content[name]))
        self.tidy(spec)

    def tidy(self, spec: TrialSpec) -> None:
        """Remove what only an unfinished trial needs."""
        for name in ("state.pt", "spec.json"):
            (self.folder(spec) / name).unlink(missing_ok=True)
        remove_temporary(self.folder(spec))

    def suites(self) -> list[str]:
        """Suites with at least one finished trial."""
        return sorted({path.relative_to(self.root).parts[0] for path in self._record_paths()})

    def finished(
        self, suite: str, profile: str | None = None, dataset: str | None = None
    ) -> Iterator[tuple[Path, Record]]:
        """Every finished trial of a suite: its folder and record, in path order.

        Args:
            suite: its name.
            profile: None: all of them.
            dataset: name of a data set's folder; None: all of them.
        """
        for path in self._record_paths(suite, profile, dataset):
            yield path.parent, read_record(path)

    def trials_by_dataset(self, suite: str, profile: str) -> dict[str, int]:
        """Folder of a data set -> number of its finished trials, in path order."""
        return dict(Counter(path.parents[4].name for path in self._record_paths(suite, profile)))

    def profiles(self, suite: str) -> list[str]:
        """Profiles with at least one finished trial of the suite."""
        return sorted({path.parts[-4] for path in self._record_paths(suite)})

    def _record_paths(
        self, suite: str | None = None, profile: str | None = None, dataset: str | None = None
    ) -> list[Path]:
        # Folders set aside end in .stale-<hash> and do not match seed-<number>.
        at_suite, at_profile = ("*" if name is None else encode_name(name) for name in (suite, profile))
        folder = "*" if dataset is None else escape(dataset)
        paths = self.root.glob(f"{at_suite}/{folder}/*/{at_profile}/fold-*/seed-*/record.json")
        return sorted(p for p in paths if re.fullmatch(r"seed-\d+", p.parent.name))


def put_aside(folder: Path, tag: str) -> None:
    """Rename a folder, where it is there, to `<name>.stale-<tag>`, with a number behind where that is taken."""
    target, n = folder.with_name(f"{folder.name}.stale-{tag}"), 1
    while target.exists():
        n += 1
        target = folder.with_name(f"{folder.name}.stale-{tag}-{n}")
    if folder.exists():
        folder.rename(target)


def choose_profile(store: Store, suite: str, profile: str | None) -> str:
    """The profile whose trials are meant: the given one, or the only one that is there.

    Raises:
        BenchError: nothing is finished, or several profiles are and none is given; names them.
    """
    finished = store.profiles(suite)
    if profile in finished:
        return profile
    if not finished:
        known = store.suites()
        if suite not in suite_names():
            names = sorted({*known, *suite_names()})
            hint = (
                f"Known: {listed(names)}. A suite of your own is known once `usfm-bench run --suite FILE.yaml` has run."
            )
            raise unknown("suite", suite, names, hint=hint)
        has = f" It has {', '.join(known)}." if known else ""
        raise BenchError(
            f"No finished trial of suite '{suite}' in '{store.root}'.{has} "
            f"`usfm-bench run --suite {suite} --runs {store.root}` makes them."
        )
    if profile is not None:
        raise BenchError(f"Suite '{suite}' has no finished trial of profile '{profile}'; it has {', '.join(finished)}.")
    if len(finished) > 1:
        raise BenchError(
            f"Suite '{suite}' has finished trials of several profiles, which no table mixes: {', '.join(finished)}. "
            f"Choose one with --profile."
        )
    return finished[0]


def remove_temporary(folder: Path) -> None:
    """Remove what a killed process was writing; the trial's lock is held, so nobody else writes here."""
    for path in folder.glob(".*"):
        path.unlink(missing_ok=True)


def lock_path(folder: Path) -> Path:
    """The lock of the trial in a folder."""
    return folder.with_name(f".{folder.name}.lock")


def read_record(path: Path) -> Record:
    """A `record.json`.

    Raises:
        BenchError: damaged, or of a schema that this version does not read.
    """
    content = read_json(path)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BenchError(f"{path}: schema_version is {version}, this usfm-bench reads {SCHEMA_VERSION}.")
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        raise BenchError("\n".join(in_words(error, Record, content, f"{path}: not a trial record"))) from None


def read_json(path: Path, remedy: str = "Set the folder aside and run the trial again.") -> dict[str, Any]:
    """A JSON object in a file.

    Raises:
        BenchError: it is none, or cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: cannot be read ({error}). {remedy}") from None
    if not isinstance(content, dict):
        raise BenchError(f"{path}: expected a JSON object.")
    return content


def _write(content: bytes, stream: IO[bytes]) -> None:
    stream.write(content)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
