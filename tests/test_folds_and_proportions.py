"""Intervals over folds, Satterthwaite's for comparison, and Wilson's for proportions of one seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.regression.mixed_linear_model import MixedLM
from statsmodels.stats.proportion import proportion_confint

from usfm_bench.metrics import DEFINITIONS, find_definitions
from usfm_bench.stats import classification_interval, crossed_interval, variance_components
from usfm_bench.stats.proportions import wilson_interval

FEW = settings(max_examples=40, deadline=None)


def draw(seeds=3, cases=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.7, 0.2, cases) + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.05, (seeds, cases))


def test_one_fold_is_no_fold():
    x = draw()
    assert crossed_interval(x, folds=[4] * 24) == crossed_interval(x)


def test_folds_of_one_size_by_hand():
    x, folds = draw(cases=24), np.repeat([0, 1, 2], 8)
    parts = [x[:, folds == k] for k in range(3)]
    vb = np.mean([p.mean(axis=0).var(ddof=1) for p in parts]) / 24  # pooled within folds, 21 degrees of freedom
    between = sum(p.mean(axis=1).var(ddof=1) for p in parts) / 9
    rest = [p - p.mean(axis=0) - p.mean(axis=1, keepdims=True) + p.mean() for p in parts]
    noise = sum((r**2).sum() for r in rest) / (2 * 21) / 24
    va = max(0, between - noise) / 3
    t = (va * stats.t.ppf(0.975, 6) + vb * stats.t.ppf(0.975, 21)) / (va + vb)
    found = crossed_interval(x, folds=folds.tolist())
    assert found.point == pytest.approx(x.mean())
    assert found.high - found.point == pytest.approx(t * np.sqrt(va + vb))
    assert variance_components(x, folds=folds.tolist()).n_folds == 3


@FEW
@given(st.integers(0, 100), st.integers(1, 4))
def test_a_shift_of_a_whole_fold_widens_nothing(seed, seeds):
    x, folds = draw(seeds=seeds, seed=seed), [i % 3 for i in range(24)]
    moved = x + np.array([0, 0.2, 0.5])[folds]  # another training set, which is given
    one, other = crossed_interval(x, folds=folds), crossed_interval(moved, folds=folds)
    assert other.high - other.low == pytest.approx(one.high - one.low)


def test_folds_of_one_group_each_have_no_interval():
    assert crossed_interval(draw(cases=3), folds=[0, 1, 2]).low is None
    assert crossed_interval(draw(cases=4), groups=["a", "a", "b", "b"], folds=[0, 0, 1, 1]).low is None


def test_satterthwaite_by_hand():
    x = draw(seeds=4, cases=30)
    parts = variance_components(x)
    df = parts.variance**2 / (parts.seeds**2 / 3 + parts.cases**2 / 29)
    found = crossed_interval(x, freedom="satterthwaite")
    assert found.high - found.point == pytest.approx(stats.t.ppf(0.975, df) * np.sqrt(parts.variance))


def test_one_seed_is_the_same_by_either_rule():
    x = draw(seeds=1)
    assert crossed_interval(x)[:3] == pytest.approx(crossed_interval(x, freedom="satterthwaite")[:3])


def test_the_standard_error_is_that_of_a_mixed_model():
    """Crossed random effects of seeds and cases by REML, which on balanced data are the mean squares."""
    x = 20 * draw(seeds=4, cases=20, seed=3)  # statsmodels warns of components below 0.01, whatever the unit
    y = x.ravel()
    seed, case = (index.ravel() for index in np.indices(x.shape))
    model = MixedLM(
        y,
        np.ones_like(y),
        groups=np.ones_like(y),
        exog_vc=_indicators(seed, case),
    )
    fitted = model.fit(reml=True)
    parts = variance_components(x)
    # vb holds the residual's share; va had it taken out.
    expected = (fitted.vcomp[1] / 4 + fitted.vcomp[0] / 20 + fitted.scale / 80) ** 0.5
    assert fitted.fe_params[0] == pytest.approx(parts.mean)
    assert parts.variance**0.5 == pytest.approx(expected, rel=1e-3)


def test_one_seed_of_many_cases_agrees_with_scipys_bootstrap():
    x = np.random.default_rng(0).beta(4, 2, (1, 400))
    found = crossed_interval(x)
    drawn = stats.bootstrap((x[0],), np.mean, rng=np.random.default_rng(1), n_resamples=4000).confidence_interval
    width = found.high - found.low
    assert found[1:3] == pytest.approx((drawn.low, drawn.high), abs=0.05 * width)


def _indicators(seed, case):
    from statsmodels.regression.mixed_linear_model import VCSpec

    def one(index):
        return np.eye(index.max() + 1)[index]

    return VCSpec(
        ["case", "seed"],
        [[[str(k) for k in range(case.max() + 1)]], [[str(k) for k in range(seed.max() + 1)]]],
        [[one(case)], [one(seed)]],
    )


@FEW
@given(st.integers(0, 40), st.integers(1, 40), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_is_that_of_statsmodels_and_scipy(k, n, level):
    k = min(k, n)
    found = wilson_interval(np.arange(n) < k, level=level)
    assert found == pytest.approx(proportion_confint(k, n, alpha=1 - level, method="wilson"))
    assert found == pytest.approx(tuple(stats.binomtest(k, n).proportion_ci(level, method="wilson")))


def test_copies_of_cases_in_groups_narrow_nothing():
    once = np.random.default_rng(0).random(60) < 0.7
    twice, groups = once.repeat(2), np.arange(60).repeat(2).astype(str).tolist()
    low, high = wilson_interval(twice, groups)
    assert low < wilson_interval(once)[0] < wilson_interval(once)[1] < high  # t for z
    assert high - low < 1.1 * (wilson_interval(once)[1] - wilson_interval(once)[0])


def test_a_perfect_proportion_of_groups_has_an_interval_by_their_number():
    right, groups = np.ones(20, bool), [str(i // 2) for i in range(20)]
    t = stats.t.ppf(0.975, 9)
    n, z = 10 * (1.959964 / t) ** 2, 1.959964
    assert wilson_interval(right, groups) == pytest.approx((n / (n + z**2), 1.0), abs=1e-6)


def test_nothing_and_a_single_group_have_no_interval():
    assert wilson_interval(np.zeros(0, bool)) is None
    assert wilson_interval(np.ones(3, bool), ["a", "a", "a"]) is None


def one_seed(n=60, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    odds = np.exp(rng.normal(0, 1, (1, n, 3)) + 1.5 * np.eye(3)[labels])
    return odds / odds.sum(axis=2, keepdims=True), labels


@pytest.mark.parametrize(
    ("metric", "among", "right"),
    [
        ("acc@1", lambda said, true: true >= 0, lambda said, true: said == true),
        ("sen.class@1", lambda said, true: true == 1, lambda said, true: said == 1),
        ("spec.class@1", lambda said, true: true != 1, lambda said, true: said != 1),
        ("prec.class@1", lambda said, true: said == 1, lambda said, true: true == 1),
        ("acc.class@1", lambda said, true: true >= 0, lambda said, true: (said == 1) == (true == 1)),
        ("sen.binary[benign]@1", lambda said, true: true == 1, lambda said, true: said == 1),
    ],
)
def test_a_rate_of_one_seed_has_wilsons_interval(metric, among, right):
    probabilities, labels = one_seed()
    said = probabilities[0].argmax(axis=1)
    over = among(said, labels)
    k, n = int((over & right(said, labels)).sum()), int(over.sum())
    [definition] = find_definitions([metric])
    only = None if metric == "acc@1" else 1
    found = classification_interval(definition, probabilities, labels, only=only)
    assert found.point == pytest.approx(k / n)
    assert found[1:3] == pytest.approx(proportion_confint(k, n, method="wilson"))
    assert found.kind == "cases"


def test_two_seeds_and_metrics_that_are_no_proportion_keep_theirs():
    probabilities, labels = one_seed()
    both = np.concatenate([probabilities, one_seed(seed=1)[0]])
    assert classification_interval(DEFINITIONS["acc@1"], both, labels).kind == "seeds+cases"
    f1 = classification_interval(DEFINITIONS["f1.class@1"], probabilities, labels, only=1)
    sen = classification_interval(DEFINITIONS["sen.macro@1"], probabilities, labels)
    assert (f1.kind, sen.kind) == ("cases", "cases")
    k, n = int((probabilities[0].argmax(axis=1) == labels).sum()), len(labels)
    assert sen[1:3] != pytest.approx(proportion_confint(k, n, method="wilson"))


def test_precision_of_a_class_that_is_never_predicted_is_0_without_an_interval():
    probabilities = np.tile([[0.5, 0.3, 0.2]], (1, 30, 1))
    found = classification_interval(DEFINITIONS["prec.class@1"], probabilities, np.arange(30) % 3, only=2)
    assert found[:3] == (0.0, None, None)
