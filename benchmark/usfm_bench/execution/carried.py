"""What travels to a machine that shares no disk with this one, and the finished trials that travel back."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from usfm_bench.core.errors import BenchError
from usfm_bench.data.dataset import Dataset
from usfm_bench.execution.outcome import Event, Outcome
from usfm_bench.execution.session import Session, SessionArguments, data_key
from usfm_bench.pretraining.card import card_path
from usfm_bench.results.store import Store
from usfm_bench.specs.model import pretrained_folder, resolve
from usfm_bench.specs.model_files import own_models
from usfm_bench.specs.trial import TrialSpec

_PRETRAINED, _MODELS = "pretrained", "models.yaml"


@dataclass(frozen=True)
class Carried:
    """What trials need elsewhere. Large parts lie in the cluster's memory and are fetched once a machine."""

    arguments: SessionArguments
    datasets: Mapping[str, Any]
    """`data_key` to a reference to the decoded data set."""
    files: Mapping[str, Any]
    """Relative path to a reference to the content: weight files, their cards, the user's `models.yaml`."""
    fetch: Callable[[Any], Any]
    """From a reference to what it stands for."""


def carry(
    session: Session, trials: Sequence[TrialSpec], put: Callable[[Any], Any], fetch: Callable[[Any], Any]
) -> Carried:
    """Decoded data sets and weight files of trials, each put once where others can fetch it.

    Raises:
        BenchError: a weight file lies where no relative path leads.
    """
    by_key = {data_key(spec): spec for spec in trials}
    datasets = {key: put(session.dataset(spec)) for key, spec in by_key.items()}
    paths: dict[str, Path] = {}
    for name in dict.fromkeys(spec.model for spec in trials):
        weights = resolve(name).weight_file
        if weights is not None and weights.is_file():
            place = _place(name, weights)
            paths |= {place: weights, card_path(Path(place)).as_posix(): card_path(weights)}
    if (models := own_models()) is not None:
        paths[_MODELS] = models
    files = {place: put(path.read_bytes()) for place, path in paths.items() if path.is_file()}
    return Carried(session.arguments, datasets, files, fetch)


def _place(model: str, weights: Path) -> str:
    """Where a weight file lies in the folder of an actor, so that the model's name leads to it there, too."""
    folder = pretrained_folder().absolute()
    if weights.absolute().is_relative_to(folder):
        return (Path(_PRETRAINED) / weights.absolute().relative_to(folder)).as_posix()
    if weights.is_absolute() or ".." in weights.parts:
        raise BenchError(
            f"{model}: its weights travel to the other machines, where '{weights}' leads nowhere. Name them by a path "
            "within this folder, or put them into pretrained/."
        )
    return weights.as_posix()


class RemoteSession:
    """A session on another machine, in a temporary folder of its own. Nothing stays there but what is running."""

    def __init__(self, carried: Carried, device: str) -> None:
        self._carried = carried
        self._folder = Path(tempfile.mkdtemp(prefix="usfm-bench-"))
        os.chdir(self._folder)  # relative paths of weights lead here
        os.environ |= {"USFM_BENCH_PRETRAINED": _PRETRAINED, "USFM_BENCH_CACHE": ""}
        os.environ.pop("USFM_BENCH_MODELS", None)
        self._write([_MODELS])
        runs = self._folder / "runs"
        arguments = replace(carried.arguments, runs=runs, data_root=self._folder, device=device)
        self._store, self._session = Store(runs), Session(arguments, open_data=self._open)

    def _open(self, spec: TrialSpec) -> Dataset:
        dataset: Dataset = self._carried.fetch(self._carried.datasets[data_key(spec)])
        return dataset

    def _write(self, places: Sequence[str]) -> None:
        for place in places:
            path = self._folder / place
            if place in self._carried.files and not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self._carried.fetch(self._carried.files[place]))

    def run(self, spec: TrialSpec) -> Iterator[Event | Files]:
        """Run a trial: its epochs, then its files, or how it ended without any."""
        weights = resolve(spec.model).weight_file
        if weights is not None:
            self._write([weights.as_posix(), card_path(weights).as_posix()])
        told: SimpleQueue[Event] = SimpleQueue()
        # The session tells by calls, and this function by what it yields: a thread turns one into the other.
        threading.Thread(target=self._work, args=(spec, told), daemon=True).start()
        while not isinstance(event := told.get(), Outcome):
            yield event
        folder = self._store.folder(spec)
        if event.status == "done":
            yield Files(event, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
        else:
            yield event
        shutil.rmtree(folder, ignore_errors=True)

    def _work(self, spec: TrialSpec, told: SimpleQueue[Event]) -> None:
        try:
            told.put(self._session.run(spec, told.put, wait=False))
        except BaseException:
            told.put(Outcome(spec, "failed", traceback.format_exc()))


@dataclass(frozen=True)
class Files:
    """A finished trial."""

    outcome: Outcome
    content: Mapping[str, bytes]
    """Of its folder, by name."""

    def store(self, store: Store) -> Outcome:
        """Write it, under the trial's lock, which the caller holds."""
        try:
            store.receive(self.outcome.spec, self.content)
        except BenchError as error:
            return Outcome(self.outcome.spec, "failed", str(error))
        return self.outcome
