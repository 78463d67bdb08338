"""A classification metric with all cases, and without each group of cases, without computing it anew each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from usfm_bench.core.errors import BenchError
from usfm_bench.core.memo import remembered
from usfm_bench.metrics.calibration import BINS, confidence_bins, confidence_gaps
from usfm_bench.metrics.logits import log_odds_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_AVERAGINGS = ("macro", "weighted", "class", "binary")
_RATES = ("ACC", "BACC", "SEN", "SPEC", "PREC", "F1")


def class_metric(
    metric: str, averaging: str, probabilities: Floats, labels: Ints, groups: Ints, *, only: int | None = None
) -> Floats:
    """A metric of all cases, then without each group: (1 + G,), NaN where it is undefined; see `class_metrics`."""
    return np.asarray(class_metrics(metric, averaging, probabilities[None], labels, groups, only=only)[0])


def class_metrics(
    metric: str, averaging: str, probabilities: Floats, labels: Ints, groups: Ints, *, only: int | None = None
) -> Floats:
    """A metric of all cases, then without each group, for each seed: (S, 1 + G), NaN where it is undefined.

    Args:
        metric: a name of `metrics.classification`.
        averaging: `macro` (plain mean over the classes present), `weighted` (by cases), `class` or `binary` (of
            `only`), or nothing for BACC, MCC, KAPPA and ECE as a whole.
        probabilities: (S, N, C).
        labels: (N,).
        groups: (N,) group numbers 0..G-1.
        only: the class of `class` and `binary`, one against the rest.
    """
    if metric == "ECE":
        return np.stack([_calibration(of_seed, labels, groups) for of_seed in probabilities])
    if averaging in ("class", "binary") and only is None:
        raise BenchError(f"{metric}: which class? `only` is missing.")
    cases = labels.tobytes(), groups.tobytes()
    # (S * (1 + G), C, C); the first is of all cases
    tables = remembered(probabilities, ("tables", *cases), lambda: _confusions(probabilities, labels, groups))
    by_seed = (len(probabilities), -1)
    known = _AVERAGINGS if metric in (*_RATES, *_RANKED) else ("",)
    if metric not in (*_WHOLE, *_RATES, *_RANKED) or averaging not in (*known, *([""] if metric in _WHOLE else [])):
        raise BenchError(
            f"{' '.join([averaging, metric]).strip()}: has no closed form without each group of cases "
            "(stats/delete_one.py); its definition needs `compute`, a function of (probabilities, labels)."
        )
    if metric in _WHOLE and not averaging:
        return _without_lost_classes(_WHOLE[metric](tables), tables).reshape(by_seed)
    if metric in _RATES:
        values = remembered(probabilities, ("rates", metric, *cases), partial(_rate, metric, tables))
    else:
        wanted = range(tables.shape[1]) if only is None else [only]
        by_class = [
            remembered(probabilities, (metric, k, *cases), partial(_ranked, metric, k, probabilities, labels, groups))
            for k in wanted
        ]
        if only is not None:
            return by_class[0]
        values = np.stack(by_class, axis=2).reshape(-1, len(by_class))
    if only is not None:
        return np.asarray(values[:, only]).reshape(by_seed)
    return _without_lost_classes(_averaged(values, tables.sum(axis=2), averaging), tables).reshape(by_seed)


def _ranked(metric: str, k: int, probabilities: Floats, labels: Ints, groups: Ints) -> Floats:
    """(S, 1 + G) a metric of the order of one class's scores."""
    scores = remembered(probabilities, "log-odds", lambda: [log_odds_of(of_seed) for of_seed in probabilities])
    return np.stack([_RANKED[metric](of_seed[:, k], labels == k, groups) for of_seed in scores])


def _without_lost_classes(values: Floats, tables: Floats) -> Floats:
    """NaN without a group that has all cases of a class: what is left is another task."""
    support = tables.sum(axis=2)
    return np.asarray(np.where(((support > 0) | (support[0] == 0)).all(axis=1), values, np.nan))


def _averaged(values: Floats, support: Floats, averaging: str) -> Floats:
    """(1 + G, C) values and numbers of cases -> (1 + G,): over the classes that the whole test set has."""
    present = support[0] > 0
    values, support = values[:, present], support[:, present]
    if averaging == "macro":
        return np.asarray(values.mean(axis=1))
    weighted = np.where(support > 0, values * support, 0.0).sum(axis=1)
    return np.asarray(_over(weighted, support.sum(axis=1)))


def _confusions(probabilities: Floats, labels: Ints, groups: Ints) -> Floats:
    """(S * (1 + G), C, C) confusion matrices, rows truth: for each seed of all cases, then without each group."""
    n_seeds, n_classes, n_groups = len(probabilities), probabilities.shape[2], int(groups.max()) + 1
    seed_and_group = np.arange(n_seeds)[:, None] * n_groups + groups
    cell = (seed_and_group * n_classes + labels) * n_classes + probabilities.argmax(axis=2)
    each = np.bincount(cell.ravel(), minlength=n_seeds * n_groups * n_classes**2).astype(np.float64)
    each = each.reshape(n_seeds, n_groups, n_classes, n_classes)
    total = each.sum(axis=1, keepdims=True)
    return np.concatenate([total, total - each], axis=1).reshape(-1, n_classes, n_classes)


def all_and_without(each: Floats) -> Floats:
    """(G, ...) sums of each group -> (1 + G, ...): of all, then without each group."""
    total = each.sum(axis=0)
    return np.concatenate([total[None], total - each])


def _over(part: Floats, whole: Floats, empty: float = np.nan) -> Floats:
    return np.asarray(np.where(whole > 0, part / np.where(whole > 0, whole, 1), empty))


def _rate(metric: str, tables: Floats) -> Floats:
    """(1 + G, C): each class against the rest; PREC of a class that is never predicted is 0, as scikit-learn has it."""
    tp = np.diagonal(tables, axis1=1, axis2=2)
    fn, fp = tables.sum(axis=2) - tp, tables.sum(axis=1) - tp
    total = tables.sum(axis=(1, 2))[:, None]
    tn = total - tp - fn - fp
    if metric == "ACC":
        return _over(tp + tn, total)
    if metric == "BACC":
        return np.asarray((_over(tp, tp + fn) + _over(tn, tn + fp)) / 2)
    part, whole, empty = {
        "SEN": (tp, tp + fn, np.nan),
        "SPEC": (tn, tn + fp, np.nan),
        "PREC": (tp, tp + fp, 0.0),
        "F1": (2 * tp, 2 * tp + fp + fn, 0.0),
    }[metric]
    # Without a positive case of its own a class has neither precision nor F1 to speak of.
    return np.asarray(np.where((tp + fn > 0) | (metric == "SPEC"), _over(part, whole, empty), np.nan))


def _balanced_accuracy(tables: Floats) -> Floats:
    return _averaged(_rate("SEN", tables), tables.sum(axis=2), "macro")


def _matthews(tables: Floats) -> Floats:
    """Gorodkin (2004); 0 where one class alone is predicted or present, as scikit-learn has it."""
    true, said, n = tables.sum(axis=2), tables.sum(axis=1), tables.sum(axis=(1, 2))
    right = np.trace(tables, axis1=1, axis2=2)
    spread = (n**2 - (said**2).sum(axis=1)) * (n**2 - (true**2).sum(axis=1))
    return _over(right * n - (true * said).sum(axis=1), np.sqrt(spread), empty=0.0)


def _kappa(tables: Floats) -> Floats:
    true, said, n = tables.sum(axis=2), tables.sum(axis=1), tables.sum(axis=(1, 2))
    chance = (true * said).sum(axis=1)
    return _over(np.trace(tables, axis1=1, axis2=2) * n - chance, n**2 - chance)


_WHOLE: dict[str, Callable[[Floats], Floats]] = {"BACC": _balanced_accuracy, "MCC": _matthews, "KAPPA": _kappa}


def _calibration(probabilities: Floats, labels: Ints, groups: Ints) -> Floats:
    n_groups = int(groups.max()) + 1
    cell = groups * BINS + confidence_bins(probabilities)
    gaps = np.bincount(cell, weights=confidence_gaps(probabilities, labels), minlength=n_groups * BINS)
    sums = all_and_without(gaps.astype(np.float64).reshape(n_groups, BINS))
    return _over(np.abs(sums).sum(axis=1), all_and_without(np.bincount(groups).astype(np.float64)))


def _auroc(score: Floats, true: NDArray[np.bool_], groups: Ints) -> Floats:
    """Area under the ROC curve as a share of won (positive, negative) pairs; groups take theirs away."""
    size = int(groups.max()) + 1
    if true.all() or not true.any():
        return np.full(1 + size, np.nan)
    ranks = np.unique(score, return_inverse=True)[1]
    of_negatives, of_positives = (np.bincount(ranks[side], minlength=int(ranks.max()) + 1) for side in (~true, true))
    # Of each positive, and negative, the pairs that are won; a tie is half of one, and halves add up without rounding.
    won = (np.cumsum(of_negatives) - of_negatives / 2)[ranks[true]]
    won_against = (len(won) - np.cumsum(of_positives) + of_positives / 2)[ranks[~true]]
    total = won.sum()
    positive, negative = np.bincount(groups[true], minlength=size), np.bincount(groups[~true], minlength=size)
    lost_by_positives = np.bincount(groups[true], weights=won, minlength=size)
    lost_by_negatives = np.bincount(groups[~true], weights=won_against, minlength=size)
    # Pairs within one group were counted from both sides.
    lost = lost_by_positives + lost_by_negatives - _won_within(ranks, true, groups, size)
    pairs = (true.sum() - positive) * ((~true).sum() - negative)
    return np.concatenate([[total / (len(won) * len(won_against))], _over(total - lost, pairs)])


def _won_within(ranks: Ints, true: NDArray[np.bool_], groups: Ints, size: int) -> Floats:
    """(G,) pairs that a positive wins from a negative of its own group, ties as halves."""
    n = int(ranks.max()) + 1
    keys = groups * n + ranks
    negatives, positives = np.sort(keys[~true]), keys[true]
    below = np.searchsorted(negatives, groups[true] * n)  # those of groups before
    won = (np.searchsorted(negatives, positives) + np.searchsorted(negatives, positives, side="right")) / 2 - below
    return np.asarray(np.bincount(groups[true], weights=won, minlength=size), dtype=np.float64)


def _average_precision(score: Floats, true: NDArray[np.bool_], groups: Ints) -> Floats:
    """Mean over positives of the precision among the cases that score as high; a group leaves both counts.

    The same as scikit-learn's sum over thresholds, since each positive raises recall by one step.
    """
    size = int(groups.max()) + 1
    if true.all() or not true.any():
        return np.full(1 + size, np.nan)
    order = np.argsort(-score, kind="stable")
    # For each positive: how many cases, and positives, stand up to and including its ties.
    upto = np.searchsorted(-score[order], -score[true], side="right")  # (P,)
    hits = np.cumsum(true[order])[upto - 1].astype(np.float64)
    full = float((hits / upto).mean())
    n_positive = np.bincount(groups[true], minlength=size)
    negatives = (~true).sum() - np.bincount(groups[~true], minlength=size)
    sums = _sums_without(np.sort(upto), np.sort(hits), true[order], groups[order], size)
    without = _over(sums, true.sum() - n_positive)
    return np.concatenate([[full], np.where(negatives > 0, without, np.nan)])


def _sums_without(upto: Ints, hits: Floats, true: NDArray[np.bool_], groups: Ints, size: int) -> Floats:
    """(G,) sum of the precision over all positives that are not of a group, without the group's cases.

    A group takes s cases and h positives from what stands up to a positive. Both change at its own cases alone, so
    the sum of (hits - h) / (upto - s) between two of them is a difference of running sums, one for each s.

    Args:
        upto: (P,) cases that stand as high as each positive, the best positive first.
        hits: (P,) positives among them.
        true: (N,) cases, the best first.
        groups: (N,) numbers.
        size: G.
    """
    n_positive = len(upto)
    by_group = np.argsort(groups, kind="stable")  # the best first in each
    group = groups[by_group]
    first = np.searchsorted(group, np.arange(size))
    taken = np.arange(len(group)) - first[group] + 1  # s, once the case counts
    running = np.concatenate([[0], np.cumsum(true[by_group])])
    taken_hits = (running[1:] - running[first[group]]).astype(np.float64)  # h
    start = np.searchsorted(upto, by_group, side="right")  # the first positive up to which the case stands
    end = np.append(start[1:], n_positive)
    end[np.append(group[1:] != group[:-1], True)] = n_positive
    left = upto - np.arange(int(taken.max()) + 1)[:, None]  # (1 + most, P)
    shares = np.where(left > 0, 1 / np.where(left > 0, left, 1), 0.0)
    whole, single = np.zeros((2, len(left), n_positive + 1))
    np.cumsum(hits * shares, axis=1, out=whole[:, 1:])
    np.cumsum(shares, axis=1, out=single[:, 1:])
    between = whole[taken, end] - whole[taken, start] - taken_hits * (single[taken, end] - single[taken, start])
    before = np.full(size, n_positive)
    before[group[::-1]] = start[::-1]  # the first case of each group
    sums = whole[0, before] + np.bincount(group, weights=between, minlength=size)
    # Its own positives go: each with what its group has up to it.
    own = groups[true]  # (P,)
    keys = group * (n_positive + 1) + start
    place = np.searchsorted(keys, own * (n_positive + 1) + np.arange(n_positive), side="right") - 1
    terms = (hits - taken_hits[place]) * shares[taken[place], np.arange(n_positive)]
    return np.asarray(sums - np.bincount(own, weights=terms, minlength=size))


_RANKED = {"AUROC": _auroc, "AUPRC": _average_precision}
"""Metrics of the order of one class's scores."""
