"""What a task is. Its entries lie in `tasks/`, one file each; nothing outside them compares a task's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.registry import Registry

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from usfm_bench.data.dataset import Dataset
    from usfm_bench.metrics.definitions import Definition
    from usfm_bench.metrics.operating import Tuned
    from usfm_bench.models.build import ModelBody
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.dataset import DatasetSpec
    from usfm_bench.specs.training import TrainingSpec

Need = Literal["mask", "label", "pair"]
Columns = Mapping[str, Any]
"""Columns of `cases.parquet` by name: a DataFrame, or arrays of equal length."""
Answer = NDArray[Any] | Mapping[str, Any]
"""For one image: a picture (H, W) at its native size, or one row of a table by column."""
WHO = ("case_id", "group_id", "class")
"""Columns of `cases.parquet` that say which case a row is of."""
PROBABILITY = "p_"
"""Prefix of the columns of `cases.parquet` that hold class probabilities."""
SCALED = "t_"
"""Prefix of the columns with the same after temperature scaling."""
DECISION = "at_"
"""Prefix of the columns that say whether a case is called positive, by a threshold that a rule chose on validation."""


class Predictions(Protocol):
    """What a model says of test cases, as it passes from training to scoring and storing."""

    @property
    def case_ids(self) -> tuple[str, ...]:
        """(N,) which cases."""

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Content of `predictions.npz`."""


class Task(ABC):
    """What networks are asked to do with an image, and how their answers are judged."""

    name: ClassVar[str]
    """As registries, suites and records write it."""
    short: ClassVar[str]
    """In narrow columns."""
    title: ClassVar[str]
    """Title of a table of its results, without the number."""
    of: ClassVar[str]
    """What its metrics are computed from, `Definition.of`."""
    needs: ClassVar[Need]
    """What every case must have."""
    wants: ClassVar[Literal["maps", "vector"]]
    """What it takes of a model: feature maps, or one vector an image."""
    takes_images: ClassVar[bool] = False
    """It also takes models that make an image of an image, without any training."""
    per_case: ClassVar[bool]
    """True: every metric is a column of `cases.parquet`, and a table's value the mean of a column over the cases that
    are `counted`. False: metrics are of a whole test set, from the class probabilities of its cases."""
    own_suite: ClassVar[str]
    """Suite for a user's own images."""
    order: ClassVar[tuple[str, ...]]
    """Names of metrics in the order of display; others come behind them."""
    columns: ClassVar[tuple[str, ...]]
    """Those of the main table."""
    with_sd: ClassVar[tuple[str, ...]] = ()
    """Those of them beside which the standard deviation over cases stands."""
    headline_ids: ClassVar[tuple[str, ...]]
    """Definitions by which models are compared, ranked and guarded. Few: each costs all comparisons power."""
    shared: ClassVar[tuple[str, ...]]
    """Columns of `cases.parquet` that say what a case is, and so are the same for every model and seed."""
    summary: ClassVar[tuple[str, ...]]
    """Metrics of the one line that a finished trial prints."""
    panels: ClassVar[tuple[str, ...]]
    """Metrics that the forest plot has a panel for."""
    by_case: ClassVar[str]
    """The score of a single case that paired figures show."""
    browsed: ClassVar[tuple[str, ...]] = ()
    """Scores of a case that the case browser shows."""
    figures: ClassVar[tuple[str, ...]]
    """Kinds of figures, keys of `reporting.figures.draw.KINDS`, in the order of drawing."""
    validation: ClassVar[str]
    """What `validate` gives, in words, for the axis of a figure."""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Profile -> keys of `TrainingSpec`, for a task that the shipped profiles do not name."""
    only_here: ClassVar[frozenset[str]] = frozenset()
    """Keys of a recipe that other tasks have no use for."""
    first: ClassVar[tuple[str, ...]] = ()
    """Models whose rows stand above all others of a data set: what a reader compares with."""
    augmented: ClassVar[Literal["mask"] | None] = None
    """`mask`: random changes of geometry move the target with the image."""

    def takes(self, gives: Iterable[str]) -> bool:
        """Whether models that give this can do it."""
        return self.wants in gives or (self.takes_images and "image" in gives)

    # ---- before training ----

    @abstractmethod
    def targets(self, dataset: Dataset, size: int) -> NDArray[Any]:
        """(N, ...) what a network of this input size is to say: uint8 masks, or int64 labels.

        Raises:
            DataError: a case that has none.
        """

    @abstractmethod
    def network(self, body: ModelBody, train: Dataset, recipe: TrainingSpec) -> Network:
        """The model with a head or decoder and its loss; `train` says which classes there are and how many of each."""

    def after_augmentation(self, targets: Tensor) -> Tensor:
        """Targets whose borders a change of geometry has made soft, hard again."""
        return targets

    # ---- after training ----

    @abstractmethod
    def validate(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """The score in [0, 1] that chooses the checkpoint, from batches of (outputs, targets) on the device."""

    @abstractmethod
    def predict(self, logits: Tensor, dataset: Dataset, val: tuple[Tensor, Tensor] | None = None) -> Predictions:
        """What is kept of (N, ...) float32 outputs for test cases; `val`: outputs and targets of validation cases."""

    def predict_batches(
        self, batches: Iterable[Tensor], dataset: Dataset, val: Callable[[], tuple[Tensor, Tensor] | None]
    ) -> Predictions:
        """As `predict`, from (B, ...) outputs of one batch after the other.

        A task whose outputs are as large as images keeps them small here, a batch at a time.

        Args:
            batches: outputs for the test cases, in their order.
            dataset: the test cases.
            val: gives outputs and targets of the validation cases, where there are any; it asks the network.
        """
        import torch

        kept = val()
        return self.predict(torch.cat(list(batches)), dataset, kept)

    @abstractmethod
    def read_predictions(self, arrays: Mapping[str, NDArray[Any]]) -> Predictions | None:
        """What `Predictions.arrays` gave; None where the arrays are another task's."""

    def answers(self, predictions: Predictions) -> Sequence[Answer]:
        """What a user gets for new images, in the order of the predictions, whose references are made up.

        Raises:
            BenchError: the task has no such answers.
        """
        raise BenchError(f"Task '{self.name}' has no answers for new images: its `answers` is missing.")

    # ---- scoring; without torch ----

    @abstractmethod
    def definitions(self, predictions: Predictions) -> dict[str, str]:
        """Column or metric -> versioned definition id of what every trial is scored with."""

    @abstractmethod
    def score(
        self,
        predictions: Predictions,
        who: pd.DataFrame,
        definitions: Sequence[Definition] | None = None,
        tuned: Tuned | None = None,
    ) -> pd.DataFrame:
        """`cases.parquet`: `who` and what the predictions are worth, one row a case, in their order.

        Args:
            predictions: of one trial.
            who: columns `WHO` of the same cases.
            definitions: of metrics by case; None: the primary ones.
            tuned: of `tune`.
        """

    @abstractmethod
    def summarise(
        self, cases: pd.DataFrame, definitions: Mapping[str, str], classes: tuple[str, ...]
    ) -> dict[str, Any]:
        """The trial's own means, for a quick look."""

    def tune(self, predictions: Predictions, positive: str | None) -> Tuned | None:
        """What the validation cases choose for a positive class; None where nothing is chosen."""
        return None

    def counted(self, cases: Columns | pd.DataFrame, definition: Definition) -> NDArray[np.bool_]:
        """(N,) the cases that a mean of this metric runs over, where it is defined for them."""
        return np.ones(len(cases["case_id"]), bool)

    def averaged(
        self, cases: Columns | pd.DataFrame, definition: Definition, scores: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(N,) the cases that a mean of scores (seeds, N) runs over: those counted, with a value from every seed.

        The one rule of tables, figures and the gate.
        """
        return self.counted(cases, definition) & ~np.isnan(scores).any(axis=0)

    def notes(self, dataset: DatasetSpec) -> list[str]:
        """What a reader must know of the numbers on this data set."""
        return []

    # ---- metrics ----

    def parts(self, definition: Definition, dataset: DatasetSpec) -> list[Definition]:
        """What a metric becomes on a data set: itself; or first the mean over what cases show, then each part of that.

        Empty where the data set has no such part.
        """
        return [definition]

    def primary(self) -> list[Definition]:
        """What every trial is scored with, in the order of display; millimetres last."""
        from usfm_bench.metrics.definitions import primary

        return primary(self.of, self.order)

    def headline(self, dataset: DatasetSpec | None = None) -> list[Definition]:
        """The definitions behind `headline_ids`, and what they become on a data set."""
        from usfm_bench.metrics.definitions import DEFINITIONS

        whole = [DEFINITIONS[ident] for ident in self.headline_ids]
        return whole if dataset is None else [self.parts(definition, dataset)[0] for definition in whole]


TASKS: Registry[Task] = Registry("task", home="usfm_bench.tasks")
"""Task name -> task."""


def tasks_for(gives: Iterable[Need]) -> tuple[str, ...]:
    """Names of the tasks that cases with masks, labels, or both can be used for, in the order of what they have."""
    return tuple(name for need in gives for name in TASKS if TASKS[name].needs == need)
