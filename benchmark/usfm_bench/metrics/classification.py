"""Classification metrics, by scikit-learn; averages run over the classes present in the test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError, capped
from usfm_bench.metrics.calibration import brier_scores, calibration_error
from usfm_bench.metrics.definitions import FAMILIES, Averaging, Definition, define
from usfm_bench.metrics.logits import log_odds_of

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
_SHOWN = 10  # faults in one message


def score_classification(
    probabilities: Floats, labels: Labels, classes: Sequence[str], *, case_ids: Sequence[str] | None = None
) -> dict[str, Any]:
    """Every metric of one set of predictions.

    Args:
        probabilities: (N, C), rows sum to 1.
        labels: (N,) indices into `classes`.
        classes: (C,) names.
        case_ids: (N,) names for error messages; row numbers when None.

    Returns:
        ACC, BACC, macro SEN, SPEC, PREC, F1, AUROC, AUPRC, and MCC, KAPPA, ECE, BRIER; `weighted`: averages that
        weigh classes by their number of cases; per_class values; the confusion matrix (rows: truth); absent: classes
        without a test case, which no average includes. What is undefined is None.

    Raises:
        BenchError: NaN, rows that do not sum to 1, or labels outside the classes; names every such case.
    """
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    check_probabilities(probabilities, labels, classes, case_ids=case_ids)
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    predicted = probabilities.argmax(axis=1)
    support = np.bincount(labels, minlength=len(classes))
    present = np.flatnonzero(support)
    one_by_one = [against_the_rest(probabilities, labels, k) for k in range(len(classes))]
    values = {name: np.array([one[name] for one in one_by_one])[present] for name in one_by_one[0]}
    macro = {name: _number(of_classes.mean()) for name, of_classes in values.items()}
    return {
        **macro,
        "ACC": float(sk.accuracy_score(labels, predicted)),
        "BACC": macro["SEN"],
        "MCC": matthews(labels, predicted),
        "KAPPA": _kappa(labels, predicted),
        "ECE": calibration_error(probabilities, labels),
        "BRIER": float(brier_scores(probabilities, labels).mean()),
        "weighted": {n: _number(np.average(v, weights=support[present])) for n, v in values.items()},
        "per_class": {classes[k]: {n: _number(one_by_one[k][n]) for n in values} for k in present.tolist()},
        "confusion": sk.confusion_matrix(labels, predicted, labels=np.arange(len(classes))).tolist(),
        "absent": [name for k, name in enumerate(classes) if not support[k]],
    }


def against_the_rest(probabilities: Floats, labels: Labels, k: int) -> dict[str, float]:
    """ACC, BACC, SEN, SPEC, PREC, F1, AUROC and AUPRC of class k as the positive one; NaN where undefined."""
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    true, said = labels == k, probabilities.argmax(axis=1) == k
    score = log_odds_of(probabilities)[:, k]
    both = 0 < true.sum() < len(true)
    # As scikit-learn computes them, to the last bit; its checks of arguments would take 13 ms a class.
    positive, called, hits = int(true.sum()), int(said.sum()), int((true & said).sum())
    negative = len(true) - positive
    correctly_negative = negative - (called - hits)
    sensitivity = hits / positive if positive else np.nan
    specificity = correctly_negative / negative if negative else np.nan
    return {
        "ACC": (hits + correctly_negative) / len(true),
        "BACC": (sensitivity + specificity) / 2,
        "SEN": sensitivity,
        "SPEC": specificity,
        "PREC": hits / called if called else 0.0,
        "F1": 2 * hits / (positive + called) if positive + called else 0.0,
        "AUROC": sk.roc_auc_score(true, score) if both else np.nan,
        "AUPRC": sk.average_precision_score(true, score) if both else np.nan,
    }


def check_probabilities(
    probabilities: Floats, labels: Labels, classes: Sequence[str], *, case_ids: Sequence[str] | None = None
) -> None:
    """Raise a BenchError that names every faulty case, its probabilities or its label."""
    probabilities, labels = np.asarray(probabilities), np.asarray(labels)
    if labels.ndim != 1 or not labels.size or not np.issubdtype(labels.dtype, np.integer):
        raise BenchError(f"labels is {labels.dtype} of shape {labels.shape}; expected integers, (N,), N at least 1.")
    if probabilities.shape != (len(labels), len(classes)):
        raise BenchError(f"probabilities is {probabilities.shape}; expected {(len(labels), len(classes))}.")
    if case_ids is not None and len(case_ids) != len(labels):
        raise BenchError(f"{len(case_ids)} case_ids, {len(labels)} labels.")
    names = (
        [f"case '{name}'" for name in case_ids] if case_ids is not None else [f"row {i}" for i in range(len(labels))]
    )
    slack = 1e-4  # float32 softmax does not add up to the last digit
    in_range: NDArray[np.bool_] = np.all((probabilities >= -slack) & (probabilities <= 1 + slack), axis=1)
    sums = np.abs(probabilities.sum(axis=1) - 1) < slack
    faults = [
        f"probabilities, {names[i]}: {probabilities[i].tolist()} "
        + ("do not sum to 1." if bool(in_range[i]) else "are not all in [0, 1].")
        for i in np.flatnonzero(~in_range | ~sums).tolist()
    ]
    faults += [
        f"labels, {names[i]}: {labels[i]} is not one of the {len(classes)} classes ({', '.join(classes)})."
        for i in np.flatnonzero((labels < 0) | (labels >= len(classes)))
    ]
    if faults:
        raise BenchError("\n".join(capped(faults, _SHOWN)))


def matthews(labels: Labels, predicted: Labels) -> float:
    """Matthews correlation; 0 where one class alone is predicted and present (scikit-learn warns of it)."""
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    if len(np.union1d(labels, predicted)) == 1:
        return 0.0
    return float(sk.matthews_corrcoef(labels, predicted))


def _kappa(labels: Labels, predicted: Labels) -> float | None:
    from sklearn import metrics as sk  # takes over a second to import, which `check` can do without

    # One and the same class everywhere: chance agreement is 1, and scikit-learn divides by zero.
    if len(np.union1d(labels, predicted)) == 1:
        return None
    return _number(sk.cohen_kappa_score(labels, predicted))


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


PER_CLASS = ("SEN", "SPEC", "PREC", "F1", "AUROC", "AUPRC")
"""Metrics that a report shows for each class, one against the rest."""
RANKED = ("AUROC", "AUPRC")
"""Metrics of the order in which cases stand."""
_ONE_AGAINST_REST = {
    "ACC": "(TP + TN) / all",
    "BACC": "(SEN + SPEC) / 2",
    "SEN": "TP / (TP + FN)",
    "SPEC": "TN / (TN + FP)",
    "PREC": "TP / (TP + FP); 0 for a class that is never predicted",
    "F1": "2TP / (2TP + FP + FN)",
    "AUROC": "area under the ROC curve of the class's log-odds, log p - log(1 - p)",
    "AUPRC": "average precision of the class's log-odds, log p - log(1 - p), without interpolation",
}
_AVERAGES: dict[Averaging, str] = {
    "macro": "plain mean over the classes present of",
    "weighted": "mean over classes, weighted by their number of cases, of",
    "class": "of one class against the rest:",
}


def class_definition_id(metric: str) -> str:
    """Id of a metric of one class.

    >>> class_definition_id("SEN"), class_definition_id("AUROC")
    ('sen.class@1', 'auroc.class@2')
    """
    return f"{metric.lower()}.class@{_version(metric)}"


def _version(metric: str) -> int:
    # In version 1 areas ranked by probability, of which all near 1 are alike.
    return 2 if metric in RANKED else 1


def _averaged_id(metric: str, averaging: Averaging) -> str:
    # The area's one-against-rest rule is in the id, since one against one is usual too.
    ovr = ".ovr" if metric in RANKED and averaging != "class" else ""
    return f"{metric.lower()}{ovr}.{averaging}@{_version(metric)}"


def binary_definition(metric: str, positive: str) -> Definition:
    """A metric of the one class that is named as the positive one.

    Raises:
        BenchError: the metric has no binary form.
    """
    if metric not in _ONE_AGAINST_REST:
        raise BenchError(f"{metric} has no binary form; {', '.join(_ONE_AGAINST_REST)} have.")
    return Definition(
        metric,
        f"{metric.lower()}.binary[{positive}]@{_version(metric)}",
        "labels",
        f"positive: {positive}; {_ONE_AGAINST_REST[metric]}",
        "fraction",
        "scikit-learn",
        averaging="binary",
        positive=positive,
    )


_REWEIGHTED: dict[str, tuple[str, Averaging, str]] = {
    "F1": ("f1.binary", "binary", "2TP / (2TP + FP + FN)"),
    "F1 macro": ("f1.macro", "macro", "plain mean of F1 of {} and F1 of all other cases"),
    "PREC": ("prec.binary", "binary", _ONE_AGAINST_REST["PREC"]),
    "ACC": ("acc.binary", "binary", "TP + TN"),
}


def reweighted_definition(metric: str, positive: str) -> Definition:
    """A metric of the test set reweighted to a prevalence of the positive class, which a row names.

    >>> reweighted_definition("F1 macro", "malignant").id
    'f1.macro[malignant].reweighted@1'

    Args:
        metric: a key of `stats.reweighted.METRICS`.
        positive: the class; all others are negative.
    """
    start, averaging, formula = _REWEIGHTED[metric]
    shares = "with p the prevalence, TP = p SEN, FN = p (1 - SEN), FP = (1 - p)(1 - SPEC), TN = (1 - p) SPEC"
    return Definition(
        metric.split()[0],
        f"{start}[{positive}].reweighted@1",
        "labels",
        f"positive: {positive}; {formula.format(positive)}, {shares}",
        "fraction",
        "Siblini et al. (2020), arXiv:1909.02827",
        averaging=averaging,
        positive=positive,
    )


def _define(name: str, ident: str, formula: str, source: str = "scikit-learn", **more: Any) -> Definition:
    return define(Definition(name, ident, "labels", formula, more.pop("unit", "fraction"), source, **more))


_define("ACC", "acc@1", "correct / all", "scikit-learn accuracy_score", primary=True)
_define("BACC", "bacc@1", "mean recall over the classes present", "scikit-learn balanced_accuracy_score", primary=True)
for _name, _formula in _ONE_AGAINST_REST.items():
    for _averaging, _words in _AVERAGES.items():
        _define(
            _name,
            _averaged_id(_name, _averaging),
            f"{_words} {_formula}",
            averaging=_averaging,
            primary=_averaging == "macro" and _name not in ("ACC", "BACC"),
        )
for _pattern in (r"((?!(?i:auroc|auprc)\.)\w+)\.binary\[(.+)\]@1", r"((?i:auroc|auprc))\.binary\[(.+)\]@2"):
    FAMILIES[_pattern] = lambda match: binary_definition(match[1].upper(), match[2])
_define(
    "MCC",
    "mcc@1",
    "Matthews correlation of the confusion matrix; 0 where one class alone is predicted or present",
    "scikit-learn matthews_corrcoef; Gorodkin (2004), doi:10.1016/j.compbiolchem.2004.09.006",
    unit="score",
    range=(-1.0, 1.0),
    primary=True,
)
_define(
    "KAPPA",
    "kappa@1",
    "Cohen's kappa, unweighted; undefined where truth and prediction are one and the same class",
    "scikit-learn cohen_kappa_score; Cohen (1960), doi:10.1177/001316446002000104",
    unit="score",
    range=(-1.0, 1.0),
    primary=True,
)
ECE = _define(
    "ECE",
    "ece.top.15bins@1",
    "mean over 15 equal bins, weighted by cases, of |accuracy - mean probability| of the predicted class",
    "Guo et al. (2017), arXiv:1706.04599",
    higher_is_better=False,
    primary=True,
)
ECE_CHANCE = _define(
    "ECE_CHANCE",
    "ece.top.15bins.chance@1",
    "the ECE to expect of so many cases with these probabilities if they mean what they say; mean over seeds",
    "Poisson binomial number of right predictions in each of the 15 bins",
    higher_is_better=False,
)
ECE_DEBIASED = _define(
    "ECE_DEBIASED",
    "ece.top.15bins.debiased@1",
    "square root of max(0, ECE^2 - ECE_CHANCE^2), of the means over seeds",
    "chance taken off squares as in Kumar et al. (2019), arXiv:1909.10155",
    higher_is_better=False,
)
BRIER = _define(
    "BRIER",
    "brier@1",
    "mean over cases of the squared distance between probabilities and truth, summed over classes",
    "Brier (1950), doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2",
    unit="score",
    range=(0.0, 2.0),
    higher_is_better=False,
    primary=True,
)
