"""How a data set is divided."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from usfm_bench.core.settings import Settings


class SplitSpec(Settings):
    """How a data set is divided. Drawn by its own seed, so every trial seed and model sees the same test cases."""

    kind: Literal["holdout", "kfold"] = "holdout"
    """`holdout`: 70 % training, 10 % validation, 20 % test. `kfold`: each case is tested once, in one of the folds."""
    seed: int = Field(default=0, ge=0)
    """Seed of the split, not of the trial."""
    folds: int = Field(default=1, ge=1)
    """Number of folds: 1 for a holdout."""

    @model_validator(mode="after")
    def _folds_fit_kind(self) -> SplitSpec:
        if (self.kind == "holdout") != (self.folds == 1):
            raise ValueError("a holdout has 1 fold, kfold has 2 or more")
        return self
