"""Many models on one data set: who may be the best, who cannot be told apart, and how sure one can be of an order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from scipy.special import ndtr, ndtri


def p_best(p_value: float, n_models: int, n_places: int = 1) -> float:
    """Adjusted p value of "the worse of two models is the best of all", from their two-sided p value.

    The best model loses to another by chance alone, one-sided, and there are n - 1 others: Bonferroni's form of the
    multiple comparisons with the best of Hsu (1981), doi:10.1214/aos/1176345582. So those with no p value of at most
    5 % hold the best one with 95 %, at all data sets and metrics of a table at once.

    >>> round(p_best(0.004, 20), 3)  # 19 others, one-sided
    0.038

    Args:
        p_value: of the pair.
        n_models: compared there.
        n_places: data sets and metrics of the table.
    """
    return min(1.0, p_value / 2 * max(n_models - 1, 1) * n_places)


def letters(models: Sequence[str], apart: Collection[frozenset[str]]) -> dict[str, str]:
    """Compact letter display: models that share a letter are not told apart.

    Insertion and absorption: Piepho (2004), doi:10.1198/1061860043515.

    >>> letters(["a", "b", "c"], {frozenset("ac")})
    {'a': 'A', 'b': 'AB', 'c': 'B'}

    Args:
        models: in the order of their means, the best first.
        apart: pairs that are told apart.
    """
    groups = [frozenset(models)]
    for pair in sorted(apart, key=sorted):
        split = [group - {model} if pair <= group else group for group in groups for model in sorted(pair)]
        groups = [g for g in dict.fromkeys(split) if not any(g < other for other in split)]
    place = {model: i for i, model in enumerate(models)}
    groups.sort(key=lambda group: sorted(place[model] for model in group))
    return {m: "".join(_letter(i) for i, group in enumerate(groups) if m in group) for m in models}


def _letter(index: int) -> str:
    return chr(ord("A") + index) if index < 26 else f"({index + 1})"


def shrunken_probabilities(
    differences: Sequence[float], errors: Sequence[float], p_values: Sequence[float]
) -> list[float]:
    """That the model with the better mean is better, of all pairs of models of one data set.

    True means of the models are taken as normal around a common one, and how far they scatter is what all differences
    say together: with s^2 half their mean square, e^2 half that of their standard errors and M models, (M - 1) s^2 /
    (tau^2 + e^2) is chi-square of M - 1 degrees of freedom. The prior of tau is half Cauchy of scale e. Given tau, the
    posterior z value is that of the p value, times tau / sqrt(tau^2 + e^2).

    >>> alone, among = [0.02], [0.02] + [0.002] * 9  # one pair; and the largest of ten
    >>> [round(shrunken_probabilities(d, [0.01] * len(d), [0.05] * len(d))[0], 2) for d in (alone, among)]
    [0.88, 0.75]

    Args:
        differences: of each pair.
        errors: their standard errors.
        p_values: two-sided, of no difference.
    """
    n_models = (1 + (1 + 8 * len(differences)) ** 0.5) / 2
    scatter, usual = (float(np.mean(np.square(x))) / 2 for x in (differences, errors))
    if not usual:
        return [1 - p / 2 for p in p_values]
    tau = usual**0.5 * np.geomspace(1e-3, 1e3, 400)
    whole = tau**2 + usual
    # The last factor is the width of a step of the grid.
    logs = -(n_models - 1) / 2 * (np.log(whole) + scatter / whole) - np.log1p(tau**2 / usual) + np.log(tau)
    weights = np.exp(logs - logs.max())
    shares = np.sqrt(2 * tau**2 / (2 * tau**2 + np.square(errors)[:, None]))  # (pairs, grid)
    z_values = -ndtri(np.array(p_values) / 2)[:, None]
    return [float(x) for x in (ndtr(z_values * shares) * weights).sum(axis=1) / weights.sum()]
