"""Predictions -> one row a case. Without torch: kept predictions can be scored again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from usfm_bench.core.errors import BenchError, listed
from usfm_bench.specs.task import WHO, Predictions, Task

if TYPE_CHECKING:
    import pandas as pd

    from usfm_bench.data.dataset import Dataset
    from usfm_bench.metrics.definitions import Definition
    from usfm_bench.metrics.operating import Tuned

_SHOWN = 5


def case_table(dataset: Dataset) -> pd.DataFrame:
    """Columns `WHO`, one row a case of the data set."""
    import pandas as pd

    rows = [(sample.case.case_id, sample.group_id, sample.case.label) for sample in dataset.samples]
    return pd.DataFrame(rows, columns=list(WHO))


def score_cases(
    task: Task,
    predictions: Predictions,
    who: pd.DataFrame,
    definitions: Sequence[Definition] | None = None,
    *,
    tuned: Tuned | None = None,
) -> pd.DataFrame:
    """`cases.parquet`: one row a test case, in the order of the predictions.

    Args:
        task: what the predictions are of.
        predictions: of one trial.
        who: of `case_table`, or those columns of an earlier `cases.parquet`; rows in any order.
        definitions: of metrics by case; None: the primary ones.
        tuned: of `Task.tune`; None: no columns for what it chooses.

    Raises:
        BenchError: predictions of cases that `who` lacks.
    """
    ids = list(predictions.case_ids)
    if unknown := sorted(set(ids) - set(who["case_id"])):
        raise BenchError(f"predictions of cases that the table of cases lacks: {listed(unknown, _SHOWN)}.")
    rows = who.set_index("case_id").loc[ids].reset_index()[list(WHO)]
    return task.score(predictions, rows, definitions, tuned)
