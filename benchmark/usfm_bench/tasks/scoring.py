"""Predictions -> one row a case -> the trial's own means. Without torch: kept predictions can be scored again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from usfm_bench.core.errors import BenchError, listed
from usfm_bench.data.dataset import Dataset
from usfm_bench.metrics.classification import score_classification
from usfm_bench.metrics.definitions import Definition, primary
from usfm_bench.metrics.operating import Tuned, choose
from usfm_bench.metrics.segmentation import primary_definitions, score_segmentation
from usfm_bench.tasks.predictions import Predictions, SegmentationPredictions, log_odds, softmax

_SHOWN = 5
PROBABILITY = "p_"
"""Prefix of the columns of `cases.parquet` that hold class probabilities."""
SCALED = "t_"
"""Prefix of the columns with the same after temperature scaling."""
DECISION = "at_"
"""Prefix of the columns that say whether a case is called positive, by a threshold that a rule chose on validation."""
WHO = ("case_id", "group_id", "class")
"""Columns that say which case a row is of."""


def case_table(dataset: Dataset) -> pd.DataFrame:
    """Columns `WHO`, one row a case of the data set."""
    rows = [(sample.case.case_id, sample.group_id, sample.case.label) for sample in dataset.samples]
    return pd.DataFrame(rows, columns=list(WHO))


def tune(predictions: Predictions, positive: str | None) -> Tuned | None:
    """What the validation cases choose, for a data set with this positive class.

    Returns:
        None for segmentation, and where the validation side was not kept, as in earlier versions.
    """
    if isinstance(predictions, SegmentationPredictions) or predictions.val_logits is None:
        return None
    return choose(predictions.val_logits, np.asarray(predictions.val_labels), predictions.classes, positive)


def score_cases(
    predictions: Predictions,
    who: pd.DataFrame,
    definitions: Sequence[Definition] | None = None,
    *,
    tuned: Tuned | None = None,
) -> pd.DataFrame:
    """`cases.parquet`: one row a test case, in the order of the predictions.

    Segmentation: every metric of the case. Classification: the prediction and the probability of each class
    (its metrics are not per case), after temperature scaling too, and the decisions by thresholds.

    Args:
        predictions: of one trial.
        who: of `case_table`, or those columns of an earlier `cases.parquet`; rows in any order.
        definitions: of segmentation; None: the primary ones.
        tuned: of `tune`; None: no columns for what it chooses.
    """
    ids = list(predictions.case_ids)
    if unknown := sorted(set(ids) - set(who["case_id"])):
        raise BenchError(f"predictions of cases that the table of cases lacks: {listed(unknown, _SHOWN)}.")
    rows = who.set_index("case_id").loc[ids].reset_index()[list(WHO)]
    if isinstance(predictions, SegmentationPredictions):
        scores = score_segmentation(
            predictions.predictions,
            predictions.references,
            definitions=definitions,
            spacings=predictions.spacings,
            grid_preds=list(predictions.grid_predictions),
            case_ids=ids,
        ).drop(columns="case_id")
        return pd.concat([rows, scores], axis=1)
    chosen = predictions.logits.argmax(axis=1)
    scores = pd.DataFrame(
        {"label": predictions.labels, "predicted": chosen, "ACC": (chosen == predictions.labels).astype(np.float64)}
    )
    for name, column in zip(predictions.classes, predictions.probabilities.T, strict=True):
        scores[PROBABILITY + name] = column
    if tuned is not None:
        scaled = softmax(predictions.logits, tuned.temperature)
        for name, column in zip(predictions.classes, scaled.T, strict=True):
            scores[SCALED + name] = column
        for rule, threshold in tuned.thresholds.items():
            odds = log_odds(predictions.logits)[:, predictions.classes.index(str(tuned.positive))]
            scores[DECISION + rule] = odds >= threshold
    return pd.concat([rows, scores], axis=1)


def probabilities_of(cases: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, C) class probabilities in the order of `classes`."""
    return cases[[PROBABILITY + name for name in classes]].to_numpy(np.float64)


def definition_ids(predictions: Predictions) -> dict[str, str]:
    """Column or metric -> versioned definition id of what `score_cases` computes."""
    if isinstance(predictions, SegmentationPredictions):
        return {d.column: d.id for d in primary_definitions(predictions.spacings)}
    return {d.column: d.id for d in primary("classification")}


def summarise(cases: pd.DataFrame, definitions: Mapping[str, str], classes: tuple[str, ...]) -> dict[str, Any]:
    """The trial's own means: over lesion cases in segmentation; macro and per class in classification.

    Args:
        cases: of `score_cases`.
        definitions: of `definition_ids`.
        classes: names in label order.

    Returns:
        What is undefined for a case is not in its mean, and `n_undefined` says of how many lesion cases.
    """
    if "lesion" not in cases:
        probabilities = probabilities_of(cases, classes)
        return score_classification(
            probabilities, cases["label"].to_numpy(), classes, case_ids=cases["case_id"].tolist()
        )
    lesions = cases[cases["lesion"]]
    undefined = {name: int(lesions[name].isna().sum()) for name in definitions}
    return {name: _mean(lesions[name]) for name in definitions} | {
        "n_lesion_cases": len(lesions),
        "n_missed": int(cases["missed"].sum()),
        "n_false_alarms": int(cases["false_alarm"].sum()),
        "n_undefined": {name: n for name, n in undefined.items() if n},
    }


def _mean(values: pd.Series[float]) -> float | None:
    defined = values.dropna()
    return float(defined.mean()) if len(defined) else None
