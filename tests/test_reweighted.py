"""Metrics of a test set at another prevalence, by hand, against weighted scikit-learn, and deleting one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.stats import classification_interval, reweighted_contributions, reweighted_interval
from usfm_bench.stats.reweighted import METRICS, at_prevalence, rates

ORACLES = {
    "F1": sk.f1_score,
    "F1 macro": lambda *a, **k: sk.f1_score(*a, average="macro", **k),
    "PREC": sk.precision_score,
    "ACC": sk.accuracy_score,
}


@st.composite
def decided(draw):
    """Decisions (S, N), labels (N,) with both classes, groups (N,)."""
    n, seeds = draw(st.integers(4, 30)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    labels = rng.random(n) < draw(st.sampled_from([0.1, 0.5, 0.8]))
    labels[:2] = True, False
    decisions = rng.random((seeds, n)) < np.where(labels, draw(st.sampled_from([0.0, 0.6, 1.0])), 0.3)
    return decisions, labels, rng.integers(0, draw(st.integers(2, n)), n)


def test_by_hand():
    # Of 100 cases 20 are positive: 16 of them found, and 8 of the 80 others called positive.
    sen, spec = np.array(16 / 20), np.array(72 / 80)
    assert at_prevalence("PREC", sen, spec, 0.2) == pytest.approx(16 / (16 + 8))
    assert at_prevalence("F1", sen, spec, 0.2) == pytest.approx(2 * 16 / (2 * 16 + 8 + 4))
    assert at_prevalence("F1 macro", sen, spec, 0.2) == pytest.approx((32 / 44 + 2 * 72 / (2 * 72 + 8 + 4)) / 2)
    assert at_prevalence("ACC", sen, spec, 0.2) == pytest.approx((16 + 72) / 100)
    # The same classifier among 5 % positives: TP 0.04, FN 0.01, FP 0.095.
    assert at_prevalence("PREC", sen, spec, 0.05) == pytest.approx(0.04 / (0.04 + 0.095))
    assert at_prevalence("F1", sen, spec, 0.05) == pytest.approx(0.08 / (0.08 + 0.095 + 0.01))
    assert at_prevalence("PREC", np.array(0.0), np.array(1.0), 0.3) == 0  # no case is called positive
    assert at_prevalence("F1", np.array(0.0), np.array(1.0), 0.3) == 0


@settings(deadline=None, max_examples=60)
@given(decided(), st.sampled_from(sorted(METRICS)), st.floats(0.02, 0.98))
def test_is_what_weighted_cases_give(case, metric, prevalence):
    decisions, labels, _ = case
    weights = np.where(labels, prevalence / labels.sum(), (1 - prevalence) / (~labels).sum())
    oracle = [ORACLES[metric](labels, d, sample_weight=weights, **zero(metric)) for d in decisions]
    assert reweighted_interval(metric, decisions, labels, prevalence).point == pytest.approx(np.mean(oracle))


def zero(metric):
    return {} if metric == "ACC" else {"zero_division": 0}


def test_cases_drawn_at_a_prevalence_have_the_metric():
    rng = np.random.default_rng(0)
    labels = np.arange(400) < 200
    decisions = rng.random((1, 400)) < np.where(labels, 0.7, 0.2)
    drawn = np.concatenate([rng.choice(200, 20_000), 200 + rng.choice(200, 180_000)])  # 10 % positive
    expected = sk.f1_score(labels[drawn], decisions[0, drawn])
    assert reweighted_interval("F1", decisions, labels, 0.1).point == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("metric", "ident"), [("F1", "f1.class@1"), ("F1 macro", "f1.macro@1"), ("PREC", "prec.class@1")]
)
def test_the_own_prevalence_changes_the_interval_only_by_what_is_known_of_it(metric, ident):
    rng = np.random.default_rng(1)
    labels = np.arange(200) % 3 == 0
    decisions = rng.random((3, 200)) < np.where(labels, 0.7, 0.2)
    probabilities = np.stack([~decisions, decisions], axis=2).astype(float)
    groups = [f"g{i // 2}" for i in range(200)]
    only = None if metric == "F1 macro" else 1
    usual = classification_interval(DEFINITIONS[ident], probabilities, labels.astype(int), groups=groups, only=only)
    found = reweighted_interval(metric, decisions, labels, labels.mean(), groups=groups)
    assert found.point == pytest.approx(usual.point)
    # The prevalence is given here, and found from the cases there, so the intervals are alike but not equal.
    assert (found.low, found.high) == pytest.approx((usual.low, usual.high), abs=0.02)
    assert found.low != usual.low


@settings(deadline=None, max_examples=60)
@given(decided(), st.sampled_from(sorted(METRICS)), st.sampled_from([0.05, 0.3]))
def test_deleting_in_closed_form_is_deleting_one_by_one(case, metric, prevalence):
    decisions, labels, groups = case
    for each in (None, groups):
        values = at_prevalence(metric, *rates(decisions, labels, each), prevalence)
        numbers = np.arange(len(labels)) if each is None else each
        for i, name in enumerate(np.unique(numbers)):
            kept = numbers != name
            if labels[kept].all() or not labels[kept].any():
                assert np.isnan(values[:, 1 + i]).all()
            else:
                sen, spec = rates(decisions[:, kept], labels[kept])
                assert values[:, 1 + i] == pytest.approx(at_prevalence(metric, sen[:, 0], spec[:, 0], prevalence))


def test_a_metric_is_the_mean_of_what_its_groups_add():
    rng = np.random.default_rng(2)
    labels, groups = np.arange(90) % 2 == 0, np.arange(90) // 3
    decisions = rng.random((3, 90)) < np.where(labels, 0.7, 0.2)
    folds = np.zeros(90, int)
    found = reweighted_contributions("F1", decisions, labels, 0.1, groups, folds)
    assert found.values.shape == (3, 30)
    assert found.metric == pytest.approx(reweighted_interval("F1", decisions, labels, 0.1).point)


def test_what_is_undefined_has_no_number():
    decisions, labels = np.array([[True, False, True]]), np.array([True, True, True])
    none = reweighted_interval("F1", decisions, labels, 0.1)
    assert np.isnan(none.point)
    assert (none.low, none.high) == (None, None)
    one_group = reweighted_interval("F1", decisions, np.array([True, False, False]), 0.1)
    assert one_group.low is None  # without its one positive case it is undefined
    assert one_group.point == pytest.approx(2 * 0.1 / (2 * 0.1 + 0.9 * 0.5))
    for prevalence in (0.0, 1.0):
        with pytest.raises(BenchError, match="above 0 and below 1"):
            reweighted_interval("F1", decisions, labels, prevalence)
    with pytest.raises(BenchError, match=r"Did you mean 'F1'"):
        reweighted_interval("F", decisions, labels, 0.1)
