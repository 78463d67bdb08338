"""Classification: which class an image shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import DataError
from usfm_bench.metrics.classification import score_classification
from usfm_bench.metrics.definitions import Definition
from usfm_bench.metrics.logits import log_odds, softmax
from usfm_bench.metrics.operating import Tuned, choose
from usfm_bench.specs.task import DECISION, PROBABILITY, SCALED, TASKS, Predictions, Task
from usfm_bench.specs.training import CORRECTIONS

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from usfm_bench.data.dataset import Dataset
    from usfm_bench.models.build import ModelBody
    from usfm_bench.models.networks import Network
    from usfm_bench.specs.training import TrainingSpec


@dataclass(frozen=True)
class ClassificationPredictions:
    """Logits and labels of the test cases, and of the validation cases that decisions are tuned on."""

    case_ids: tuple[str, ...]
    logits: NDArray[np.float32]
    """(N, C)."""
    labels: NDArray[np.int64]
    """(N,) indices into classes."""
    classes: tuple[str, ...]
    val_logits: NDArray[np.float32] | None = None
    """(M, C) of the validation cases; None in files of earlier versions."""
    val_labels: NDArray[np.int64] | None = None
    """(M,) indices into classes."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, C) softmax of the logits."""
        return softmax(self.logits)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Under the fields' own names."""
        arrays: dict[str, NDArray[np.generic]] = {
            "case_id": np.array(self.case_ids),
            "logits": self.logits,
            "labels": self.labels,
            "classes": np.array(self.classes),
        }
        if self.val_logits is not None and self.val_labels is not None:
            arrays |= {"val_logits": self.val_logits, "val_labels": self.val_labels}
        return arrays


class Classification(Task):
    """One of the data set's classes for each image; Table 2 of the paper."""

    name = "classification"
    short = "cls"
    title = "Comparison results on classification tasks"
    of = "labels"
    needs = "label"
    wants = "vector"
    per_case = False
    own_suite = "clinical-cls"
    order = ("ACC", "SEN", "PREC", "F1", "SPEC", "BACC", "AUROC", "AUPRC", "MCC", "KAPPA", "ECE", "BRIER")
    columns = order[:6]
    headline_ids = ("acc@1", "f1.macro@1")
    shared = ("label",)
    summary = ("BACC", "F1")
    panels = ("ACC", "F1", "AUROC")
    by_case = "ACC"
    figures = ("forest", "curve", "confusion", "reliability", "paired", "training")
    validation = "Validation BACC (%)"
    only_here = frozenset({*CORRECTIONS, "label_smoothing", "loss", "focal_gamma", "reading"})

    def targets(self, dataset: Dataset, size: int) -> NDArray[np.int64]:
        """(N,) labels."""
        if lacking := int((dataset.labels < 0).sum()):
            raise DataError(f"Dataset '{dataset.spec.name}': {lacking} cases have no class.")
        return np.asarray(dataset.labels, dtype=np.int64)

    def network(self, body: ModelBody, train: Dataset, recipe: TrainingSpec) -> Network:
        """The model's own pooling and a linear head."""
        from usfm_bench.models.objectives import ClassificationLoss

        return body.classifier(len(train.classes), ClassificationLoss(train.class_counts, recipe))

    def validate(self, outputs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Balanced accuracy over the classes that the validation images have."""
        from sklearn.metrics import recall_score

        batches = [(logits.argmax(dim=1).cpu().numpy(), labels.cpu().numpy()) for logits, labels in outputs]
        predicted, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))

    def predict(
        self, logits: Tensor, dataset: Dataset, val: tuple[Tensor, Tensor] | None = None
    ) -> ClassificationPredictions:
        """(N, C) logits, kept as they are."""
        val_logits, val_labels = (None, None) if val is None else (part.numpy() for part in val)
        case_ids = tuple(sample.case.case_id for sample in dataset.samples)
        labels = self.targets(dataset, 0)
        return ClassificationPredictions(case_ids, logits.numpy(), labels, dataset.classes, val_logits, val_labels)

    def answers(self, predictions: Predictions) -> list[dict[str, Any]]:
        """The most probable class, and the probability of each."""
        kept = _logits(predictions)
        columns = [PROBABILITY + name for name in kept.classes]
        return [
            {"predicted": kept.classes[int(row.argmax())], **dict(zip(columns, row.tolist(), strict=True))}
            for row in kept.probabilities
        ]

    def read_predictions(self, arrays: Mapping[str, NDArray[Any]]) -> ClassificationPredictions | None:
        """Arrays with logits and labels."""
        if "logits" not in arrays or "labels" not in arrays:
            return None
        return ClassificationPredictions(
            tuple(arrays["case_id"].tolist()),
            arrays["logits"],
            arrays["labels"],
            tuple(arrays["classes"].tolist()),
            val_logits=arrays.get("val_logits"),
            val_labels=arrays.get("val_labels"),
        )

    def definitions(self, predictions: Predictions) -> dict[str, str]:
        """The primary ones."""
        return {d.column: d.id for d in self.primary()}

    def score(
        self,
        predictions: Predictions,
        who: pd.DataFrame,
        definitions: Sequence[Definition] | None = None,
        tuned: Tuned | None = None,
    ) -> pd.DataFrame:
        """The prediction and the probability of each class, also after temperature scaling, and decisions."""
        import pandas as pd

        kept = _logits(predictions)
        chosen = kept.logits.argmax(axis=1)
        scores = pd.DataFrame(
            {"label": kept.labels, "predicted": chosen, "ACC": (chosen == kept.labels).astype(np.float64)}
        )
        for name, column in zip(kept.classes, kept.probabilities.T, strict=True):
            scores[PROBABILITY + name] = column
        if tuned is not None:
            for name, column in zip(kept.classes, softmax(kept.logits, tuned.temperature).T, strict=True):
                scores[SCALED + name] = column
            for rule, threshold in tuned.thresholds.items():
                odds = log_odds(kept.logits)[:, kept.classes.index(str(tuned.positive))]
                scores[DECISION + rule] = odds >= threshold
        return pd.concat([who, scores], axis=1)

    def summarise(
        self, cases: pd.DataFrame, definitions: Mapping[str, str], classes: tuple[str, ...]
    ) -> dict[str, Any]:
        """Over all classes and of each."""
        probabilities = probabilities_of(cases, classes)
        return score_classification(
            probabilities, cases["label"].to_numpy(), classes, case_ids=cases["case_id"].tolist()
        )

    def tune(self, predictions: Predictions, positive: str | None) -> Tuned | None:
        """Temperature and thresholds; None where the validation side was not kept, as in earlier versions."""
        kept = _logits(predictions)
        if kept.val_logits is None:
            return None
        return choose(kept.val_logits, np.asarray(kept.val_labels), kept.classes, positive)


TASKS.register("classification")(Classification())


def probabilities_of(cases: pd.DataFrame, classes: Sequence[str]) -> NDArray[np.float64]:
    """(N, C) class probabilities in the order of `classes`."""
    return cases[[PROBABILITY + name for name in classes]].to_numpy(np.float64)


def _logits(predictions: Predictions) -> ClassificationPredictions:
    assert isinstance(predictions, ClassificationPredictions)
    return predictions
