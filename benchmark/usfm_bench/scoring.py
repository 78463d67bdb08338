"""Predictions -> one row a case -> the trial's own means. Without torch: kept predictions can be scored again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from usfm_bench.config import Task
from usfm_bench.data.dataset import Dataset
from usfm_bench.metrics.classification import score_classification
from usfm_bench.metrics.definitions import primary
from usfm_bench.metrics.segmentation import score_segmentation
from usfm_bench.predictions import Predictions, SegmentationPredictions

PROBABILITY = "p_"
"""Prefix of the columns of `cases.parquet` that hold class probabilities."""


def score_cases(predictions: Predictions, test: Dataset) -> pd.DataFrame:
    """`cases.parquet`: one row a test case, in the order of the predictions.

    Segmentation: every metric of the case. Classification: the prediction and the probability of each class
    (its metrics are not per case).
    """
    by_id = {sample.case.case_id: sample for sample in test.samples}
    samples = [by_id[case_id] for case_id in predictions.case_ids]
    who = pd.DataFrame(
        {
            "case_id": predictions.case_ids,
            "group_id": [sample.group_id for sample in samples],
            "class": [sample.case.label for sample in samples],
        }
    )
    if isinstance(predictions, SegmentationPredictions):
        scores = score_segmentation(
            predictions.predictions, predictions.references, case_ids=predictions.case_ids
        ).drop(columns="case_id")
    else:
        chosen = predictions.logits.argmax(axis=1)
        scores = pd.DataFrame(
            {
                "label": predictions.labels,
                "predicted": chosen,
                "ACC": (chosen == predictions.labels).astype(np.float64),
            }
        )
        for name, column in zip(predictions.classes, predictions.probabilities.T, strict=True):
            scores[PROBABILITY + name] = column
    return pd.concat([who, scores], axis=1)


def probabilities_of(cases: pd.DataFrame, classes: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(N, C) class probabilities in the order of `classes`."""
    return cases[[PROBABILITY + name for name in classes]].to_numpy(np.float64)


def definition_ids(task: Task) -> dict[str, str]:
    """Metric -> versioned definition id of what `score_cases` computes."""
    return {name: definition.id for name, definition in primary(task).items()}


def summarise(cases: pd.DataFrame, task: Task, classes: tuple[str, ...]) -> dict[str, Any]:
    """The trial's own means: over lesion cases in segmentation; macro and per class in classification."""
    if task == "classification":
        return score_classification(probabilities_of(cases, classes), cases["label"].to_numpy(), classes)
    lesions = cases[cases["lesion"]]
    means = {name: _mean(lesions[name]) for name in primary(task)}
    counts = {
        "n_lesion_cases": len(lesions),
        "n_missed": int(cases["missed"].sum()),
        "n_false_alarms": int(cases["false_alarm"].sum()),
    }
    return means | counts


def _mean(values: pd.Series[float]) -> float | None:
    defined = values.dropna()
    return float(defined.mean()) if len(defined) else None
