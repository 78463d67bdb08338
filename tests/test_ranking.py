"""Rankings over data sets: by hand, against scipy, scikit-posthocs and a slow loop, and by what must change nothing."""

import itertools

import numpy as np
import pytest
import scikit_posthocs
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot
from scipy import stats

from usfm_bench.core.errors import BenchError
from usfm_bench.reporting.figures.critical_difference import critical_difference as diagram
from usfm_bench.stats import Scored, rank_models
from usfm_bench.stats.ranking import critical_difference


def scored(means, spread=0.0, seeds=3, cases=8, groups=None, seed=0):
    """data set -> model -> mean, as a table of scores around these means."""
    rng = np.random.default_rng(seed)
    names = tuple(groups or map(str, range(cases)))
    return {
        d: {m: Scored(mean + spread * rng.normal(size=(seeds, len(names))), names) for m, mean in of.items()}
        for d, of in means.items()
    }


def ranking(table, *, higher=True, draws=50, seed=0):
    return rank_models(table, higher_is_better=higher, rng=np.random.default_rng(seed), draws=draws)


def random_means(n_datasets=4, n_models=5, seed=0):
    rng = np.random.default_rng(seed)
    return {f"d{d}": {f"m{m}": float(rng.normal(0.7, 0.05)) for m in range(n_models)} for d in range(n_datasets)}


def row(found, model):
    return next(r for r in found.models if r.model == model)


HAND = {"x": {"a": 0.9, "b": 0.8, "c": 0.7}, "y": {"a": 0.5, "b": 0.6, "c": 0.4}}


def test_ranks_by_hand():
    found = ranking(scored(HAND))
    assert [r.model for r in found.models] == ["a", "b", "c"]
    assert [r.mean_rank for r in found.models] == [(1 + 2) / 2, (2 + 1) / 2, (3 + 3) / 2]
    assert row(found, "b").ranks == {"x": 2, "y": 1}
    assert found.datasets == ("x", "y")


def test_for_distances_less_is_better_and_one_is_still_the_best():
    found = ranking(scored(HAND), higher=False)
    assert {r.model: r.mean_rank for r in found.models} == {"c": 1, "a": (3 + 2) / 2, "b": (2 + 3) / 2}
    assert found.models[0].model == "c"


def test_models_that_tie_share_their_ranks():
    found = ranking(scored({"x": {"a": 0.8, "b": 0.8, "c": 0.7, "d": 0.9}}))
    assert {r.model: r.mean_rank for r in found.models} == {"d": 1, "a": (2 + 3) / 2, "b": (2 + 3) / 2, "c": 4}


def test_the_same_scores_in_another_order_of_seeds_tie_in_spite_of_rounding():
    x = np.random.default_rng(0).random((9, 500)) + 0.1
    groups = tuple(map(str, range(500)))
    table = {d: {str(i): Scored(np.roll(x, i, axis=0), groups) for i in range(5)} for d in "ab"}
    assert len({float(s.scores.mean()) for s in table["a"].values()}) > 1  # or nothing is tested
    assert [r.mean_rank for r in ranking(table).models] == [3.0] * 5


def test_the_share_of_first_places_is_divided_among_those_that_tie():
    a, b = (Scored(np.tile([[0.1, 0.9, 0.4]], (2, 1)), ("1", "2", "3")) for _ in range(2))
    found = ranking({"x": {"a": a, "b": b}})
    assert [(r.first, r.rank_low, r.rank_high) for r in found.models] == [(0.5, 1.5, 1.5)] * 2


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_ranks_and_nemenyi_are_scipys_and_scikit_posthocs(seed, higher):
    table = scored(random_means(seed=seed), 0.1, seed=seed)
    found = ranking(table, higher=higher, draws=5)
    models = [r.model for r in found.models]
    means = np.array([[of[m].scores.mean() for m in models] for of in table.values()])
    expected = stats.rankdata(-means if higher else means, axis=1)
    assert [r.mean_rank for r in found.models] == pytest.approx(expected.mean(axis=0))
    assert found.nemenyi == pytest.approx(scikit_posthocs.posthoc_nemenyi_friedman(means).to_numpy())
    assert sum(r.first for r in found.models) == pytest.approx(1)


def exact_friedman(means):
    """All arrangements of the ranks within data sets, the first left as it is, which loses nothing."""
    ranks = stats.rankdata(-means, axis=1)
    first, *rest = ([row] if i == 0 else list(itertools.permutations(row)) for i, row in enumerate(ranks))
    sums = [(np.sum(rows, axis=0) ** 2).sum() for rows in itertools.product(first, *rest)]
    return np.mean(np.array(sums) >= (ranks.sum(axis=0) ** 2).sum())


@pytest.mark.parametrize(("n_datasets", "n_models", "seed"), [(2, 3, 0), (3, 3, 1), (4, 3, 2), (3, 4, 3)])
def test_friedman_is_the_exact_permutation_test(n_datasets, n_models, seed):
    means = random_means(n_datasets, n_models, seed)
    expected = exact_friedman(np.array([list(of.values()) for of in means.values()]))
    found = ranking(scored(means), draws=5).friedman_p
    assert found == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 9_999) ** 0.5 + 1e-3)


def test_two_data_sets_that_agree_do_not_prove_a_difference():
    agreeing = {d: {"a": 0.9, "b": 0.8, "c": 0.7} for d in "xy"}
    # One arrangement in 3! agrees; the F of Iman and Davenport would have p = 0.
    assert ranking(scored(agreeing), draws=5).friedman_p == pytest.approx(1 / 6, abs=0.015)


@pytest.mark.parametrize("seed", range(4))
def test_friedman_is_near_scipys_with_many_data_sets(seed):
    means = random_means(40, 5, seed)
    expected = stats.friedmanchisquare(*np.array([list(of.values()) for of in means.values()]).T).pvalue
    assert ranking(scored(means), draws=2).friedman_p == pytest.approx(expected, abs=0.03)


def test_models_that_are_all_equal_have_p_one():
    found = ranking(scored({d: dict.fromkeys("abc", 0.5) for d in "xyz"}), draws=5)
    assert found.friedman_p == 1
    assert found.nemenyi == pytest.approx(np.ones((3, 3)))


@pytest.mark.parametrize(("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_has_demsars_quantiles(k, q):
    assert critical_difference(k, 7) == pytest.approx(q * (k * (k + 1) / (6 * 7)) ** 0.5, rel=4e-4)


def test_ranks_as_far_apart_as_the_critical_difference_have_p_five_percent():
    n = 20_000
    limit = critical_difference(3, n)
    flipped = round(n * (1 - limit / 2) / 2)  # a is 1 and b 3, or the other way: a difference of 2 (n - 2 flipped) / n
    ranks = np.array([[1, 3, 2]] * (n - flipped) + [[3, 1, 2]] * flipped)
    assert abs(np.diff(ranks.mean(axis=0)[:2])) == pytest.approx(limit, abs=2e-4)
    assert scikit_posthocs.posthoc_nemenyi_friedman(ranks).to_numpy()[0, 1] == pytest.approx(0.05, abs=1e-3)


def test_the_interquartile_mean_by_hand_and_by_scipy():
    runs = [np.array([[s, s] for s in of], dtype=float) for of in ([9, 1, 4, 3], [5, 100, 2, 8])]
    table = {d: {"a": Scored(x, ("1", "2"))} for d, x in zip("xy", runs, strict=True)}
    assert row(ranking(table), "a").iqm == (3 + 4 + 5 + 8) / 4  # of 1 2 | 3 4 5 8 | 9 100
    table = scored(random_means(n_models=1), 0.2, seeds=5)
    runs = np.concatenate([of["m0"].scores.mean(axis=1) for of in table.values()])
    assert row(ranking(table), "m0").iqm == pytest.approx(stats.trim_mean(runs, 0.25))


def slow_bootstrap(table, draws, rng):
    """Mean ranks and interquartile means (draws, M), one draw, data set, group, model and seed at a time."""
    models = sorted(next(iter(table.values())))
    mean_ranks, iqms = [], []
    for _ in range(draws):
        ranks, runs = [], {m: [] for m in models}
        for of in table.values():
            groups = of[models[0]].groups
            names = sorted(set(groups))
            chosen = [names[i] for i in rng.integers(len(names), size=len(names))]
            cases = [c for name in chosen for c, group in enumerate(groups) if group == name]
            scores = []
            for m in models:
                x = of[m].scores
                drawn = [x[s, cases].mean() for s in rng.integers(len(x), size=len(x))]
                runs[m] += drawn
                scores.append(np.mean(drawn))
            ranks.append(stats.rankdata(-np.array(scores)))
        mean_ranks.append(np.mean(ranks, axis=0))
        iqms.append([stats.trim_mean(runs[m], 0.25) for m in models])
    return np.array(mean_ranks), np.array(iqms)


def test_the_bootstrap_is_that_of_a_slow_loop():
    means = {d: {"a": 0.62, "b": 0.68, "c": 0.7} for d in "xy"}
    table = scored(means, 0.15, seeds=2, groups="rpqrspturv")
    table["x"]["a"] = Scored(np.vstack([table["x"]["a"].scores, table["y"]["c"].scores + 0.1]), table["x"]["a"].groups)
    draws = 1000
    ranks, iqms = slow_bootstrap(table, draws, np.random.default_rng(1))
    best = ranks == ranks.min(axis=1, keepdims=True)
    first = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    found = ranking(table, draws=20_000)
    for i, model in enumerate("abc"):
        of = row(found, model)
        assert of.first == pytest.approx(first[i], abs=4 * 0.5 / draws**0.5)
        assert (of.rank_low, of.rank_high) == pytest.approx(np.quantile(ranks[:, i], [0.025, 0.975]), abs=0.5)
        ends = np.quantile(iqms[:, i], [0.025, 0.975])
        assert (of.iqm_low, of.iqm_high) == pytest.approx(ends, abs=0.12 * (ends[1] - ends[0]))


def test_cases_are_drawn_once_for_all_models():
    hard = np.random.default_rng(0).normal(0, 0.3, 30)  # far more than the models differ by
    table = {"x": {m: Scored((hard + gap)[None], tuple(map(str, range(30)))) for m, gap in (("a", 0.01), ("b", 0.0))}}
    assert row(ranking(table, draws=500), "a").first == 1


def test_seeds_are_drawn_for_each_model_by_itself():
    lucky = np.array([0.0, 0.2])[:, None] + np.zeros((2, 5))  # the same two runs in both models, b a little worse
    table = {"x": {m: Scored(lucky - gap, tuple("12345")) for m, gap in (("a", 0.0), ("b", 0.01))}}
    # Of the 16 pairs of draws b is ahead where it has more lucky runs: 1/4 * 3/4 + 1/2 * 1/4 = 5/16.
    assert row(ranking(table, draws=20_000), "b").first == pytest.approx(5 / 16, abs=0.015)


def test_cases_of_one_group_are_drawn_together():
    x = np.tile([0.2, 0.8], (1, 50))
    together = Scored(x, ("p", "q") * 50)
    apart = Scored(x, tuple(map(str, range(100))))
    wide, narrow = (ranking({"x": {"a": s}}, draws=400).models[0] for s in (together, apart))
    assert (wide.iqm_low, wide.iqm_high) == (pytest.approx(0.2), pytest.approx(0.8))
    assert narrow.iqm_high - narrow.iqm_low < 0.25


def test_a_model_that_is_better_by_far_is_first_in_all_draws():
    found = ranking(scored({d: {"a": 0.9, "b": 0.5, "c": 0.5} for d in "xyz"}, 0.05), draws=300)
    best = found.models[0]
    assert (best.model, best.mean_rank, best.rank_low, best.rank_high, best.first) == ("a", 1, 1, 1, 1)
    assert found.n_draws == 300


def test_an_interval_holds_its_point():
    # The luckiest of equal models is drawn less lucky mostly, and the middle fifth of the draws leaves its point out.
    table = scored({d: dict.fromkeys("abcdefghijkl", 0.5) for d in "uvwxyz"}, 0.1, cases=20)
    found = rank_models(table, higher_is_better=True, rng=np.random.default_rng(0), draws=100, level=0.2)
    assert all(r.rank_low <= r.mean_rank <= r.rank_high for r in found.models)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 100))
def test_the_order_of_models_and_data_sets_changes_no_number(shuffler, seed):
    table = scored(random_means(3, 4, seed), 0.05, seed=seed)
    del table["d1"]["m2"]
    shuffled = {}
    for name in shuffler.sample(sorted(table), 3):
        shuffled[name] = {m: table[name][m] for m in shuffler.sample(sorted(table[name]), len(table[name]))}
    one, other = ranking(table), ranking(shuffled)
    assert [r.model for r in one.models] == [r.model for r in other.models]
    assert one.friedman_p == other.friedman_p
    for a, b in zip(one.models, other.models, strict=True):
        assert a.ranks == b.ranks
        assert (a.mean_rank, a.rank_low, a.rank_high, a.first) == (b.mean_rank, b.rank_low, b.rank_high, b.first)
        if a.iqm is not None:
            assert (a.iqm, a.iqm_low, a.iqm_high) == pytest.approx((b.iqm, b.iqm_low, b.iqm_high))


@settings(max_examples=15, deadline=None)
@given(st.floats(-5, 5), st.integers(0, 100))
def test_a_constant_added_to_a_data_set_changes_no_rank(constant, seed):
    table = scored(random_means(3, 4, seed), 0.05, seed=seed)
    moved = {**table, "d1": {m: Scored(s.scores + constant, s.groups) for m, s in table["d1"].items()}}
    for a, b in zip(ranking(table).models, ranking(moved).models, strict=True):
        assert (a.model, a.ranks, a.rank_low, a.rank_high, a.first) == (
            b.model,
            b.ranks,
            b.rank_low,
            b.rank_high,
            b.first,
        )


def test_the_same_seed_gives_the_same_ranking_and_another_one_another():
    table = scored(random_means(), 0.3)
    assert ranking(table) == ranking(table)
    assert ranking(table) != ranking(table, seed=1)


def test_a_model_without_a_data_set_has_no_overall_rank_and_moves_nobody():
    table = scored({**HAND, "z": {"a": 0.3, "b": 0.2, "c": 0.1}}, 0.01)
    without = ranking(table)
    table["x"]["late"], table["z"]["late"] = (Scored(s.scores - 0.05, s.groups) for s in (table[d]["a"] for d in "xz"))
    found = ranking(table)
    assert found.models[:3] == without.models
    late = found.models[3]
    assert late.missing == ("y",)
    assert late.ranks == {"x": 2, "z": 2}
    overall = (late.mean_rank, late.rank_low, late.rank_high, late.first, late.iqm, late.iqm_low, late.iqm_high)
    assert overall == (None,) * 7
    assert found.nemenyi.shape == (3, 3)


def test_where_no_model_is_complete_nobody_is_ranked():
    found = ranking(scored({"x": {"a": 0.5}, "y": {"b": 0.5}}))
    assert [(r.model, r.mean_rank, r.missing, dict(r.ranks)) for r in found.models] == [
        ("a", None, ("y",), {}),
        ("b", None, ("x",), {}),
    ]
    assert (found.n_draws, found.friedman_p) == (0, None)


@pytest.mark.parametrize("means", [{"x": HAND["x"]}, {d: {m: of[m] for m in "ab"} for d, of in HAND.items()}])
def test_friedman_needs_three_models_and_two_data_sets(means):
    found = ranking(scored(means, 0.05))
    assert (found.friedman_p, found.critical_difference, found.nemenyi) == (None, None, None)
    assert None not in [found.models[0].rank_low, found.models[0].first]


def test_one_seed_leaves_the_cases_alone():
    found = ranking(scored(HAND, 0.05, seeds=1)).models[0]
    assert found.iqm_low < found.iqm < found.iqm_high


@pytest.mark.parametrize("groups", [("1",), ("1", "1", "1")])
def test_one_case_or_one_group_has_a_rank_and_no_interval(groups):
    table = {**scored(HAND, 0.05), **scored({"z": HAND["x"]}, 0.05, groups=groups)}
    found = ranking(table)
    best = found.models[0]
    assert None not in [best.mean_rank, best.iqm, found.friedman_p]
    assert (best.rank_low, best.rank_high, best.first, best.iqm_low, best.iqm_high) == (None,) * 5
    assert found.n_draws == 0


def test_scores_that_do_not_vary_have_no_interval_of_width_zero():
    found = ranking(scored(HAND)).models[0]
    assert (found.iqm_low, found.iqm_high) == (None, None)


def test_all_faults_are_told_at_once():
    table = scored(HAND)
    table["x"]["b"] = Scored(np.ones((3, 7)), tuple("1234567"))
    table["y"]["a"] = Scored(np.full((1, 8), np.nan), tuple("12345678"))
    table["y"]["c"] = Scored(np.ones(8), tuple("12345678"))
    with pytest.raises(BenchError) as error:
        ranking(table)
    lines = str(error.value).split("\n")
    assert lines[0].startswith("x: models have different test cases (a, c: 8; b: 7).")
    assert lines[1].startswith("y, a: 8 scores are not finite")
    assert lines[2].startswith("y, c: scores of shape (8,) and 8 groups")


def test_as_many_cases_in_other_groups_are_not_the_same_cases():
    table = scored(HAND)
    table["x"]["b"] = Scored(table["x"]["b"].scores, tuple("ppqqrrss"))
    with pytest.raises(BenchError, match="different test cases"):
        ranking(table)


def test_no_data_set_is_an_error():
    with pytest.raises(BenchError, match="no data set"):
        ranking({})


def texts(figure):
    return [text.get_text() for text in [*figure.axes[0].texts, figure._supxlabel]]


def test_the_diagram_shows_ranks_bars_and_what_they_rest_on():
    means = {f"d{d}": {"best": 0.9, "a$x^2$": 0.6, "a$y$": 0.595, "{0}": 0.3} for d in range(12)}
    table = scored(means, 0.03, cases=20)
    table["d0"]["late"] = table["d0"]["best"]
    found = ranking(table)
    before = pyplot.get_fignums()
    figure = diagram(found, "DSC at $1 or $2")
    figure.draw_without_rendering()
    assert pyplot.get_fignums() == before
    shown = texts(figure)
    assert {t.strip() for t in shown[:4]} >= {"best  1.00", "4.00  {0}"}
    assert any(t.strip().endswith("a$x^2$") or t.startswith("a$x^2$") for t in shown)
    assert not any(text.get_parse_math() for text in figure.axes[0].texts if "$" in text.get_text())
    assert not figure.axes[0].title.get_parse_math()
    caption = " ".join(shown[-1].split())
    assert "4 models over 12 data sets" in caption
    assert "Friedman p < 0.001" in caption
    assert f"(CD) {found.critical_difference:.2f}" in caption
    assert "late (d1, d2" in caption


@pytest.mark.parametrize("n_models", [3, 12])
def test_names_are_inside_the_picture_and_do_not_meet(n_models):
    means = {f"timm:vit_small_patch16_224.{i}": 0.9 - 0.05 * i for i in range(n_models)}
    table = scored(dict.fromkeys("uvwxyz", means), 0.05)
    figure = diagram(ranking(table, draws=5), "DSC")
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in [*figure.axes[0].texts, figure._supxlabel, figure.axes[0].title]]
    assert all(figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 for b in boxes)
    assert all(figure.bbox.y0 <= b.y0 and b.y1 <= figure.bbox.y1 for b in boxes)
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_the_diagram_says_that_friedman_finds_nothing():
    of_a = {"x": 0.9, "y": 0.75, "z": 0.6}
    table = {name: {"a": score, "b": 0.8, "c": 0.7} for name, score in of_a.items()}
    figure = diagram(ranking(scored(table), draws=5), "DSC")
    assert "finds no difference" in " ".join(texts(figure)[-1].split())


def test_too_few_data_sets_for_any_difference_have_no_critical_difference():
    models = {name: 0.9 - i / 100 for i, name in enumerate("abcdefgh")}
    found = ranking(scored(dict.fromkeys("xy", models)), draws=5)
    assert critical_difference(8, 2) > 7  # more than mean ranks of 8 models can differ
    assert found.friedman_p is not None
    assert (found.critical_difference, found.nemenyi) == (None, None)


def test_a_diagram_without_friedman_is_an_error():
    with pytest.raises(BenchError, match="here are 3 and 1"):
        diagram(ranking(scored({"x": HAND["x"]})), "DSC")
