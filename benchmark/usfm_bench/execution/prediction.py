"""`predict`: what a finished trial's network says of new images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from usfm_bench.core.csv_cells import guarded_frame
from usfm_bench.core.environment import code_version
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import check_writable, write_atomic, write_text
from usfm_bench.core.settings import content_hash
from usfm_bench.data.dataset import Dataset
from usfm_bench.data.new_images import Frames, NewFile, open_frames
from usfm_bench.data.readers.files import ending
from usfm_bench.data.sample import Case, Image, Sample
from usfm_bench.execution.trained import Trained
from usfm_bench.pipeline import answer
from usfm_bench.specs.task import TASKS, Answer

TABLE, CARD = "predictions.csv", "predictions.json"


class Item(NamedTuple):
    """One picture of a file."""

    file: NewFile
    frames: Frames
    number: int
    """Of the picture in the file, from 0."""
    image: Image


class Outcome(NamedTuple):
    """How one file ended."""

    file: NewFile
    fault: str | None
    """Why it could not be read; None: it was."""


def begin(out: Path, trained: Trained, paths: Sequence[Path]) -> None:
    """Make the folder of the predictions and note in it whose they are.

    Raises:
        BenchError: it holds something else than what the same command left, or cannot be written.
    """
    record = trained.record
    assert record.weights is not None
    card = {
        "schema_version": 1,
        "trial": record.spec.label,
        "spec_hash": record.spec_hash,
        "weights": record.weights.sha256,
        # Paths may name patients.
        "command": content_hash([record.weights.sha256, sorted(str(path.resolve()) for path in paths)]),
        "code": code_version(),
    }
    check_writable(out)
    held = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    if held and _command(out / CARD) != card["command"]:
        raise BenchError(
            f"{out}: already holds '{held[0]}', which this command did not write; nothing was overwritten. Name a new "
            "folder with --out."
        )
    write_text(out / CARD, json.dumps(card, indent=1) + "\n")


def _command(path: Path) -> object:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("command") if isinstance(content, dict) else None


def predict_files(
    trained: Trained, files: Sequence[NewFile], out: Path, tell: Callable[[Outcome], None]
) -> list[Outcome]:
    """Write what the network says of every picture of the files: a mask beside the others, or a row of one table.

    Args:
        trained: of a trial.
        files: of `find_new_images`.
        out: folder of `begin`.
        tell: told of each file how it ended.

    Returns:
        How each file ended, in their order.

    Raises:
        BenchError: the task has no answers for new images, or the folder cannot be written.
    """
    ended: dict[NewFile, Outcome] = {}

    def end(file: NewFile, fault: str | None = None) -> None:
        ended[file] = Outcome(file, fault)
        tell(ended[file])

    writer = _Writer(out)
    pictures = _pictures(files, _bits(trained), end)
    while items := list(islice(pictures, trained.record.spec.training.batch_size)):
        for item, said in zip(items, _answers(trained, items), strict=True):
            writer.take(item, said)
            if item.number + 1 == item.frames.n:
                end(item.file)
    writer.finish()
    return [ended[file] for file in files]


def _bits(trained: Trained) -> int | None:
    bits = trained.record.spec.dataset.options.get("bits")
    return bits if isinstance(bits, int) else None


def _pictures(files: Sequence[NewFile], bits: int | None, end: Callable[[NewFile, str], None]) -> Iterator[Item]:
    """Every picture, decoded; `end` hears of a file that cannot be."""
    for file in files:
        try:
            frames = open_frames(file.path, bits)
            for index in range(frames.n):
                yield Item(file, frames, index, frames.load(index))
        except BenchError as error:
            end(file, str(error))


def _answers(trained: Trained, items: Sequence[Item]) -> Sequence[Answer]:
    """What the network says, for which the truth is made up: tasks predict for cases that have one."""
    record = trained.record
    label = record.classes[0] if record.classes else None
    samples = tuple(
        Sample(
            Case(f"{item.file.name}#{item.number}", label),
            item.image,
            np.zeros(item.image.shape, bool),
            item.frames.spacing,
            good=item.image,
        )
        for item in items
    )
    spec = record.spec.dataset.model_copy(update={"classes": record.classes})
    predictions = answer(trained.network, record.spec, Dataset(spec, samples), trained.fabric)
    return TASKS[record.spec.task].answers(predictions)


class _Writer:
    """Files of masks as they come; the table, and masks of a volume, once they are whole."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._rows: list[dict[str, Any]] = []
        self._slices: list[NDArray[Any]] = []

    def take(self, item: Item, said: Answer) -> None:
        """Write one answer, or keep it for later."""
        if isinstance(said, Mapping):
            self._rows.append({"file": item.file.name, "frame": item.number, **said})
            return
        mask = item.frames.whole(said)
        if item.frames.nifti is None:
            number = f"-{item.number:04d}" if item.frames.n > 1 else ""
            _write_png(self._out / f"{item.file.stem}{number}.png", mask)
            return
        self._slices = [mask] if item.number == 0 else [*self._slices, mask]
        if item.number + 1 == item.frames.n:
            path = self._out / f"{item.file.stem}{ending(item.file.path.name)}"
            _write_nifti(path, item.frames.nifti(self._slices))

    def finish(self) -> None:
        """Write the table, where the task's answers are rows."""
        if self._rows:
            frame = guarded_frame(pd.DataFrame(self._rows))
            write_atomic(self._out / TABLE, lambda stream: frame.to_csv(stream, index=False, lineterminator="\n"))


def _write_png(path: Path, mask: NDArray[Any]) -> None:
    content = cv2.imencode(".png", mask)[1].tobytes()
    write_atomic(path, lambda stream: stream.write(content))


def _write_nifti(path: Path, image: Any) -> None:
    import gzip

    content = image.to_bytes()
    packed = gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content
    write_atomic(path, lambda stream: stream.write(packed))
