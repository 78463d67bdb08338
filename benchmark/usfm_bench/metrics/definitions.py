"""What each number is: id with version, rule, unit, range, and what empty masks get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from usfm_bench.data.spec import Task


@dataclass(frozen=True)
class Definition:
    """One metric, as it stands in records, tables and JSON rows."""

    name: str
    id: str
    """Changes its version whenever the same masks would give another number."""
    formula: str
    unit: Literal["fraction", "px"]
    source: str
    higher_is_better: bool = True
    both_empty: str = ""
    """Value when prediction and reference are empty."""
    prediction_empty: str = ""
    """Value for a missed lesion."""
    reference_empty: str = ""
    """Value for a false alarm."""


def _overlap(name: str, formula: str, *, both: str, missed: str, alarm: str) -> Definition:
    source = "confusion counts of the pixels of one image at native size"
    ident = f"{name.lower()}.pixel.native@1"
    return Definition(
        name, ident, formula, "fraction", source, both_empty=both, prediction_empty=missed, reference_empty=alarm
    )


_SEGMENTATION = (
    Definition(
        "DSC",
        "dsc.native@1",
        "2TP / (2TP + FP + FN)",
        "fraction",
        "Dice (1945), doi:10.2307/1932409",
        both_empty="1",
        prediction_empty="0",
        reference_empty="0",
    ),
    Definition(
        "HD95",
        "hd95.pooled.native.px@1",
        "95th percentile of the pooled distances between both borders (medpy's rule)",
        "px",
        "medpy.metric.binary.hd95; border = mask without its 4-neighbour erosion",
        higher_is_better=False,
        both_empty="0",
        prediction_empty="image diagonal",
        reference_empty="undefined; a false alarm",
    ),
    _overlap("IOU", "TP / (TP + FP + FN)", both="1", missed="0", alarm="0"),
    _overlap("ACC", "(TP + TN) / all", both="1", missed="as computed", alarm="as computed"),
    _overlap("SEN", "TP / (TP + FN)", both="undefined", missed="0", alarm="undefined"),
    _overlap("SPEC", "TN / (TN + FP)", both="1", missed="1", alarm="as computed"),
    _overlap("PREC", "TP / (TP + FP)", both="undefined", missed="0", alarm="0"),
    _overlap("F1", "2TP / (2TP + FP + FN), equal to DSC", both="1", missed="0", alarm="0"),
)
_SKLEARN = "scikit-learn; macro: plain mean over the classes present in the test set"
_CLASSIFICATION = (
    Definition("ACC", "acc@1", "correct / all", "fraction", "scikit-learn accuracy_score"),
    Definition("BACC", "bacc@1", "mean over classes of recall", "fraction", _SKLEARN),
    Definition("SEN", "sen.macro@1", "mean over classes of TP / (TP + FN); equal to BACC", "fraction", _SKLEARN),
    Definition(
        "SPEC", "spec.macro@1", "mean over classes of TN / (TN + FP), one against the rest", "fraction", _SKLEARN
    ),
    Definition(
        "PREC",
        "prec.macro@1",
        "mean over classes of TP / (TP + FP); 0 for a class never predicted",
        "fraction",
        _SKLEARN,
    ),
    Definition("F1", "f1.macro@1", "mean over classes of 2TP / (2TP + FP + FN)", "fraction", _SKLEARN),
    Definition(
        "AUROC",
        "auroc.ovr.macro@1",
        "mean over classes of the area under the ROC curve, one against the rest",
        "fraction",
        "scikit-learn roc_auc_score",
    ),
)


PER_CLASS = ("SEN", "SPEC", "PREC", "F1", "AUROC")
"""Classification metrics that each class has, one against the rest."""


def class_definition_id(metric: str) -> str:
    """Id of a metric of one class.

    >>> class_definition_id("SEN"), class_definition_id("AUROC")
    ('sen.class@1', 'auroc.class@1')
    """
    return f"{metric.lower()}.class@1"


def primary(task: Task) -> dict[str, Definition]:
    """Metric name -> definition, in the order of the tables' columns."""
    return {d.name: d for d in (_SEGMENTATION if task == "segmentation" else _CLASSIFICATION)}
