"""What a trial is: frozen, complete, hashable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from usfm_bench.core.settings import Settings, content_hash
from usfm_bench.specs.dataset import WORDS, DatasetSpec
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.training import TrainingSpec


class TrialSpec(Settings):
    """Everything that decides the result of one trial. Two equal specs on one CPU give the same bits."""

    suite: str
    table: str | None = None
    """Table of the paper that the trial's rows belong to."""
    task: str
    """A name of `TASKS`."""
    dataset: DatasetSpec
    model: str
    profile: str
    training: TrainingSpec
    split: SplitSpec
    fold: int = Field(default=0, ge=0)
    """Of `kfold`; of a holdout that is repeated, the repeat."""
    seed: int = Field(ge=0)
    """Governs initialisation, order and augmentation, never the split."""

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that decide the result: without the texts about the data set and where a table shows the row.

        Where the data lies is left out too: the data hash in the record says what it was. So is the number of repeats,
        of which this trial is one: more of them can be run later.
        """
        return self.model_dump(mode="json", exclude={"table": True, "dataset": WORDS, "split": {"repeats"}})

    @property
    def hash(self) -> str:
        """Content hash of `identity`, as 64 hex digits."""
        return content_hash(self.identity)

    def without_place(self) -> TrialSpec:
        """The same trial without the folders of this machine that an absolute data path names."""
        path = Path(self.dataset.path)
        if not path.is_absolute():
            return self
        return self.model_copy(update={"dataset": self.dataset.model_copy(update={"path": path.name})})

    @property
    def label(self) -> str:
        """How the trial is called in messages."""
        return f"{self.dataset.name} / {self.model} / fold-{self.fold} / seed-{self.seed}"
