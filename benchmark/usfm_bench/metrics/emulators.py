"""The numbers that published repositories would print for the same predictions, to compare like with like.

Written from what those repositories' code does (docs/emulators.md), faults included. Never the default: these
are no measurements of a model but of what a table elsewhere would say.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy  # its parts are imported when they are used
from numpy.typing import NDArray

from usfm_bench.metrics.classification import matthews
from usfm_bench.metrics.definitions import Definition, define
from usfm_bench.metrics.pair import Pair
from usfm_bench.metrics.segmentation import hd95

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
_SMOOTH = 1e-5


class _Emulator:
    """Enters definitions of one repository."""

    def __init__(self, name: str, source: str, grid: str) -> None:
        self._name, self._source, self._grid = name, source, grid

    def masks(self, name: str, formula: str, compute: Callable[[Pair], float], **more: Any) -> None:
        """A metric of two masks on the network's grid, averaged over all images, as none of them leaves normals out."""
        fields = {"unit": "fraction", "grid": self._grid, "over": "all", "emulates": self._name} | more
        ident = f"{self._name}/{name.lower()}@1"
        define(Definition(name, ident, "masks", formula, source=self._source, compute=compute, **fields))

    def labels(self, name: str, formula: str, compute: Callable[[Floats, Labels], float], **more: Any) -> None:
        """A metric of (N, C) probabilities and (N,) labels."""
        fields = {"unit": "fraction", "grid": "", "emulates": self._name} | more
        ident = f"{self._name}/cls.{name.lower()}@1"
        define(Definition(name, ident, "labels", formula, source=self._source, compute=compute, **fields))


def _smoothed(part: int, whole: int) -> float:
    return (part + _SMOOTH) / (whole + _SMOOTH)


def _rows_as_points(pair: Pair) -> float:
    """Each row of a mask as one point, pixels that differ as the distance; the maximum, not a percentile."""
    pred, target = (np.unique(mask, axis=0).astype(np.float32) for mask in pair.whole)
    apart = scipy.spatial.distance.cdist(pred, target, "cityblock")
    return float(max(apart.min(axis=1).max(), apart.min(axis=0).max()))


def _define_usfm() -> None:
    repo = _Emulator("usfm-repo", "github.com/openmedlab/USFM, utils/metrics.py at 960a1e1", "network, nearest")
    smooth = "both terms of the ratio + 1e-5"
    repo.masks("DSC", f"2TP / (2TP + FP + FN); {smooth}", lambda p: _smoothed(2 * p.tp, p.n_pred + p.n_target))
    repo.masks("IOU", f"TP / (TP + FP + FN); {smooth}", lambda p: _smoothed(p.tp, p.tp + p.fp + p.fn))
    repo.masks("ACC", f"(TP + TN) / all; {smooth}", lambda p: _smoothed(p.tp + p.tn, p.size))
    repo.masks("SEN", f"TP / (TP + FN); {smooth}", lambda p: _smoothed(p.tp, p.n_target))
    repo.masks("SPEC", f"TN / (TN + FP); {smooth}", lambda p: _smoothed(p.tn, p.tn + p.fp))
    repo.masks(
        "HD95",
        "no border distance: the mask's rows are points, pixels that differ between two rows their distance; maximum",
        _rows_as_points,
        unit="score",
        range=(0.0, math.inf),
        higher_is_better=False,
    )
    repo.labels("ACC", "balanced accuracy, printed as acc", _balanced_accuracy)


def _balanced_accuracy(probabilities: Floats, labels: Labels) -> float:
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a predicted class that the truth lacks, which scikit-learn leaves out
        return float(sk.balanced_accuracy_score(labels, probabilities.argmax(axis=1)))


def _constant_for_one_empty(pair: Pair) -> float:
    if pair.n_pred and pair.n_target:
        return hd95(*pair.whole)
    return 0.0 if pair.n_pred == pair.n_target else 224.0


def _define_tinyusfm() -> None:
    repo = _Emulator(
        "tinyusfm-repo", "github.com/MacDunno/TinyUSFM, utils/evaluate.py at 39b832a", "network, nearest centre"
    )
    for name in ("DSC", "IOU", "SEN", "ACC"):
        repo.masks(name, _MEDPY[name][0], _MEDPY[name][1])
    repo.masks("SPEC", "TN / (TN + FP + 1e-8)", lambda p: p.tn / (p.tn + p.fp + 1e-8))
    repo.masks(
        "HD95",
        "medpy's pooled HD95; 0 where both are empty, 224 where one is, whatever the image's size",
        _constant_for_one_empty,
        unit="px",
        range=(0.0, math.inf),
        higher_is_better=False,
    )
    repo.labels("ACC", "correct / all", lambda p, y: float((p.argmax(axis=1) == y).mean()))
    repo.labels("BACC", "mean recall over the classes present", _balanced_accuracy)
    repo.labels(
        "MCC",
        "Matthews correlation",
        lambda p, y: matthews(y, p.argmax(axis=1)),
        unit="score",
        range=(-1.0, 1.0),
    )
    for name, function in (("PREC", "precision_score"), ("SEN", "recall_score"), ("F1", "f1_score")):
        repo.labels(
            name,
            "two classes: of the second; more: mean over the classes present or predicted, 0 where undefined",
            partial(_second_or_macro, function),
        )
    repo.labels("AUROC", "one against the rest; 0 where scikit-learn cannot compute it", _auroc_or_zero)


_MEDPY: dict[str, tuple[str, Callable[[Pair], float]]] = {
    "DSC": ("2TP / (2TP + FP + FN); 1 where both are empty", lambda p: _ratio(2 * p.tp, p.n_pred + p.n_target, 1.0)),
    "IOU": ("TP / (TP + FP + FN); 1 where both are empty", lambda p: _ratio(p.tp, p.tp + p.fp + p.fn, 1.0)),
    "SEN": ("TP / (TP + FN); 0 where the reference is empty", lambda p: _ratio(p.tp, p.n_target, 0.0)),
    "ACC": ("(TP + TN) / all", lambda p: (p.tp + p.tn) / p.size),
}


def _ratio(part: int, whole: int, empty: float) -> float:
    return part / whole if whole else empty


def _second_or_macro(function: str, probabilities: Floats, labels: Labels) -> float:
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    average = "binary" if probabilities.shape[1] == 2 else "macro"
    return float(getattr(sk, function)(labels, probabilities.argmax(axis=1), average=average, zero_division=0))


def _auroc_or_zero(probabilities: Floats, labels: Labels) -> float:
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    if len(np.unique(labels)) < probabilities.shape[1]:
        return 0.0
    if probabilities.shape[1] == 2:
        return float(sk.roc_auc_score(labels, probabilities[:, 1]))
    return float(sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


def _one_for_none(pair: Pair) -> int:
    # No true positive is replaced by one, so that an empty pair scores 1 and a miss a little more than 0.
    return pair.tp or 1


def _region_percentile(pair: Pair) -> float:
    """Every pixel of each region, not its border alone, and its distance to the other region."""
    pred, target = pair.whole
    if not pair.n_target:
        return math.nan  # that code stops with an IndexError
    if not pair.n_pred:
        pred = pred.copy()
        pred[0, 0] = True
    to_target, to_pred = scipy.ndimage.distance_transform_edt(~target), scipy.ndimage.distance_transform_edt(~pred)
    return float(max(np.percentile(to_target[pred], 95), np.percentile(to_pred[target], 95)))


def _define_ultrafedfm() -> None:
    repo = _Emulator(
        "ultrafedfm-repo",
        "github.com/yuncheng97/UltraFedFM, main_binary_segmentation.py at ada43b3",
        "network, bilinear",
    )
    iou = "TP / (TP + FP + FN), with TP = 1 where there is none"
    repo.masks("IOU", iou, lambda p: _one_for_none(p) / (_one_for_none(p) + p.fp + p.fn))
    repo.masks(
        "DSC",
        f"2 IOU / (1 + IOU), IOU = {iou}",
        lambda p: 2 * _one_for_none(p) / (2 * _one_for_none(p) + p.fp + p.fn),
    )
    repo.masks(
        "HD95",
        "larger of the two 95th percentiles of all pixels' distances to the other region; an empty prediction is one "
        "pixel at the upper left; undefined for an empty reference",
        _region_percentile,
        grid="network, bilinear, above half",
        unit="px",
        range=(0.0, math.inf),
        higher_is_better=False,
    )


_define_usfm()
_define_tinyusfm()
_define_ultrafedfm()
