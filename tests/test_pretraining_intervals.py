"""Intervals over pre-trainings, fine-tunings and cases."""

import numpy as np
import pytest
from scipy import stats as sp

from simulated_pretrainings import CELLS, TIMES, UNEQUAL, cover, false_claims, unequal
from usfm_bench.core.errors import BenchError
from usfm_bench.stats.compare import compare
from usfm_bench.stats.intervals import crossed_interval
from usfm_bench.stats.pretrainings import THREE, compare_pretrainings, pretraining_interval, sources


def test_by_hand_without_a_rest():
    # Rows 1 and 3, fine-tunings 1 apart from them, cases 0, 3 and 6 away: everything adds up, so no rest is left.
    rows, seeds, cases = np.array([1.0, 3.0]), np.array([[-1.0, 1.0], [1.0, -1.0]]), np.array([-3.0, 0.0, 3.0])
    scores = rows[:, None, None] + seeds[:, :, None] + cases
    between, of_cases = 2 / 2, 9 / 3  # var(1, 3) over 2 pre-trainings, var(-3, 0, 3) over 3 cases
    half = (between * sp.t.ppf(0.975, 1) + of_cases * sp.t.ppf(0.975, 2)) / (between + of_cases) ** 0.5
    assert pretraining_interval(scores) == (2, pytest.approx(2 - half), pytest.approx(2 + half), THREE)
    # Fine-tunings vary by var(-1, 1) = 2, and there are 4: half of what parts the two pre-trainings.
    assert sources(scores) == pytest.approx((0.5, 0.5, of_cases))


def test_means_vary_between_pretrainings_as_the_nested_analysis_of_variance_says():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 3, 1)) + 2 * rng.normal(size=(4, 1, 1)) + np.zeros(50)
    means = scores[:, :, 0]
    square = 3 * means.mean(axis=1).var(ddof=1)  # between pre-trainings
    found = sources(scores)
    assert found.pretrainings + found.finetunings == pytest.approx(square / 12)
    assert found.finetunings == pytest.approx(means.var(axis=1, ddof=1).mean() / 12)


def test_one_pretraining_says_nothing_of_another():
    scores = np.random.default_rng(1).normal(size=(1, 3, 30))
    assert pretraining_interval(scores) == crossed_interval(scores[0])
    assert pretraining_interval(scores).kind == "seeds+cases"
    assert pretraining_interval(scores[:, :1]).kind == "cases"
    assert sources(scores).pretrainings is None
    assert sources(scores[:, :1])[:2] == (None, None)


def test_a_difference_is_of_means_over_fine_tunings():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(3, 2, 20)), rng.normal(size=(3, 1, 20))
    assert compare_pretrainings(a, b) == compare(a.mean(axis=1), b[:, 0])
    assert sources(b)[1] is None


def test_faults_are_named():
    with pytest.raises(BenchError, match=r"\(2, 3\); expected \(pre-trainings, fine-tunings, cases\)"):
        pretraining_interval(np.zeros((2, 3)))
    with pytest.raises(BenchError, match="as many pre-trainings and the same cases"):
        compare_pretrainings(np.zeros((2, 1, 3)), np.zeros((3, 1, 3)))
    with pytest.raises(BenchError, match="NaN"):
        pretraining_interval(np.full((2, 1, 3), np.nan))


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_interval_covers(cell):
    found = cover(cell, 2000, np.random.default_rng(3))
    assert 0.92 <= found.three <= 0.985  # two pre-trainings that differ by 0.06 are covered least: 93.5 %
    if cell.finetunings == 1:
        assert found.pooled == found.three
    elif cell.between >= 0.03:
        assert found.pooled < found.three - 0.02  # trainings of one pre-training are not independent


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_methods_that_are_alike_are_seldom_called_different(cell):
    assert false_claims(cell, 2000, np.random.default_rng(4)) <= 0.065


@pytest.mark.slow
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("cell", UNEQUAL, ids=str)
def test_methods_that_spread_unequally_are_compared_as_well(cell, times):
    told = unequal(cell, times, 2000, np.random.default_rng(6))
    assert 0.93 <= told.covers <= 0.99  # two pre-trainings: 98 %
    assert told.claims <= 0.065
