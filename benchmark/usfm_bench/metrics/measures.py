"""What each segmentation metric computes of one pair of masks, and its definitions. A new metric is added here."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from usfm_bench.data.sample import Mask
from usfm_bench.metrics.definitions import FAMILIES, Definition, define
from usfm_bench.metrics.pair import Pair, percentile

Missed = Literal["diagonal", "exclude"]
"""What a missed lesion's distances get: the image's diagonal, or nothing, so that it is left out and counted."""


def _ratio(part: int, whole: int, *, empty: float = math.nan) -> float:
    return part / whole if whole else empty


def dice_of(pair: Pair) -> float:
    """1 where both masks are empty."""
    return _ratio(2 * pair.tp, pair.n_pred + pair.n_target, empty=1.0)


def _iou(pair: Pair) -> float:
    return _ratio(pair.tp, pair.tp + pair.fp + pair.fn, empty=1.0)


def _accuracy(pair: Pair) -> float:
    return _ratio(pair.tp + pair.tn, pair.size)


def _sensitivity(pair: Pair) -> float:
    return _ratio(pair.tp, pair.n_target)


def _specificity(pair: Pair) -> float:
    return _ratio(pair.tn, pair.tn + pair.fp)


def _precision(pair: Pair) -> float:
    # A missed lesion has no true positive to be precise about; it counts as 0 and is not left out.
    return 0.0 if pair.n_target and not pair.n_pred else _ratio(pair.tp, pair.n_pred)


def distance_of(pair: Pair, measure: Callable[[Pair], float], missed: Missed) -> float:
    """A distance between borders, and what it is where one of the masks is empty."""
    if not pair.n_target:
        return math.nan if pair.n_pred else 0.0
    if not pair.n_pred:
        return pair.diagonal if missed == "diagonal" else math.nan
    return measure(pair)


def _surface_dice(pair: Pair, tolerance: float) -> float:
    if not pair.n_pred or not pair.n_target:
        return float(pair.n_pred == pair.n_target)
    # A distance of three pixels of 0.1 mm is a little more than 0.3 mm in binary.
    return float(np.count_nonzero(pair.pooled <= tolerance * (1 + 1e-9))) / len(pair.pooled)


def _lesions_found(pair: Pair, threshold: float) -> float:
    """Share of the reference's 8-connected components that one component of the prediction meets."""
    if not pair.n_target:
        return math.nan
    if not pair.n_pred:
        return 0.0
    (n_said, said), (n_true, true) = _components(pair.pred), _components(pair.target)
    best = np.zeros(n_true)
    if n_said == n_true == 2:  # the background and one component each
        best[1] = _iou(pair)
    else:
        # Only pairs that meet are looked at: of noise there are tens of thousands of components.
        keys = (true.astype(np.int64) * n_said + said).ravel()
        met, both = _counts(keys, n_true * n_said)
        of_true, of_said = np.divmod(met, n_said)
        area_true = np.bincount(of_true, weights=both, minlength=n_true)
        area_said = np.bincount(of_said, weights=both, minlength=n_said)
        real = (of_true > 0) & (of_said > 0)  # 0 is the background
        of_true, of_said, both = of_true[real], of_said[real], both[real]
        np.maximum.at(best, of_true, both / (area_true[of_true] + area_said[of_said] - both))
    return float(np.mean(best[1:] >= threshold if threshold else best[1:] > 0))


def _counts(keys: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The keys below n that occur, and how often; by counting where that needs little memory, else by sorting."""
    if n > len(keys):
        return np.unique(keys, return_counts=True)
    counts = np.bincount(keys, minlength=n)
    found = np.flatnonzero(counts)
    return found, counts[found]


def _components(mask: Mask) -> tuple[int, NDArray[np.int32]]:
    """Number of labels and (H, W) labels, 0 for the background; by one thread, since cases share the cores."""
    count, labels = cv2.connectedComponentsWithAlgorithm(mask.view(np.uint8), 8, cv2.CV_32S, cv2.CCL_SPAGHETTI)
    return count, labels


HD95: dict[str, Callable[[Pair], float]] = {
    "pooled": lambda pair: percentile(pair.pooled, 0.95),
    "max_directed": lambda pair: max(percentile(d, 0.95) for d in pair.distances),
}
_COUNTS = "counts of the pixels of one image"
_BORDER = "border = mask without its 4-neighbour erosion, outside the image is background"


def _define(
    name: str,
    stem: str,
    formula: str,
    compute: Callable[[Pair], float],
    empty: tuple[str, str, str],
    source: str,
    **more: Any,
) -> None:
    """Enter one segmentation metric; `empty`: what both empty, a missed lesion and a false alarm get."""
    both, missed, alarm = empty
    fields = {"unit": "fraction", "both_empty": both, "prediction_empty": missed, "reference_empty": alarm} | more
    define(Definition(name, f"{stem}@1", "masks", formula, source=source, compute=compute, **fields))


def _define_overlap(name: str, stem: str, *args: Any) -> None:
    """A metric of pixel counts: at native size, and on the network's grid."""
    _define(name, f"{stem}.native", *args, primary=True)
    _define(name, f"{stem}.grid", *args, grid="network")


def _define_distance(name: str, stem: str, formula: str, measure: Callable[[Pair], float], source: str) -> None:
    """A distance between borders: in pixels, millimetres, or pixels of the network's grid; missed lesions in or out."""
    places = {"native.px": ("native", "px"), "native.mm": ("native", "mm"), "grid.px": ("network", "px")}
    policies: dict[Missed, tuple[str, str]] = {
        "diagonal": ("", "image diagonal"),
        "exclude": (".exclude", "undefined: left out and counted"),
    }
    for place, (grid, unit) in places.items():
        for policy, (suffix, gets) in policies.items():
            _define(
                name,
                f"{stem}.{place}{suffix}",
                formula,
                partial(distance_of, measure=measure, missed=policy),
                ("0", gets, "undefined"),
                f"{source}; {_BORDER}",
                unit=unit,
                grid=grid,
                needs_spacing=unit == "mm",
                range=(0.0, math.inf),
                higher_is_better=False,
                primary=stem in _PRIMARY_DISTANCES and grid == "native" and policy == "diagonal",
            )


def surface_dice_definition(tolerance: str, unit: str, *, primary: bool = False) -> Definition:
    """NSD at a tolerance in pixels or millimetres, such as ("2", "px")."""
    return Definition(
        "NSD",
        f"nsd.{tolerance}{unit}.native@1",
        "masks",
        f"share of both borders' pixels at most {tolerance} {unit} (and a billionth of it) from the other border",
        "fraction",
        f"Nikolov et al. (2021), doi:10.2196/26151, over border pixels as MONAI's SurfaceDiceMetric; {_BORDER}",
        partial(_surface_dice, tolerance=float(tolerance)),
        both_empty="1",
        prediction_empty="0",
        reference_empty="0",
        needs_spacing=unit == "mm",
        primary=primary,
    )


def _define_detection(stem: str, threshold: float, condition: str, *, primary: bool = False) -> None:
    formula = f"share of the reference's lesions with which one component of the prediction has {condition}"
    source = "components by 8-neighbourhood; threshold 0.1 as nnDetection, doi:10.1007/978-3-030-87240-3_51"
    compute = partial(_lesions_found, threshold=threshold)
    _define("LDR", f"{stem}.native", formula, compute, ("undefined", "0", "undefined"), source, primary=primary)


_PRIMARY_DISTANCES = ("hd95.pooled", "hd", "assd.pooled")
_define_overlap("DSC", "dsc", "2TP / (2TP + FP + FN)", dice_of, ("1", "0", "0"), "Dice (1945), doi:10.2307/1932409")
_define_overlap("ACC", "acc.pixel", "(TP + TN) / all", _accuracy, ("1", "as computed", "as computed"), _COUNTS)
_define_overlap("SEN", "sen.pixel", "TP / (TP + FN)", _sensitivity, ("undefined", "0", "undefined"), _COUNTS)
_define_overlap("SPEC", "spec.pixel", "TN / (TN + FP)", _specificity, ("1", "1", "as computed"), _COUNTS)
_define_overlap("PREC", "prec.pixel", "TP / (TP + FP)", _precision, ("undefined", "0", "0"), _COUNTS)
_define_overlap("F1", "f1.pixel", "2TP / (2TP + FP + FN), equal to DSC", dice_of, ("1", "0", "0"), _COUNTS)
_define_overlap(
    "IOU",
    "iou.pixel",
    "TP / (TP + FP + FN)",
    _iou,
    ("1", "0", "0"),
    "Jaccard (1912), doi:10.1111/j.1469-8137.1912.tb05611.x",
)
_define_distance(
    "HD95",
    "hd95.pooled",
    "95th percentile of both borders' distances to each other, pooled",
    HD95["pooled"],
    "medpy.metric.binary.hd95",
)
_define_distance(
    "HD95",
    "hd95.max_directed",
    "the larger of the two directions' 95th percentiles",
    HD95["max_directed"],
    "MONAI; MetricsReloaded, doi:10.1038/s41592-023-02151-z",
)
_define_distance(
    "HD",
    "hd",
    "largest distance from either border to the other",
    lambda pair: float(pair.pooled.max()),
    "Huttenlocher et al. (1993), doi:10.1109/34.232073; medpy.metric.binary.hd",
)
_define_distance(
    "ASSD",
    "assd.pooled",
    "mean of both borders' distances to each other, pooled before the mean",
    lambda pair: float(pair.pooled.mean()),
    "medpy.metric.binary.assd",
)
_define_distance(
    "ASSD",
    "assd.mean_of_means",
    "half the sum of the two directions' mean distances",
    lambda pair: float((pair.distances[0].mean() + pair.distances[1].mean()) / 2),
    "MetricsReloaded's average symmetric distance of two means (MASD)",
)
define(surface_dice_definition("2", "px", primary=True))
FAMILIES[r"nsd\.((?:0|[1-9]\d*)(?:\.\d*[1-9])?)(px|mm)\.native@1"] = lambda match: surface_dice_definition(
    match[1], match[2]
)
_define_detection("ldr.iou10", 0.1, "an intersection over union of at least 0.1", primary=True)
_define_detection("ldr.iou50", 0.5, "an intersection over union of at least 0.5")
_define_detection("ldr.any", 0.0, "a pixel in common")
