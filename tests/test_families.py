"""Who may be the best of many models, who cannot be told apart, and how sure an order is."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usfm_bench.stats import compare
from usfm_bench.stats.families import letters, p_best, shrunken_probabilities


def test_p_best_is_bonferroni_of_one_sided_tests():
    assert p_best(0.01, 2) == 0.005
    assert p_best(0.01, 20, 4) == pytest.approx(0.005 * 19 * 4)
    assert p_best(0.5, 20) == 1


pairs = st.sets(st.sampled_from([frozenset(pair) for pair in combinations("abcdef", 2)]))


@given(pairs)
def test_models_share_a_letter_exactly_where_they_are_not_told_apart(apart):
    shown = letters(list("abcdef"), apart)
    for pair in combinations("abcdef", 2):
        one, other = pair
        assert bool(set(shown[one]) & set(shown[other])) == (frozenset(pair) not in apart)


def test_letters_by_hand():
    assert letters(list("abc"), set()) == {"a": "A", "b": "A", "c": "A"}
    apart = {frozenset("ab"), frozenset("ac"), frozenset("bc")}
    assert letters(list("abc"), apart) == {"a": "A", "b": "B", "c": "C"}


def test_the_more_the_models_differ_the_less_an_order_is_shrunk():
    one = [0.02, 0.02, 0.02]
    found = [shrunken_probabilities([x, x, x], [0.02] * 3, [0.3] * 3)[0] for x in (0.0, 0.02, 0.1, 10.0)]
    assert 0.5 < found[0] < found[1] < found[2] < found[3]
    assert found[3] == pytest.approx(0.85, abs=0.001)  # 1 - p / 2: nothing to shrink by
    assert shrunken_probabilities(one, [0.0] * 3, [0.3] * 3) == [0.85] * 3


def simulated(reps, tau, models=6, seeds=3, cases=60, seed=0):
    """Probabilities, those without shrinking, what is true, and how often the best is said not to be it."""
    rng = np.random.default_rng(seed)
    shown, raw, true, excluded = [], [], [], 0
    for _ in range(reps):
        means, hard = rng.normal(0, tau, models), rng.normal(0, 0.2, cases)
        scores = [
            m
            + hard
            + rng.normal(0, 0.05, cases)
            + rng.normal(0, 0.08, (seeds, cases))
            + rng.normal(0, 0.008, (seeds, 1))
            for m in means
        ]
        found = [(i, j, compare(scores[i], scores[j])) for i, j in combinations(range(models), 2)]
        known = [(c.difference.point, c.error, c.p_value) for *_, c in found]
        shown += shrunken_probabilities(*zip(*known, strict=True))
        beaten = set()
        for i, j, c in found:
            better, worse = (i, j) if c.difference.point > 0 else (j, i)
            raw.append(1 - c.p_value / 2)
            true.append(means[better] > means[worse])
            if p_best(c.p_value, models) <= 0.05:
                beaten.add(worse)
        excluded += int(means.argmax()) in beaten
    return np.array(shown), np.array(raw), np.array(true), excluded / reps


@pytest.mark.parametrize("tau", [0.005, 0.01, 0.03])
def test_shrunken_probabilities_are_true_as_often_as_they_say(tau):
    shown, raw, true, excluded = simulated(60, tau)
    assert true.mean() >= shown.mean() - 0.03
    assert excluded <= 0.1  # of 60: 5 % and three Monte-Carlo errors
    high = shown >= 0.8
    assert true[high].mean() >= shown[high].mean() - 0.1
    if tau < 0.01:  # 1 - p/2 is not
        assert true.mean() < raw.mean() - 0.03
