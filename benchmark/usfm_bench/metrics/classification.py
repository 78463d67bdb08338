"""Classification metrics, by scikit-learn; macro averages run over the classes present in the test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from usfm_bench.errors import BenchError


def score_classification(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Every metric of one set of predictions.

    Args:
        probabilities: (N, C), rows sum to 1.
        labels: (N,) indices into `classes`.
        classes: (C,) names.

    Returns:
        ACC, BACC, macro SEN, SPEC, PREC, F1, AUROC; per_class values; the confusion matrix (rows: truth);
        absent: classes without a test case, which no macro average includes.

    Raises:
        BenchError: NaN, rows that do not sum to 1, or labels outside the classes; names the row.
    """
    check_probabilities(probabilities, labels, classes)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(labels)
    confusion = sk.confusion_matrix(labels, predicted, labels=np.arange(len(classes)))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), zero_division=0
    )
    specificity = [sk.recall_score(labels != k, predicted != k, zero_division=np.nan) for k in range(len(classes))]
    auroc = [
        sk.roc_auc_score(labels == k, probabilities[:, k]) if 0 < (labels == k).sum() < len(labels) else np.nan
        for k in range(len(classes))
    ]
    columns = {"SEN": recall, "SPEC": np.array(specificity), "PREC": precision, "F1": f1, "AUROC": np.array(auroc)}
    return {
        "ACC": float((predicted == labels).mean()),
        "BACC": float(recall[present].mean()),
        **{name: _number(values[present].mean()) for name, values in columns.items()},
        "per_class": {
            classes[k]: {name: _number(values[k]) for name, values in columns.items()} for k in present.tolist()
        },
        "confusion": confusion.tolist(),
        "absent": [name for k, name in enumerate(classes) if k not in present],
    }


def check_probabilities(probabilities: NDArray[np.float64], labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Raise a BenchError that names the first faulty row."""
    if probabilities.shape != (len(labels), len(classes)):
        raise BenchError(f"probabilities is {probabilities.shape}; expected {(len(labels), len(classes))}.")
    wrong = ~(np.abs(probabilities.sum(axis=1) - 1) < 1e-4)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BenchError(f"probabilities, row {row}: {probabilities[row].tolist()} do not sum to 1.")
    outside = (labels < 0) | (labels >= len(classes))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise BenchError(f"labels, row {row}: {labels[row]} is not one of the {len(classes)} classes.")


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
