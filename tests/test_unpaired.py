"""A difference between two sets of cases by the same networks, and whether the order of models survives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as sp

from usfm_bench.core.errors import BenchError
from usfm_bench.stats.components import variance_components
from usfm_bench.stats.order import OnTwo, kendall, kept_order
from usfm_bench.stats.unpaired import unpaired


def test_of_one_network_it_is_the_sum_of_two_variances():
    a, b = np.array([[1.0, 2.0, 6.0]]), np.array([[0.0, 2.0]])
    found = unpaired(a, b)
    # means 3 and 1; variances of the means 7 / 3 and 2 / 2
    assert found.difference == 2
    assert found.variance == pytest.approx(7 / 3 + 1)
    half = (7 / 3 * sp.t.ppf(0.975, 2) + 1 * sp.t.ppf(0.975, 1)) / (10 / 3) ** 0.5
    assert half < sp.t.ppf(0.975, 1)  # what the two cases of b ask for by themselves
    half = sp.t.ppf(0.975, 1)
    low, high = found.interval()[1:3]
    assert (low, high) == (pytest.approx(2 - half), pytest.approx(2 + half))
    assert found.interval().kind == "cases"


def test_what_makes_a_network_better_on_both_sets_costs_nothing():
    rng = np.random.default_rng(0)
    skill = np.array([[-5.0], [0.0], [5.0]])
    a, b = rng.normal(size=(1, 40)) + np.zeros((3, 1)), rng.normal(size=(1, 30)) + np.zeros((3, 1))
    assert unpaired(a + skill, b + skill).variance == pytest.approx(unpaired(a[:1], b[:1]).variance)
    assert unpaired(a + skill, b - skill).variance > 30  # and what parts the sets does


def test_the_seeds_part_is_between_networks_less_half_of_the_residuals():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 12)) + rng.normal(size=(4, 1)), rng.normal(size=(4, 9))
    d = a.mean(axis=1) - b.mean(axis=1)
    rest = [x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean() for x in (a, b)]
    noise = sum((r**2).sum() / (3 * (r.shape[1] - 1)) / r.shape[1] for r in rest)
    assert unpaired(a, b).parts[0] == (pytest.approx((d.var(ddof=1) - noise / 2) / 4), 3)
    own = variance_components(a)
    assert unpaired(a, b).parts[1][0] == pytest.approx(own.cases - own.residual / 2)


def test_groups_count_and_not_their_cases():
    a, b = np.arange(6.0)[None], np.arange(8.0)[None]
    twice = unpaired(np.repeat(a, 2, axis=1), b, groups_a=np.repeat(np.arange(6), 2))
    assert twice.variance == pytest.approx(unpaired(a, b).variance)


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_the_p_value_is_where_the_interval_touches_zero(seed):
    rng = np.random.default_rng(seed)
    found = unpaired(rng.normal(0.5, 1, (3, 20)), rng.normal(0, 1, (3, 25)))
    p = found.p_value()
    _, low, high, _ = found.interval(1 - p)
    assert min(abs(low), abs(high)) == pytest.approx(0, abs=1e-6)


def test_without_spread_or_with_one_group_there_is_no_interval():
    one = np.ones((2, 5))
    assert unpaired(one, one).interval()[1:] == (None, None, "none")
    assert unpaired(one, one).p_value() is None
    assert unpaired(np.arange(5.0)[None], np.arange(3.0)[None], groups_b=[1, 1, 1]).interval().low is None
    with pytest.raises(BenchError, match="a has 2 networks, b 1"):
        unpaired(one, one[:1])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize(("shared", "own"), [(0.0, 0.0), (0.05, 0.0), (0.05, 0.03), (0.0, 0.05)])
@pytest.mark.parametrize("cases", [(60, 250), (156, 250)])
def test_the_interval_of_a_drop_covers(seeds, shared, own, cases):
    # The networks of one seed are conditioned on where there is one: then the truth is that network's own drop.
    rng, held, draws = np.random.default_rng(2), 0, 4000
    for _ in range(draws):
        both, apart = rng.normal(0, shared, (seeds, 1)), rng.normal(0, own, (2, seeds, 1))
        a, b = (
            mean + both + extra + rng.normal(0, sd, n) + rng.normal(0, 0.08, (seeds, n))
            for mean, extra, sd, n in zip((0.75, 0.6), apart, (0.2, 0.25), cases, strict=True)
        )
        truth = 0.15 if seeds > 1 else 0.15 + float(apart[0, 0, 0] - apart[1, 0, 0])
        _, low, high, _ = unpaired(a, b).interval()
        held += low <= truth <= high
    assert 0.93 <= held / draws <= 0.985


@given(st.lists(st.integers(0, 4), min_size=2, max_size=7), st.integers(0, 99))
def test_kendall_is_scipys(values, seed):
    a = np.array(values, float)
    b = np.random.default_rng(seed).integers(0, 4, len(a)).astype(float)
    np.testing.assert_allclose(kendall(a, b), sp.kendalltau(a, b).statistic)


def _models(means, rng, n=60):
    hard = rng.normal(0, 0.1, (2, n))
    return [OnTwo(m + hard[0] + rng.normal(0, 0.02, (3, n)), m + hard[1] + rng.normal(0, 0.02, (3, n))) for m in means]


def test_an_order_that_is_clear_stays_and_one_that_is_not_is_said_to_be_open():
    rng, groups = np.random.default_rng(3), np.arange(60)
    clear = kept_order(_models([0.2, 0.4, 0.6, 0.8], rng), groups, groups, rng)
    assert clear[:3] == (1.0, 1.0, 1.0)
    open_ = kept_order(_models([0.5, 0.5, 0.5, 0.5], rng), groups, groups, rng)
    assert open_.low < 0 < open_.high
    again = [kept_order(_models([0.5] * 3, np.random.default_rng(4)), groups, groups, np.random.default_rng(5))] * 2
    assert again[0] == again[1]


def test_two_models_have_an_order_and_no_interval():
    rng = np.random.default_rng(6)
    assert kept_order(_models([0.2, 0.8], rng), range(60), range(60), rng)[:3] == (1.0, None, None)
    with pytest.raises(BenchError, match="two models"):
        kept_order(_models([0.2], rng), range(60), range(60), rng)
