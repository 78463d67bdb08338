"""Paired comparisons: against scipy where it does the same, by hand, and by how often they err."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.stats import class_contributions, compare, holm, variance_components
from usfm_bench.stats.compare import detectable_difference, with_cases, with_seeds
from usfm_bench.stats.components import KEPT, difference_components, groups_alike, paired_components
from usfm_bench.stats.intervals import interval_of


def draw(seeds=3, cases=40, shift=0.0, seed_sd=0.02, case_sd=0.2, rest_sd=0.08, seed=0):
    """Scores of two models that share the difficulty of the cases."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, case_sd, cases)
    models = [hard + rng.normal(0, seed_sd, (seeds, 1)) + rng.normal(0, rest_sd, (seeds, cases)) for _ in range(2)]
    return models[0] + shift, models[1]


def test_one_seed_is_the_paired_t_test():
    a, b = draw(seeds=1, shift=0.03)
    found, expected = compare(a, b), stats.ttest_rel(a[0], b[0])
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.difference[1:3] == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.difference.kind == "cases"
    assert found.effect_size == pytest.approx(expected.statistic / np.sqrt(40))


def test_the_p_value_is_the_level_at_which_the_interval_touches_zero():
    a, b = draw(shift=0.03)
    found = compare(a, b)
    touching = compare(a, b, level=1 - found.p_value).difference
    assert min(abs(touching.low), abs(touching.high)) == pytest.approx(0, abs=1e-9)


def test_seeds_are_two_sets_and_cases_are_pairs():
    a, b = draw(seeds=4, shift=0.03)
    d, n = a - b, 40
    rest = ((d - d.mean(axis=0) - d.mean(axis=1, keepdims=True) + d.mean()) ** 2).sum() / (3 * 39) / (4 * n)
    v, w = a.mean(axis=1).var(ddof=1), b.mean(axis=1).var(ddof=1)
    va, welch = max((v + w) / 4, rest), 3 * (v + w) ** 2 / (v**2 + w**2)
    vb = max(0, d.mean(axis=0).var(ddof=1) / n - rest)
    t = (va * stats.t.ppf(0.975, welch) + vb * stats.t.ppf(0.975, 39)) / (va + vb)
    found = compare(a, b).difference
    assert found.high - found.point == pytest.approx(t * np.sqrt(va + vb))


def test_where_cases_tell_nothing_it_is_welchs_test_of_the_seeds_means():
    rng = np.random.default_rng(0)
    a, b = (np.repeat(rng.normal(0, sd, (4, 1)), 30, axis=1) + rng.normal(0, 1e-9, (4, 30)) for sd in (0.05, 0.01))
    expected = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    assert compare(a, b).p_value == pytest.approx(expected.pvalue, rel=1e-5)
    alike = interval_of(difference_components(a, b, n_sets=2))
    pooled = stats.ttest_ind(a.mean(axis=1), b.mean(axis=1)).confidence_interval()
    assert alike[1:3] == pytest.approx(tuple(pooled), rel=1e-5)


def test_a_model_whose_networks_agree_leaves_the_others_degrees_of_freedom():
    rng = np.random.default_rng(0)
    found = difference_components(rng.normal(size=(3, 40)) + rng.normal(size=(3, 1)), np.zeros((3, 40)))
    assert found.n_sets == pytest.approx(1)
    assert found.half_width(0.975) >= stats.t.ppf(0.975, 2) * found.seeds**0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(3)))
def test_which_seed_stands_beside_which_changes_little(seed, order):
    a, b = draw(seeds=3, seed=seed)
    one, other = compare(a, b).difference, compare(a, b[list(order)]).difference
    assert other.point == pytest.approx(one.point)
    assert other.high - other.low == pytest.approx(one.high - one.low, rel=0.25)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.floats(-0.1, 0.1))
def test_changing_sides_turns_everything_round(seed, seeds, shift):
    a, b = draw(seeds=seeds, cases=12, shift=shift, seed=seed)
    one, other = compare(a, b), compare(b, a)
    assert one.difference.point == pytest.approx(-other.difference.point)
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert one.p_value == pytest.approx(other.p_value)
    assert one.probability_better == pytest.approx(1 - other.probability_better)
    assert one.false_claim == pytest.approx(min(one.probability_better, other.probability_better))
    assert one.detectable == pytest.approx(other.detectable)


def test_for_distances_less_is_better():
    a, b = draw(shift=0.1)
    assert compare(a, b).probability_better > 0.9
    assert compare(a, b, higher_is_better=False).probability_better < 0.1


def test_a_difference_of_nothing_has_no_p_value():
    a, _ = draw()
    found = compare(a, a)
    assert found.difference == (0.0, None, None, "none")
    assert found[1:] == (None,) * 8


def test_a_difference_that_is_the_same_everywhere_has_no_effect_size():
    # The differences scatter by rounding alone: dividing by that gave -3.7e15.
    a, _ = draw()
    found = compare(a, a + 0.1 + np.array([[0.0], [0.01], [-0.01]]))
    assert found.difference.point == pytest.approx(-0.1)
    assert found.p_value is not None
    assert found.effect_size is None


def test_other_seeds_or_cases_are_an_error():
    with pytest.raises(BenchError, match=r"a is \(3, 40\), b is \(2, 40\)"):
        compare(draw()[0], draw(seeds=2)[1])


def test_right_and_wrong_are_scores_and_what_is_not_finite_is_an_error():
    a, b = draw()
    assert compare(a > 0, b > 0) == compare((a > 0).astype(float), (b > 0).astype(float))
    with pytest.raises(BenchError, match="NaN or infinite"):
        compare(np.where(a == a.max(), np.inf, a), b)


def test_components_add_up_to_the_mean_squares():
    x, _ = draw(seeds=4, cases=9)
    parts = variance_components(x)
    seeds, cases = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    rest = ((x - seeds - cases + x.mean()) ** 2).sum() / (3 * 8)
    assert parts.cases == pytest.approx(4 * cases.var(ddof=1) / (4 * 9))
    assert parts.residual == pytest.approx(rest / (4 * 9))
    assert parts.seeds == pytest.approx(max(0, 9 * seeds.var(ddof=1) - rest) / (4 * 9))


def test_of_the_same_networks_half_of_the_residuals_share_stays_with_the_seeds():
    x = np.random.default_rng(0).normal(size=(3, 20))
    whole, parts = variance_components(x, for_test=True), paired_components(x)
    assert parts.seeds == pytest.approx(max(whole.seeds - (1 - KEPT) * whole.residual, KEPT * whole.residual))
    assert parts.cases == pytest.approx(whole.cases - KEPT * whole.residual)
    alone = paired_components(x[:1])
    assert (alone.seeds, alone.cases) == (0, pytest.approx(x[0].var(ddof=1) / 20))


@pytest.mark.parametrize("cases", [4, 12, 40, 400])
def test_the_detectable_difference_of_one_seed_has_the_power_of_the_noncentral_t(cases):
    a, b = draw(seeds=1, cases=cases)
    error = (a - b).std(ddof=1) / np.sqrt(cases)
    power = stats.nct.sf(stats.t.ppf(0.975, cases - 1), cases - 1, compare(a, b).detectable / error)
    assert power == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("seeds", [3, 5])
def test_more_cases_can_make_up_for_a_residual_that_only_looks_like_seeds(seeds):
    rng = np.random.default_rng(0)

    def drawn(cases, shift):
        return shift + rng.normal(0, 0.1, (seeds, cases)), np.zeros((seeds, cases))

    found = [compare(*drawn(60, 0.04)) for _ in range(100)]
    assert sum(f.cases_needed is not None for f in found) > 70  # three seeds may differ by chance


def test_one_seed_says_nothing_of_the_seeds_that_are_needed():
    assert compare(*draw(seeds=1, shift=0.05)).seeds_needed is None


def test_as_many_cases_as_are_needed_find_the_difference_and_one_fewer_does_not():
    a, b = draw(shift=0.05, cases=20, seed_sd=0.0, seeds=5)
    found, parts = compare(a, b), difference_components(a, b)
    n, mean = found.cases_needed, abs(found.difference.point)

    def of(n):
        share = 20 / n  # of the cases' part, and of what of the seeds' part is the residual's
        seeds = parts.seeds - min(parts.seeds, parts.residual) * (1 - share)
        return detectable_difference(parts._replace(seeds=seeds, cases=parts.cases * share, n_groups=n))

    assert of(n) <= mean < of(n - 1)


@settings(deadline=None)
@given(
    seeds=st.integers(1, 5),
    cases=st.integers(8, 60),
    folds=st.integers(1, 5),
    shift=st.floats(0.01, 2),
    rest=st.floats(0.02, 0.3),
)
def test_the_numbers_needed_are_those_of_trying_every_number(seeds, cases, folds, shift, rest):
    a, b = draw(seeds, cases, shift, rest_sd=rest)
    of_folds = np.arange(cases) * folds // cases
    found, parts = compare(a, b, folds=of_folds), difference_components(a, b, folds=of_folds)

    def tried(resized, least):
        enough = (n for n in range(least, 400) if detectable_difference(resized(parts, n)) <= abs(parts.mean))
        return next(enough, None)

    for number, expected in (
        (found.seeds_needed, tried(with_seeds, 2) if seeds > 1 else None),
        (found.cases_needed, tried(with_cases, max(2, folds + 1))),
    ):
        assert number == expected or (expected is None and (number or 400) >= 400)


def test_a_plain_difference_over_folds_needs_a_case_more_than_there_are_folds():
    a, b = draw(shift=2.0, rest_sd=0.01)
    assert compare(a, b, folds=np.arange(40) * 5 // 40).cases_needed == 6


def test_seeds_cannot_make_up_for_too_few_cases():
    a, b = draw(seeds=3, cases=10, shift=0.1, seed=3, seed_sd=0.0, rest_sd=0.01)
    a = a + np.random.default_rng(0).normal(0, 0.3, 10)  # the models differ from case to case
    assert compare(a, b).seeds_needed is None
    assert compare(a, b).cases_needed > 10


def test_holm_by_hand_and_in_any_order():
    assert holm([0.01, 0.02, 0.03, 0.5]) == pytest.approx([0.04, 0.06, 0.06, 0.5])
    assert holm([0.5, 0.03, 0.01, 0.02]) == pytest.approx([0.5, 0.06, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("case_sd", [0.0, 0.1])
@pytest.mark.parametrize("seeds", [3, 5])
def test_models_that_do_not_differ_are_found_to_in_at_most_five_of_a_hundred(seeds, case_sd):
    rng = np.random.default_rng(0)

    def rejects():
        a, b = draw(seeds=seeds, seed=int(rng.integers(2**32)))
        return compare(a + rng.normal(0, case_sd, 40), b).p_value < 0.05  # better on some cases, worse on others

    assert np.mean([rejects() for _ in range(1000)]) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)


def test_the_detectable_difference_is_found_with_about_eighty_percent_power():
    mean = np.mean([compare(*draw(seeds=10, seed=seed)).detectable for seed in range(200)])
    found = np.mean([compare(*draw(seeds=10, shift=mean, seed=seed)).p_value < 0.05 for seed in range(600)])
    assert 0.74 < found < 0.95


def test_pseudo_values_of_patients_with_many_images_have_the_degrees_of_freedom_of_few():
    rng = np.random.default_rng(0)
    sizes = np.array([12, 12, 1, 1, 1, 1, 1, 1])
    groups = np.repeat(np.arange(8), sizes)
    labels = (np.arange(8) % 2)[groups]
    models = [expit(rng.normal(0, 3, 30) + rng.normal(0, 0.1, (3, 30))) for _ in range(2)]
    a, b = (
        class_contributions(DEFINITIONS["f1.macro@1"], np.stack([1 - p, p], -1), labels, groups, 0 * groups)
        for p in models
    )
    assert a.sizes.tolist() == sizes.tolist()
    assert (
        groups_alike(a.groups, a.sizes) == groups_alike(groups) == pytest.approx((2 * 144 + 6) ** 2 / (2 * 144**2 + 6))
    )
    plain, sized = (compare(a.values, b.values, groups=a.groups, sizes=s) for s in (None, a.sizes))
    assert sized.difference.point == plain.difference.point
    assert sized.error == plain.error
    assert sized.p_value > plain.p_value
    assert sized.difference.high > plain.difference.high


@pytest.mark.parametrize("sizes", [None, np.ones(20, int)], ids=["not told", "one each"])
def test_groups_of_one_case_each_change_nothing(sizes):
    a, b = np.random.default_rng(0).normal(size=(2, 3, 20))
    assert compare(a, b, groups=np.arange(20), sizes=sizes) == compare(a, b)
