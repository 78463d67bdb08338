"""How a data set is divided."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from usfm_bench.core.settings import Settings, later

VAL, TEST = 0.1, 0.2  # of a holdout; the rest is for training


class SplitSpec(Settings):
    """How a data set is divided. Drawn by its own seed, so every trial seed and model sees the same test cases."""

    kind: Literal["holdout", "kfold"] = "holdout"
    """`holdout`: 70 % training, 10 % validation, 20 % test. `kfold`: each case is tested once, in one of the folds."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split, not of the trial."""
    folds: int = Field(default=1, ge=1)
    """Number of folds: 1 for a holdout."""
    repeats: int = later(1, ge=1)
    """Holdouts that are drawn one after the other, each with training and test cases of its own; 1 for kfold.

    The first is the same however many there are, so no trial's result depends on their number.
    """

    @property
    def parts(self) -> int:
        """Numbers that a trial's `fold` may have: of folds, or of repeats."""
        return self.folds * self.repeats

    @property
    def part(self) -> str:
        """What a trial's `fold` counts, in a word."""
        return "fold" if self.kind == "kfold" else "repeat"

    @model_validator(mode="after")
    def _folds_fit_kind(self) -> SplitSpec:
        if (self.kind == "holdout") != (self.folds == 1):
            raise ValueError("a holdout has 1 fold, kfold has 2 or more")
        if self.kind == "kfold" and self.repeats > 1:
            raise ValueError("repeats: go with a holdout; kfold tests each case once as it is")
        return self
