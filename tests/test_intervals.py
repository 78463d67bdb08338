"""Intervals: by hand, by the formulas of docs/intervals.md written a second time, and by how often they cover."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.special import expit, stdtrit
from sklearn import metrics as sk
from statsmodels.stats.proportion import proportion_confint

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS, find_definitions
from usfm_bench.metrics.classification import score_classification
from usfm_bench.metrics.definitions import Definition
from usfm_bench.specs.task import TASKS
from usfm_bench.stats import case_scores, classification_interval, crossed_interval, jackknife_interval
from usfm_bench.stats.components import Components
from usfm_bench.stats.delete_one import class_metric
from usfm_bench.stats.jackknife import deleted
from usfm_bench.stats.score import AreaNoise, RateNoise

FEW = settings(max_examples=60, deadline=None)
PRIMARY = TASKS["classification"].primary()
RATES = ["ACC", "BACC", "SEN", "SPEC", "PREC", "F1", "AUROC", "AUPRC"]
WHOLE = ["BACC", "MCC", "KAPPA", "ECE"]


def t_quantile(level, freedom):
    return stats.t.ppf((1 + level) / 2, freedom)


def by_mean_squares(x, level=0.95):
    """Half the width of the crossed interval, from the mean squares of a two-way layout; seeds x cases."""
    (s, c), grand = x.shape, x.mean()
    seeds, cases = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    ms_seeds = c * ((seeds - grand) ** 2).sum() / (s - 1)
    ms_cases = s * ((cases - grand) ** 2).sum() / (c - 1)
    ms_rest = ((x - seeds - cases + grand) ** 2).sum() / ((s - 1) * (c - 1))
    va, vb = max(0, (ms_seeds - ms_rest) / (s * c)), ms_cases / (s * c)
    t = (va * t_quantile(level, s - 1) + vb * t_quantile(level, c - 1)) / (va + vb)
    return t * np.sqrt(va + vb)


def some_scores(seeds=3, cases=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 0.9, cases) + rng.normal(0, 0.05, (seeds, 1)) + rng.normal(0, 0.05, (seeds, cases))


def half_width(interval):
    assert interval.point - interval.low == pytest.approx(interval.high - interval.point)
    return (interval.high - interval.low) / 2


def assert_same(interval, expected):
    assert interval.kind == expected.kind
    assert interval[: 1 if expected.low is None else 3] == pytest.approx(expected[: 1 if expected.low is None else 3])


matrices = arrays(
    float, st.tuples(st.integers(1, 5), st.integers(2, 9)), elements=st.integers(0, 20).map(lambda i: i / 20)
)


def test_the_crossed_interval_by_hand():
    # Row means 0.6, 0.8; column means 0.55, 0.85; every residual is 0.05 in size.
    va, vb = (2 * 0.02 - 4 * 0.05**2) / 4, 2 * 2 * 0.15**2 / 4
    interval = crossed_interval(np.array([[0.5, 0.7], [0.6, 1.0]]))
    assert interval.point == pytest.approx(0.7)
    assert half_width(interval) == pytest.approx(12.7062047 * (va + vb) ** 0.5)  # t of 1 degree of freedom
    assert interval.kind == "seeds+cases"


@pytest.mark.parametrize("shape", [(2, 2), (3, 8), (5, 40), (10, 3)])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_crossed_interval_equals_the_formula_of_mean_squares(shape, level):
    x = some_scores(*shape)
    assert half_width(crossed_interval(x, level=level)) == pytest.approx(by_mean_squares(x, level))


def test_seeds_that_agree_better_than_chance_add_no_variance():
    x = np.array([[0.1, 0.5, 0.9], [0.5, 0.1, 0.9], [0.9, 0.1, 0.5]])  # equal seed means
    expected = t_quantile(0.95, 2) * x.mean(axis=0).std(ddof=1) / np.sqrt(3)
    assert half_width(crossed_interval(x)) == pytest.approx(expected)


def test_one_seed_gives_the_interval_of_a_mean_over_cases_and_says_so():
    x = some_scores(seeds=1)
    interval = crossed_interval(x)
    assert interval[1:3] == pytest.approx(stats.t.interval(0.95, 7, x.mean(), stats.sem(x[0])))
    assert interval.kind == "cases"


def test_groups_of_one_case_equal_no_groups():
    x = some_scores()
    assert_same(crossed_interval(x, groups=list("abcdefgh")), crossed_interval(x))


@pytest.mark.parametrize("seeds", [1, 3])
def test_groups_of_equal_size_count_as_their_means(seeds):
    x = some_scores(seeds, 12)
    grouped = crossed_interval(x, groups=list("abcabcabcabc"))
    means = np.stack([x[:, k::3].mean(axis=1) for k in range(3)], axis=1)
    assert_same(grouped, crossed_interval(means))


def test_groups_of_unequal_size_weigh_by_their_cases():
    # Deviations from the mean 0.5 add up to 0.9, -0.5 and -0.4 in the groups.
    x = np.array([[1.0, 0.9, 0.0, 0.2, 0.4]])
    interval = crossed_interval(x, groups=["a", "a", "b", "c", "c"])
    variance = 3 / 2 * (0.9**2 + 0.5**2 + 0.4**2) / 5**2
    assert interval.point == pytest.approx(0.5)
    assert half_width(interval) == pytest.approx(t_quantile(0.95, 2) * variance**0.5)


@pytest.mark.parametrize(("shape", "groups"), [((3, 1), None), ((1, 1), None), ((3, 4), ["a"] * 4)])
def test_one_case_or_one_group_has_no_interval(shape, groups):
    x = some_scores(*shape)
    assert crossed_interval(x, groups=groups) == (pytest.approx(x.mean()), None, None, "none")


@pytest.mark.parametrize("value", [0.0, 0.1, 0.7, 1.0])
@pytest.mark.parametrize("shape", [(1, 3), (3, 78)])
def test_scores_without_spread_have_no_interval_rather_than_one_of_no_width(value, shape):
    assert crossed_interval(np.full(shape, value)) == (pytest.approx(value), None, None, "none")


def test_means_without_spread_have_no_interval_however_the_rest_varies():
    assert crossed_interval(np.array([[0.1, 0.3], [0.3, 0.1]])).kind == "none"


def test_an_undefined_score_is_an_error():
    x = some_scores()
    x[1, 2] = np.nan
    with pytest.raises(BenchError, match="1 NaN"):
        crossed_interval(x)


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (3, 0)])
def test_scores_that_are_no_matrix_are_an_error_that_gives_the_shape(shape):
    with pytest.raises(BenchError, match=r"expected \(seeds, cases\)"):
        crossed_interval(np.zeros(shape))


def test_bounds_cut_the_interval_off_and_leave_the_rest():
    x = np.array([[1.0, 1.0, 1.0, 0.9]])
    free, cut = crossed_interval(x), crossed_interval(x, bounds=(0.0, 1.0))
    assert free.high > 1
    assert cut == free._replace(high=1.0)


@FEW
@given(matrices, st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_cases_changes_nothing(x, random):
    seeds, cases = (random.sample(range(n), n) for n in x.shape)
    groups = [f"patient {random.randrange(3)}" for _ in range(x.shape[1])]
    for given_groups in (None, groups):
        shuffled = given_groups and [groups[i] for i in cases]
        interval = crossed_interval(x, groups=given_groups)
        assert_same(crossed_interval(x[seeds][:, cases], groups=shuffled), interval)


@FEW
@given(matrices, st.floats(0.1, 10), st.floats(-5, 5))
def test_scale_and_shift_of_the_scores_carry_over(x, scale, shift):
    interval, moved = crossed_interval(x), crossed_interval(scale * x + shift)
    assume(interval.low is not None and interval.high - interval.low > 1e-6)
    assert moved[:3] == pytest.approx([scale * value + shift for value in interval[:3]], abs=1e-9)


@pytest.mark.parametrize(("seeds", "cases"), [(3, 78), (5, 20), (1, 78)])
def test_the_95_percent_crossed_interval_covers_about_95_percent(seeds, cases):
    rng = np.random.default_rng(7)
    draws, seed_sd = 2000, 0.02 if seeds > 1 else 0.0
    x = rng.normal(0, seed_sd, (draws, seeds, 1)) + rng.normal(0, 0.2, (draws, 1, cases))
    x += rng.normal(0, 0.08, (draws, seeds, cases))
    intervals = np.array([crossed_interval(scores)[1:3] for scores in x])
    covered = ((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)).mean()
    assert 0.935 <= covered <= 0.968


def by_jackknife(full, without, level):
    """Variance, quantile and point, without numpy's help for the formula."""
    c, s = len(without), len(full)
    v_cases = (c - 1) / c * sum((value - np.mean(without)) ** 2 for value in without)
    v_seeds = np.var(full, ddof=1) / s if s > 1 else 0.0
    v = v_cases + v_seeds
    freedom = v**2 / (v_cases**2 / (c - 1) + (v_seeds**2 / (s - 1) if s > 1 else 0))
    return v, t_quantile(level, freedom), np.mean(full)


def test_the_jackknife_interval_by_hand():
    # Vc = 2/3 * (0.1^2 + 0^2 + 0.1^2) with 2 degrees of freedom, whose t is 4.302653: as Wilson's interval of
    # n = 0.8 * 0.2 / Vc cases with t for z.
    ratio = 4.302653**2 / (0.8 * 0.2 / (0.04 / 3))
    centre = (0.8 + ratio / 2) / (1 + ratio)
    half = (0.8 * 0.2 * ratio + ratio**2 / 4) ** 0.5 / (1 + ratio)
    interval = jackknife_interval(np.array([0.8]), np.array([0.7, 0.8, 0.9]), RateNoise(20))
    # 1.3 failures of so many cases: the upper end is Poisson's.
    cases = 1.959964**2 / ratio
    upper = 1 - stats.gamma.ppf(0.05, 0.2 * cases) / cases
    assert upper > centre + half
    assert interval == (0.8, pytest.approx(centre - half), pytest.approx(upper), "cases")


NOISES = [RateNoise(12), AreaNoise(((5.0, 40.0, 1.0),)), AreaNoise(((5.0, 40.0, 0.5), (20.0, 25.0, 0.5)))]


@pytest.mark.parametrize("full", [[0.7, 0.9], [0.6, 0.65, 0.9], [0.99, 1.0], [0.0, 0.02]])
@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("noise", NOISES)
def test_the_ends_of_a_jackknife_interval_are_a_quantile_of_their_own_spread_away(full, level, noise):
    without = np.mean(full) - np.array([0.01, 0.0, -0.002, 0.03])
    interval = jackknife_interval(np.array(full), without, noise, level=level)
    variance, quantile, point = by_jackknife(full, without, level)
    times = max(variance / noise.variance(point), 1 / len(full))
    few = isinstance(noise, RateNoise)  # of few failures the far end is Poisson's
    for end, at_an_end in zip(interval[1:3], (few and point < 0.5, few and point > 0.5), strict=True):
        away = quantile * (times * noise.variance(end)) ** 0.5
        assert abs(end - point) == pytest.approx(away, abs=1e-6) or (at_an_end and abs(end - point) > away)
    assert interval.low < point < interval.high
    assert interval.kind == "seeds+cases"


def test_seeds_can_agree_by_luck_but_no_better_than_if_they_erred_apart():
    agreed = jackknife_interval(np.full(3, 0.9), 0.9 + 1e-5 * np.array([-1, 0, 1, 0]), RateNoise(10))
    # The least multiple is 1/3: as Wilson's interval of 30 cases, with t for z (2 and 3 degrees of freedom and more).
    assert agreed.high - agreed.low > np.diff(proportion_confint(27, 30, method="wilson"))[0]


def test_an_area_of_one_positive_and_one_negative_varies_as_one_proportion():
    area, rate = AreaNoise(((1.0, 1.0, 1.0),)), RateNoise(1)
    for point in (0.0, 0.3, 0.9, 1.0):
        assert area.variance(point) == pytest.approx(rate.variance(point))
    assert area.ends(0.5, 0.1, 0.05) == pytest.approx(RateNoise(1).ends(0.5, 0.1, 0.05), abs=1e-6)


def test_the_noise_of_an_area_is_that_of_hanley_and_mcneil():
    # 10 positives, 20 negatives, area 0.8: Q1 = 0.8 / 1.2, Q2 = 2 * 0.64 / 1.8.
    expected = (0.16 + 9 * (0.8 / 1.2 - 0.64) + 19 * (1.28 / 1.8 - 0.64)) / 200
    assert AreaNoise(((10.0, 20.0, 1.0),)).variance(0.8) == pytest.approx(expected)


def test_each_class_has_degrees_of_freedom_of_its_own():
    without = 0.9 + np.array([0.02, -0.02, 0.02, -0.02] + [0.0] * 50)
    full, strata = np.array([0.9]), np.array([1] * 4 + [0] * 50)
    alike, apart = (jackknife_interval(full, without, RateNoise(400), strata=s) for s in (None, strata))
    assert apart.high - apart.low > alike.high - alike.low  # t of 3 degrees of freedom, not of 53
    variance = by_jackknife(full, without, 0.95)[0]
    ends = RateNoise(400).ends(0.9, t_quantile(0.95, 3) ** 2 * variance / RateNoise(400).variance(0.9), 0.05)
    assert apart[1:3] == pytest.approx(ends)


@pytest.mark.parametrize("truth", [0.95, 0.99, 0.998, 0.9995])
@pytest.mark.parametrize("n", [20, 60, 156])
def test_a_rate_near_1_is_held_by_the_interval_of_one_or_no_failure(truth, n):
    probability = stats.binom.pmf(np.arange(n + 1), n, truth)
    ends = [RateNoise(n).ends(k / n, 1.959964**2, 0.05) for k in range(n + 1)]
    held = [low <= truth <= high for low, high in ends]
    assert probability[held].sum() >= 0.925


def test_a_group_that_holds_a_whole_class_leaves_no_interval():
    interval = jackknife_interval(np.array([0.7, 0.8]), np.array([0.7, np.nan, 0.75, 0.8]), RateNoise(3))
    assert interval == (pytest.approx(0.75), None, None, "none")


@pytest.mark.parametrize("value", [0.3, 0.7, 1.0])
@pytest.mark.parametrize(("seeds", "groups"), [(1, 7), (3, 50)])
def test_a_metric_without_spread_has_wilsons_interval_of_the_cases(value, seeds, groups):
    interval = jackknife_interval(np.full(seeds, value), np.full(groups, value), RateNoise(20))
    assert interval.point == pytest.approx(value)
    assert interval[1:3] == pytest.approx(proportion_confint(20 * value, 20, method="wilson"))


def test_one_group_has_no_interval():
    assert jackknife_interval(np.full(3, 0.9), np.full(1, 0.9), RateNoise(1)).low is None


def hundredths(n):
    return arrays(float, n, elements=st.integers(0, 100).map(lambda i: i / 100))


@FEW
@given(hundredths(st.integers(1, 5)), hundredths(st.integers(2, 9)), st.sampled_from(NOISES))
def test_the_jackknife_interval_holds_its_point_and_stays_inside_0_and_1(full, without, noise):
    interval = jackknife_interval(full, without, noise)
    assert 0 <= interval.low <= interval.point + 1e-9
    assert interval.point - 1e-9 <= interval.high <= 1
    assert interval.low < interval.high


signed = st.integers(-100, 100).map(lambda i: i / 100)


@FEW
@given(arrays(float, st.integers(1, 5), elements=signed), arrays(float, st.integers(2, 9), elements=signed))
def test_the_interval_of_a_metric_from_minus_1_to_1_is_that_of_its_place_in_the_range(full, without):
    interval = jackknife_interval(full, without, RateNoise(9), bounds=(-1, 1))
    placed = jackknife_interval((full + 1) / 2, (without + 1) / 2, RateNoise(9))
    assert_same(interval, placed._replace(**{n: 2 * v - 1 for n, v in placed._asdict().items() if type(v) is float}))


by_definition = pytest.mark.parametrize("definition", PRIMARY, ids=[d.name for d in PRIMARY])
OF_FOUR = {"PREC", "F1", "AUPRC"}  # three classes of four cases: 12 in all
OF_ALL = {"ACC", "MCC", "KAPPA"}


@by_definition
def test_a_perfect_score_has_the_interval_of_its_cases(definition):
    probabilities = np.tile(np.eye(3)[np.arange(12) % 3], (3, 1, 1))
    interval = classification_interval(definition, probabilities, np.arange(12) % 3)
    assert interval.point == (1.0 if definition.higher_is_better else 0.0)
    if definition.name in OF_FOUR | OF_ALL:
        low = proportion_confint(12, 12, method="wilson")[0]
        assert interval[1:3] == pytest.approx((definition.range[0] + np.ptp(definition.range) * low, 1.0))
    elif definition.name in ("SEN", "BACC"):  # the mean of three, each of four cases
        low = 1 - (1 - proportion_confint(4, 4, method="wilson")[0]) / 3**0.5
        assert interval[1:3] == pytest.approx((low, 1.0))
    elif definition.higher_is_better:
        assert 0.5 < interval.low < interval.high == 1
    else:  # no spread of distances from the truth
        assert interval[1:] == (None, None, "none")


@pytest.mark.parametrize(
    ("metric", "size"), [("sen.class", 5), ("spec.class", 55), ("f1.class", 5), ("prec.class", 5), ("acc.class", 60)]
)
def test_a_perfect_rate_of_a_rare_class_has_the_interval_of_its_cases(metric, size):
    labels = (np.arange(60) < 5).astype(int)
    [definition] = find_definitions([metric])
    found = classification_interval(definition, np.tile(np.eye(2)[labels], (3, 1, 1)), labels, only=1)
    assert found[1:3] == pytest.approx(proportion_confint(size, size, method="wilson"))


def test_groups_are_counted_for_the_interval_of_a_perfect_rate():
    labels, groups = (np.arange(60) < 10).astype(int), np.arange(60) // 2
    [definition] = find_definitions(["sen.class"])
    found = classification_interval(definition, np.tile(np.eye(2)[labels], (3, 1, 1)), labels, groups=groups, only=1)
    assert found[1:3] == pytest.approx(proportion_confint(5, 5, method="wilson"))


def draw_case(seed, n, n_classes, n_groups, steps=10):
    """Probabilities that are multiples of 1 / steps, labels, and group numbers without gaps."""
    rng = np.random.default_rng(seed)
    parts = np.floor(steps * rng.dirichlet(np.ones(n_classes), size=n))
    parts[:, 0] += steps - parts.sum(axis=1)
    groups = np.unique(rng.integers(0, n_groups, size=n), return_inverse=True)[1]
    return parts / steps, rng.integers(0, n_classes, size=n), groups


def cases_of(steps):
    sizes = st.integers(2, 30), st.integers(2, 4), st.integers(2, 6)  # each group left out is computed anew
    drawn = st.builds(draw_case, st.integers(0, 2**32), *sizes, steps=st.sampled_from(steps))
    return drawn.filter(lambda case: len(set(case[1])) > 1 < len(set(case[2])))


cases, tied = cases_of([10, 1000]), cases_of([1, 2])
SOME = settings(max_examples=10, deadline=None)


def of_one_class(metric, probabilities, labels, k):
    """One class against the rest, by scikit-learn; NaN where it lacks the cases that it is about."""
    true, said, score = labels == k, probabilities.argmax(axis=1) == k, probabilities[:, k]
    if (metric not in ("ACC", "SPEC") and not true.any()) or (
        metric in ("SPEC", "BACC", "AUROC", "AUPRC") and true.all()
    ):
        return np.nan
    return {
        "ACC": lambda: sk.accuracy_score(true, said),
        "BACC": lambda: sk.balanced_accuracy_score(true, said),
        "SEN": lambda: sk.recall_score(true, said),
        "SPEC": lambda: sk.recall_score(~true, ~said),
        "PREC": lambda: sk.precision_score(true, said, zero_division=0),
        "F1": lambda: sk.f1_score(true, said),
        "AUROC": lambda: sk.roc_auc_score(true, score),
        "AUPRC": lambda: sk.average_precision_score(true, score),
    }[metric]()


def averaged(metric, averaging, probabilities, labels, present):
    """Over the classes that the whole test set has: one that is lost leaves no plain mean, and weighs nothing."""
    support = np.array([(labels == k).sum() for k in present])
    if averaging == "macro" and not support.all():
        return np.nan
    values = [of_one_class(metric, probabilities, labels, k) for k in present[support > 0]]
    return np.average(values, weights=None if averaging == "macro" else support[support > 0])


def calibration_by_bins(probabilities, labels):
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.ceil(confidence * 15)
    return sum(abs((confidence - right)[bins == b].sum()) for b in set(bins)) / len(labels)


def of_all_classes(metric, probabilities, labels, present):
    predicted = probabilities.argmax(axis=1)
    one_alone = len({*labels, *predicted}) == 1
    return {
        "BACC": lambda: averaged("SEN", "macro", probabilities, labels, present),
        "MCC": lambda: 0 if one_alone else sk.matthews_corrcoef(labels, predicted),
        "KAPPA": lambda: np.nan if one_alone else sk.cohen_kappa_score(labels, predicted),
        "ECE": lambda: calibration_by_bins(probabilities, labels),
    }[metric]()


def check_delete_one(recompute, metric, averaging, drawn, *, only=None):
    """Every value of `class_metric` against the metric of what is left."""
    probabilities, labels, groups = drawn
    found = class_metric(metric, averaging, *drawn, only=only)
    kept = [np.ones(len(labels), bool), *(groups != g for g in range(groups.max() + 1))]
    # Without a class that lies in one group alone it is another task; ECE does not look at classes.
    lost = [only is None and metric != "ECE" and set(labels[rows]) != set(labels) for rows in kept]
    expected = [
        np.nan if gone else recompute(probabilities[rows], labels[rows]) for gone, rows in zip(lost, kept, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def check_average(metric, averaging, drawn):
    check_delete_one(lambda p, y: averaged(metric, averaging, p, y, np.unique(drawn[1])), metric, averaging, drawn)


def check_class(metric, drawn, k):
    check_delete_one(lambda p, y: of_one_class(metric, p, y, k), metric, "class", drawn, only=k)


@pytest.mark.parametrize("averaging", ["macro", "weighted"])
@pytest.mark.parametrize("metric", RATES)
@SOME
@given(cases)
def test_an_average_without_a_group_equals_its_recomputation(metric, averaging, drawn):
    check_average(metric, averaging, drawn)


@pytest.mark.parametrize("metric", WHOLE)
@SOME
@given(cases)
def test_a_metric_of_all_classes_without_a_group_equals_its_recomputation(metric, drawn):
    check_delete_one(lambda p, y: of_all_classes(metric, p, y, np.unique(drawn[1])), metric, "", drawn)


@pytest.mark.parametrize("metric", RATES)
@SOME
@given(cases, st.integers(0, 3))
def test_a_metric_of_one_class_without_a_group_equals_its_recomputation(metric, drawn, k):
    assume((drawn[1] == k).any())
    check_class(metric, drawn, k)


@SOME
@given(tied)
def test_areas_without_a_group_equal_their_recomputation_where_most_scores_are_tied(drawn):
    for metric in ("AUROC", "AUPRC"):
        check_average(metric, "macro", drawn)
        check_average(metric, "weighted", drawn)
        check_class(metric, drawn, drawn[1][0])


def test_the_average_precision_of_scores_that_are_all_alike_is_the_share_of_positives():
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3])
    found = class_metric("AUPRC", "class", np.full((5, 2), 0.5), labels, groups, only=1)
    assert found == pytest.approx([2 / 5, 2 / 3, 2 / 4, 1 / 4, 1 / 4])


def test_average_precision_without_a_group_by_hand():
    # By falling score: + - + -; without each group: - + -, + + -, + - -, + - +.
    positive = np.array([0.9, 0.8, 0.7, 0.6])
    found = class_metric(
        "AUPRC", "class", np.stack([1 - positive, positive], axis=1), np.array([1, 0, 1, 0]), np.arange(4), only=1
    )
    assert found == pytest.approx([(1 + 2 / 3) / 2, 1 / 2, 1, 1, (1 + 2 / 3) / 2])


def test_calibration_without_a_group_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    found = class_metric("ECE", "", probabilities, np.array([0, 1, 1]), np.array([0, 1, 2]))
    both, right, wrong, other = abs(0.9 - 1 + 0.9), abs(0.9 - 1), abs(0.9), abs(0.7 - 1)
    assert found == pytest.approx([(both + other) / 3, (wrong + other) / 2, (right + other) / 2, both / 2])


TWO = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])


@pytest.mark.parametrize("metric", RATES)
def test_a_macro_metric_is_undefined_without_the_only_group_of_a_class(metric):
    found = class_metric(metric, "macro", TWO, np.array([0, 1, 1, 0]), np.array([0, 1, 1, 2]))
    assert np.isnan(found).tolist() == [False, False, True, False]


@pytest.mark.parametrize("metric", ["ACC", "SEN", "PREC", "F1"])
def test_a_weighted_metric_is_undefined_without_the_only_group_of_a_class(metric):
    found = class_metric(metric, "weighted", TWO, np.array([0, 1, 1, 0]), np.array([0, 1, 1, 2]))
    assert found == pytest.approx([1, 1, np.nan, 1], nan_ok=True)


@pytest.mark.parametrize("metric", ["SPEC", "BACC", "AUROC", "AUPRC"])
def test_a_class_without_cases_of_others_has_no_metric_that_needs_them(metric):
    check_average(metric, "macro", (TWO, np.zeros(4, int), np.arange(4)))
    check_average(metric, "weighted", (TWO, np.zeros(4, int), np.arange(4)))
    check_class(metric, (TWO, np.array([0, 1, 1, 0]), np.array([0, 1, 1, 2])), 0)


def noisy_predictions(seeds=3, n=40, n_classes=3):
    rng = np.random.default_rng(5)
    labels = np.arange(n) % n_classes
    logits = rng.normal(0, 1, (n, n_classes)) + 1.2 * np.eye(n_classes)[labels]
    odds = np.exp(logits + rng.normal(0, 0.5, (seeds, n, n_classes)))
    return odds / odds.sum(axis=2, keepdims=True), labels


@by_definition
def test_the_point_of_an_interval_is_the_mean_over_seeds_of_the_metric(definition):
    probabilities, labels = noisy_predictions()
    interval = classification_interval(definition, probabilities, labels)
    assert interval.point == pytest.approx(
        np.mean([score_classification(p, labels, "abc")[definition.name] for p in probabilities])
    )
    low, high = definition.range
    if definition.name == "ECE":  # biased upwards: the error without chance has the interval
        assert interval[1:] == (None, None, "none")
        return
    assert low < interval.low < interval.point < interval.high < high
    assert interval.kind == "seeds+cases"


@pytest.mark.parametrize("metric", RATES)
def test_the_point_of_a_weighted_average_is_the_mean_over_seeds(metric):
    probabilities, labels = noisy_predictions()
    ovr = ".ovr" if metric.startswith("AU") else ""
    interval = classification_interval(find_definitions([f"{metric.lower()}{ovr}.weighted"])[0], probabilities, labels)
    assert interval.point == pytest.approx(
        np.mean([score_classification(p, labels, "abc")["weighted"][metric] for p in probabilities])
    )
    assert interval.low < interval.point < interval.high


@pytest.mark.parametrize("metric", RATES)
def test_a_binary_metric_has_the_interval_of_its_class(metric):
    probabilities, labels = noisy_predictions()
    [binary] = find_definitions([f"{metric.lower()}.binary[b]"])
    of_class = classification_interval(find_definitions([f"{metric.lower()}.class"])[0], probabilities, labels, only=1)
    assert classification_interval(binary, probabilities, labels, only=1) == of_class


@by_definition
def test_groups_of_one_case_do_not_change_a_classification_interval(definition):
    probabilities, labels = noisy_predictions()
    alone = classification_interval(definition, probabilities, labels, groups=[f"g{i:02}" for i in range(40)])
    assert_same(alone, classification_interval(definition, probabilities, labels))


@by_definition
def test_doubled_cases_in_groups_do_not_narrow_an_interval(definition):
    probabilities, labels = noisy_predictions()
    once = classification_interval(definition, probabilities, labels)
    groups = [f"g{i:02}" for i in range(40)] * 2
    twice = classification_interval(definition, np.tile(probabilities, (1, 2, 1)), np.tile(labels, 2), groups=groups)
    assert_same(twice, once)


def test_the_interval_of_one_class_differs_from_the_macro_interval():
    probabilities, labels = noisy_predictions()
    of_classes = [classification_interval(DEFINITIONS["f1.class@1"], probabilities, labels, only=k) for k in range(3)]
    assert np.mean([i.point for i in of_classes]) == pytest.approx(
        classification_interval(DEFINITIONS["f1.macro@1"], probabilities, labels).point
    )
    assert len({i.point for i in of_classes}) == 3


def test_accuracy_is_a_mean_over_cases():
    probabilities, labels = noisy_predictions()
    scores = case_scores(DEFINITIONS["acc@1"], probabilities, labels)
    np.testing.assert_array_equal(scores, probabilities.argmax(axis=2) == labels)
    groups = [f"g{i // 2}" for i in range(40)]
    found = classification_interval(DEFINITIONS["acc@1"], probabilities, labels, groups=groups)
    crossed = crossed_interval(scores, groups=groups)
    assert found.point == crossed.point
    # The same variance and quantile; as Wilson's, it leans to the middle and is a little narrower.
    for end in found[1:3]:
        spread = (end * (1 - end) / (found.point * (1 - found.point))) ** 0.5
        assert abs(end - found.point) == pytest.approx(half_width(crossed) * spread)
    assert found.high - found.low < 2 * half_width(crossed)


@pytest.mark.parametrize("groups", [None, [f"g{i // 2}" for i in range(40)]])
def test_the_brier_score_is_a_mean_over_cases_between_0_and_2(groups):
    probabilities, labels = noisy_predictions()
    scores = ((probabilities - np.eye(3)[labels]) ** 2).sum(axis=2)
    interval = classification_interval(DEFINITIONS["brier@1"], probabilities, labels, groups=groups)
    assert_same(interval, crossed_interval(scores, groups=groups, bounds=(0, 2), ratio=True))


def test_the_interval_of_the_brier_score_is_above_0_and_cut_off_at_2():
    probabilities = np.array([[[0.0, 1.0], [0.3, 0.7]]])
    interval = classification_interval(DEFINITIONS["brier@1"], probabilities, np.zeros(2, int))
    scores = np.array([[1.0**2 + 1.0**2, 0.7**2 + 0.7**2]])
    free = crossed_interval(scores)
    assert free.low < 0
    assert free.high > 2
    assert (interval.point, interval.high, interval.kind) == (pytest.approx(scores.mean()), 2, "cases")
    assert 0 < interval.low < 0.1


def test_an_emulated_metric_is_computed_anew_without_each_group():
    probabilities, labels = noisy_predictions()
    groups = [f"g{i // 3:02}" for i in range(40)]
    kept = [np.array([group != left for group in groups]) for left in sorted(set(groups))]
    without = np.mean(
        [[sk.balanced_accuracy_score(labels[rows], p[rows].argmax(axis=1)) for rows in kept] for p in probabilities],
        axis=0,
    )
    full = np.array([sk.balanced_accuracy_score(labels, p.argmax(axis=1)) for p in probabilities])
    emulated = classification_interval(DEFINITIONS["usfm-repo/cls.acc@1"], probabilities, labels, groups=groups)
    assert emulated.point == pytest.approx(full.mean())
    values = deleted(DEFINITIONS["usfm-repo/cls.acc@1"], probabilities, labels, groups=groups)
    assert values[:, 0] == pytest.approx(full)
    assert values[:, 1:].mean(axis=0) == pytest.approx(without)
    assert_same(emulated, classification_interval(DEFINITIONS["bacc@1"], probabilities, labels, groups=groups))


EMULATED = {
    "mcc": "mcc@1",
    "bacc": "bacc@1",
    "prec": "prec.macro@1",
    "sen": "sen.macro@1",
    "f1": "f1.macro@1",
    "auroc": "auroc.ovr.macro@2",
}


@pytest.mark.parametrize("name", EMULATED)
def test_an_emulated_metric_without_faults_of_its_own_has_the_interval_of_ours(name):
    probabilities, labels = noisy_predictions()
    groups = [f"g{i // 3:02}" for i in range(40)]
    emulated = classification_interval(DEFINITIONS[f"tinyusfm-repo/cls.{name}@1"], probabilities, labels, groups=groups)
    assert_same(emulated, classification_interval(DEFINITIONS[EMULATED[name]], probabilities, labels, groups=groups))


def test_the_jackknife_interval_of_auroc_covers_about_95_percent():
    rng, draws, seeds, n = np.random.default_rng(11), 800, 3, 78
    shift_sd, case_sd, rest_sd = 0.15, 0.9, 0.5
    # A positive outscores a negative with probability Phi(1 / sd of their difference), averaged over seeds.
    truth = stats.norm.cdf(1 / np.sqrt(2 * (case_sd**2 + rest_sd**2) + shift_sd**2))
    covered = 0
    for _ in range(draws):
        labels = (rng.random(n) < 0.4).astype(int)
        score = labels * (1 + rng.normal(0, shift_sd, (seeds, 1))) + rng.normal(0, case_sd, n)
        score += rng.normal(0, rest_sd, (seeds, n))
        interval = classification_interval(
            DEFINITIONS["auroc.class@2"], np.stack([expit(-score), expit(score)], axis=2), labels, only=1
        )
        covered += interval.low <= truth <= interval.high
    assert 0.925 <= covered / draws <= 0.976


def test_balanced_accuracy_keeps_what_is_not_known_of_a_class_that_is_right_by_luck():
    labels = np.repeat([0, 1], [36, 4])
    said = np.array([1] * 6 + [0] * 30 + [1] * 4)  # SPEC 30/36, SEN 4/4, by every seed
    probabilities = np.eye(2)[np.stack([said] * 5)]
    found = classification_interval(DEFINITIONS["bacc@1"], probabilities, labels)
    wrong = np.repeat([1.0, 0.0], [6, 30])
    variance = wrong.var(ddof=1) / 36  # the jackknife's over all 40 cases is larger by 0.3 %
    t = stats.t.ppf(0.975, 35)  # the other class does not vary
    low, high = RateNoise(36).ends(30 / 36, t**2 * variance / (30 * 6 / 36**3), 0.05)
    of_four = proportion_confint(4, 4, method="wilson")[0]
    assert found.point == (30 / 36 + 1) / 2
    assert found.low == pytest.approx(found.point - ((30 / 36 - low) ** 2 + (1 - of_four) ** 2) ** 0.5 / 2, abs=1e-3)
    assert found.high == pytest.approx(found.point + (high - 30 / 36) / 2, abs=1e-3)
    assert found.low < (30 / 36 + 0.6) / 2  # of 60 % of four cases all are right in 13 %


@pytest.mark.parametrize("bounds", [(-np.inf, np.inf), (0.0, np.inf), (-np.inf, 40.0)], ids=str)
def test_a_metric_of_a_range_without_end_has_the_jackknifes_t_interval(bounds):
    def logarithmic(probabilities, labels):
        return float(-30 * np.log(probabilities[np.arange(len(labels)), labels]).mean())

    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    probabilities = rng.dirichlet([2, 2], size=(3, 40))
    definition = Definition("LOG", "log@1", "labels", "log loss", "fraction", "here", compute=logarithmic, range=bounds)
    found = classification_interval(definition, probabilities, labels)
    losses = -30 * np.log(probabilities[:, np.arange(40), labels])
    variance = losses.mean(axis=0).var(ddof=1) / 40 + losses.mean(axis=1).var(ddof=1) / 3
    # Of a mean the jackknife's variance is the plain one; degrees of freedom lie between those of seeds and of classes.
    low, high = (stdtrit(freedom, 0.975) * variance**0.5 for freedom in (39, 2))
    assert found.point == pytest.approx(losses.mean())
    assert low <= max(found.high - found.point, found.point - found.low) <= high
    assert bounds[0] <= found.low < found.point < found.high <= bounds[1]
    flat = classification_interval(replace(definition, compute=lambda p, y: 7.0), probabilities, labels)
    assert flat == (7.0, None, None, "none")


def test_what_does_not_fit_the_scores_is_an_error_in_words():
    x = np.random.default_rng(0).uniform(size=(3, 4))
    for what, words in (
        ({"groups": ["a", "b"]}, "groups has 2 names for 4 cases"),
        ({"folds": [0, 1, 2]}, "folds has 3 names for 4 cases"),
        ({"groups": np.array(["a", None, None, "b"], dtype=object)}, "groups lacks 2 of 4 names"),
        ({"groups": np.array([1.0, np.nan, 2.0, 3.0])}, "groups lacks 1 of 4 names"),
        ({"level": 95}, "level is 95; expected a share above 0 and below 1"),
    ):
        with pytest.raises(BenchError, match=words):
            crossed_interval(x, **what)
    x[0, 0] = np.inf
    with pytest.raises(BenchError, match="1 infinite"):
        crossed_interval(x)


def test_two_seeds_ask_for_no_less_than_their_part_alone():
    parts = Components(0.0, 1.0, 1.0, 0.0, 2, 1001, none=False)
    t_seeds, t_cases = stats.t.ppf(0.975, 1), stats.t.ppf(0.975, 1000)
    assert (t_seeds + t_cases) / 2 * 2**0.5 < t_seeds
    assert parts.half_width(0.975) == pytest.approx(t_seeds)
    three = parts._replace(n_seeds=3)
    assert three.half_width(0.975) == pytest.approx((stats.t.ppf(0.975, 2) + t_cases) / 2**0.5)


def test_the_ends_of_brier_are_as_far_by_their_ratio_and_stay_above_0():
    x = np.abs(np.random.default_rng(0).normal(size=(3, 8))) ** 4
    plain, ratio = crossed_interval(x), crossed_interval(x, ratio=True, bounds=(0.0, np.inf))
    assert ratio.high / ratio.point == pytest.approx(ratio.point / ratio.low)
    assert np.log(ratio.high / ratio.point) == pytest.approx((plain.high - plain.point) / plain.point)
    assert ratio.low > 0
    assert crossed_interval(np.zeros((3, 8)), ratio=True).low is None
