"""`evaluations/<name>/` in a trial's folder: what its network is worth on other cases, without training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError

from usfm_bench.core.errors import BenchError
from usfm_bench.core.file_names import encode_name
from usfm_bench.core.files import write_atomic, write_text
from usfm_bench.core.settings import Settings, differing_fields
from usfm_bench.core.validation import in_words
from usfm_bench.results.predictions import save_predictions
from usfm_bench.results.record import Record
from usfm_bench.results.store import read_json
from usfm_bench.specs.condition import Condition
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.task import Predictions

EVALUATIONS = "evaluations"
SCHEMA_VERSION = 1


_MOST = 0.5  # of the cases known: a copy, or nearly one


class Seen(Settings):
    """How many cases were known to a trial before they were evaluated; all 0 for other cases."""

    n: int
    """Cases."""
    same_dataset: bool
    """Whether they are a data set of the name that the trial was trained on."""
    pixels: int
    """Cases with the pixels of a training or validation case."""
    groups: int
    """Cases in a group with such a case, or of its patient; those with the same pixels are among them."""
    near_duplicates: int
    """Cases that are nearly the same picture as a training or validation case; those with the same pixels are too."""

    @property
    def most(self) -> int:
        """The largest of the numbers."""
        return max(self.pixels, self.groups, self.near_duplicates)

    @property
    def counts(self) -> bool:
        """Whether what is left without them is no other data set: it is the same, or more than half is known."""
        return self.same_dataset or self.most > _MOST * self.n

    def __str__(self) -> str:
        same = "it is the data set that the model was trained on; " if self.same_dataset else ""
        return (
            f"{same}of {self.n} cases, {self.pixels} have the pixels of a training or validation case, {self.groups} "
            f"are in a group with one, and {self.near_duplicates} are near-duplicates of one"
        )


class Evaluation(Settings):
    """Content of an evaluation's `record.json`."""

    schema_version: int = SCHEMA_VERSION
    """Raised when a reader of the older form would misread the newer."""
    name: str
    """The data set's name; with `@test` behind it where the cases are the trial's own test cases, and the condition."""
    trial: str
    """The trial as messages call it: data set, model, fold and seed."""
    spec_hash: str
    """Of the trial."""
    weights: str
    """sha256 of the trial's `weights.safetensors`."""
    dataset: DatasetSpec
    """The entry of the cases."""
    data_hash: str
    """Content hash of the cases that were scored, before any corruption."""
    condition: Condition | None = None
    """What was done to their images; None: nothing."""
    own_test: bool
    """Whether they are the trial's own test cases."""
    seen: Seen | None
    """What the trial knew of them; None: the cases that it was trained on are not here to compare with."""
    seen_in_pretraining: bool | None
    """Whether the weights that the trial began with saw them; None: unknown."""
    n_test: int
    n_test_groups: int
    left_out: dict[str, int] = Field(default_factory=dict)
    """Class that the model does not know -> number of its cases, which were not scored."""
    known_left_out: int = 0
    """Cases that were not scored since the data set that was trained on shows them, or nearly the same picture, too."""
    seen_scored: bool = False
    """Whether cases that were trained on are among those scored (--allow-seen)."""
    grouped_by: str | None
    groups: str
    """The groups of the data set in words."""
    notes: tuple[str, ...]
    definitions: dict[str, str]
    """Metric -> versioned definition id."""
    scores: dict[str, Any]
    """Means, for a quick look."""
    environment: dict[str, Any] = Field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the numbers."""
        return self.model_dump(include={"name", "spec_hash", "weights", "data_hash", "condition"})

    def is_of(self, record: Record) -> bool:
        """Whether it is of the trial that the record is of, with the weights that lie there now."""
        weights = record.weights
        return record.spec_hash == self.spec_hash and weights is not None and weights.sha256 == self.weights

    def as_trial(self, record: Record) -> Record:
        """The trial's record as if it had been tested on these cases, for tables.

        What it was trained on stands behind the model's name: other trials of that model may be scored on these cases.
        Of other cases every network scores all, so that each fold's network is one more draw of the training: it
        counts as a seed of its own.
        """
        spec = record.spec
        dataset = self.dataset.model_copy(update={"name": self.name, "positive": spec.dataset.positive})
        changed: dict[str, Any] = {"dataset": dataset}
        if not self.own_test:
            # Repeats may be added later, so numbers of networks cannot depend on how many there are.
            kfold = spec.split.kind == "kfold"
            seed = spec.seed * spec.split.folds + spec.fold if kfold else spec.seed + (spec.fold << 32)
            changed |= {"seed": seed, "fold": 0, "split": SplitSpec(kind="holdout", seed=spec.split.seed)}
            changed["model"] = f"{spec.model} (trained on {spec.dataset.name})"
        leaked = self.seen.most if self.seen and (self.seen_scored or self.seen.counts) else 0
        same = "data_hash", "n_test", "n_test_groups", "grouped_by", "groups", "notes", "definitions", "scores"
        return record.model_copy(
            update={
                "spec": spec.model_copy(update=changed),
                **{name: getattr(self, name) for name in (*same, "seen_in_pretraining")},
                **({} if self.own_test else {"split_hash": self.data_hash, "n_leaked": leaked}),
            }
        )


def conditions_of(trial: Path) -> Iterator[tuple[Path, Evaluation]]:
    """The finished evaluations of a trial's own test cases under corruptions, in the order of their names."""
    for path in sorted((trial / EVALUATIONS).glob("*@test.*/record.json".replace("@", encode_name("@")))):
        evaluation = read_evaluation(path.parent)
        if evaluation is not None and evaluation.own_test and evaluation.condition is not None:
            yield path.parent, evaluation


def others_of(trial: Path) -> Iterator[tuple[Path, Evaluation]]:
    """The finished evaluations of a trial on other data sets as they are, in the order of their names."""
    for path in sorted((trial / EVALUATIONS).glob("*/record.json")):
        if ".stale-" in path.parent.name:
            continue
        evaluation = read_evaluation(path.parent)
        if evaluation is not None and not evaluation.own_test and evaluation.condition is None:
            yield path.parent, evaluation


def evaluation_folder(trial: Path, name: str) -> Path:
    """Where the evaluation of that name lies in a trial's folder."""
    return trial / EVALUATIONS / encode_name(name)


def read_evaluation(folder: Path) -> Evaluation | None:
    """The record of a finished evaluation; None where there is none.

    Raises:
        BenchError: damaged, or of a schema that this version does not read.
    """
    path = folder / "record.json"
    if not path.exists():
        return None
    content = read_json(path, "Evaluate again with --fresh.")
    if (version := content.get("schema_version")) != SCHEMA_VERSION:
        raise BenchError(f"{path}: schema_version is {version}, this usfm-bench reads {SCHEMA_VERSION}.")
    try:
        return Evaluation.model_validate(content)
    except ValidationError as error:
        raise BenchError(
            "\n".join(in_words(error, Evaluation, content, f"{path}: no record of an evaluation"))
        ) from None


def changed_fields(before: Evaluation, now: Evaluation) -> list[str]:
    """In what an evaluation that lies there differs from the one that is asked for, as `field: old -> new`."""
    return differing_fields(before.identity, now.identity)


def save_evaluation(folder: Path, evaluation: Evaluation, cases: pd.DataFrame, predictions: Predictions) -> None:
    """Write a finished evaluation; `record.json` lands last and makes it done.

    Raises:
        BenchError: no space, no permission.
    """
    write_atomic(folder / "cases.parquet", lambda stream: cases.to_parquet(stream, index=False))
    save_predictions(folder / "predictions.npz", predictions)
    write_text(folder / "record.json", evaluation.model_dump_json(indent=1))
