"""Repeated holdouts: how they are drawn, filed and reported, and that no case counts twice."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import f1_score
from typer.testing import CliRunner

from conftest import TINY
from invented import invent_store
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.splits import draw_folds, split_folds
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.reporting import build_report, render
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import find_dataset, load_registry
from usfm_bench.specs.split import SplitSpec
from usfm_bench.stats import compare, crossed_interval
from usfm_bench.stats.jackknife import deleted
from usfm_bench.stats.repeats import corrected_interval, corrected_p
from usfm_bench.suites.plan import load_suite, plan_suite

ONE, FOUR = SplitSpec(), SplitSpec(repeats=4)
MODELS = ("usfm-micro-scratch", "timm:resnet18@scratch")


def fraction_of(dataset, part):
    return dataset.under(find_dataset(f"{dataset.spec.name}@{part}", {dataset.spec.name: dataset.spec}))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "registry.yaml").write_text(TINY)
    return open_dataset(load_registry(folder / "registry.yaml")["tiny-clinical"], folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_registry):
    made = tmp_path_factory.mktemp("repeats")
    invent_store(made, tiny_registry, models=MODELS, datasets=("tiny-lesion", "tiny"), seeds=2, repeats=4)
    return made / "runs"


@pytest.fixture(scope="module")
def report(runs):
    return build_report(Store(runs), "demo")


def of(report, dataset, model=MODELS[0]):
    return next(r for r in report.results if (r.first.spec.dataset.name, r.first.spec.model) == (dataset, model))


# ---- drawing and planning --------------------------------------------------------------------------------------------


def test_repeats_are_holdouts_of_their_own_and_the_first_is_the_single_one():
    strata, keys = [f"{i % 3}" for i in range(120)], [f"{i // 2}" for i in range(120)]
    folds = draw_folds(strata, keys, FOUR)
    assert [side.tolist() for side in folds[0]] == [side.tolist() for side in draw_folds(strata, keys, ONE)[0]]
    for fold in folds:
        assert sorted(np.concatenate(fold).tolist()) == list(range(120))
        assert [len(side) for side in fold] == pytest.approx([84, 12, 24], abs=2)
        for one, other in combinations(fold, 2):
            assert not {keys[i] for i in one} & {keys[i] for i in other}
    tests = [set(fold.test.tolist()) for fold in folds]
    assert all(len(one & other) < 15 for one, other in combinations(tests, 2))  # 5 by chance
    more = draw_folds(strata, keys, SplitSpec(repeats=6))
    assert all((a.test == b.test).all() for a, b in zip(folds, more, strict=False))


def test_parts_of_a_training_side_are_drawn_apart_for_each_repeat(data):
    part = fraction_of(data, "20%")
    first, second = (set(split.train.tolist()) for split in split_folds(part, FOUR, task="classification", seed=3)[:2])
    sides = [set(split.train.tolist()) for split in split_folds(data, FOUR, task="classification")[:2]]
    assert first <= sides[0]
    assert second <= sides[1]
    assert len(first & second) < len(first & sides[1])


def test_the_number_of_repeats_changes_no_hash_and_no_dump_of_one():
    assert ONE.model_dump() == {"kind": "holdout", "seed": 0, "folds": 1}
    few, many = (plan_suite(load_suite("demo"), load_registry(), repeats=n) for n in (None, 3))
    assert {spec.hash for spec in few} <= {spec.hash for spec in many}
    assert len({spec.hash for spec in many}) == len(many) == 3 * len(few)
    assert {spec.fold for spec in many} == {0, 1, 2}
    assert {Store(Path("r")).folder(spec) for spec in few} <= {Store(Path("r")).folder(spec) for spec in many}


def test_a_suite_may_ask_for_repeats_and_folds_may_not(tmp_path):
    text = "title: t\ndefault_profile: smoke\nseeds: 1\nsplit: {kind: holdout, seed: 0, repeats: 3}\nparts:\n"
    text += "- {task: classification, datasets: [phantom], models: {smoke: ['timm:resnet18@scratch']}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    suite = load_suite(str(tmp_path / "mine.yaml"))
    assert [spec.fold for spec in plan_suite(suite, load_registry())] == [0, 1, 2]
    assert len(plan_suite(suite, load_registry(), repeats=1)) == 1
    with pytest.raises(ValidationError, match="repeats: go with a holdout"):
        SplitSpec(kind="kfold", folds=5, repeats=2)
    folded = suite.model_copy(update={"split": SplitSpec(kind="kfold", folds=5)})
    with pytest.raises(BenchError, match=r"'mine' has 5 folds.*--repeats is for suites with a holdout"):
        plan_suite(folded, load_registry(), repeats=2)


def test_a_split_that_the_data_set_prescribes_cannot_be_repeated(data):
    sides = ["train"] * 40 + ["test"] * (len(data) - 40)
    given_sides = [
        sample.__class__(**{**vars(sample), "case": sample.case.__class__(**{**vars(sample.case), "split": side})})
        for sample, side in zip(data.samples, sides, strict=True)
    ]
    prescribed = type(data)(data.spec, tuple(given_sides))
    with pytest.raises(DataError, match="prescribes one split, where 4 repeats are asked for"):
        split_folds(prescribed, FOUR, task="classification")


# ---- statistics ------------------------------------------------------------------------------------------------------


def test_nadeau_and_bengio_by_hand():
    values = np.array([0.70, 0.74, 0.78, 0.70])
    error = values.std(ddof=1) * np.sqrt(1 / 4 + 0.25)
    low, high = 0.73 - 3.182446 * error, 0.73 + 3.182446 * error  # t of 3 degrees of freedom
    assert corrected_interval(values)[:3] == pytest.approx((0.73, low, high), abs=1e-7)
    assert corrected_interval(values, bounds=(0.7, 0.75))[1:3] == (0.7, 0.75)
    assert corrected_interval(np.array([0.5])).low is corrected_interval(np.full(3, 0.1)).low is None


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.05, 1))
def test_p_is_the_level_at_which_the_interval_touches_zero(differences, ratio):
    values = np.array(differences)
    p = corrected_p(values, ratio=ratio)
    if p is None:
        assert np.ptp(values) <= 1e-11 * max(np.abs(values).max(), 1e-300) or np.ptp(values) < 1e-9
    elif 1e-6 < p < 0.999:
        found = corrected_interval(values, ratio=ratio, level=1 - p)
        assert min(abs(found.low), abs(found.high)) == pytest.approx(0, abs=1e-6)


def test_a_metric_without_a_group_is_the_mean_over_the_repeats():
    rng = np.random.default_rng(0)
    labels, repeats = np.array([0, 1, 1, 0, 1, 0, 1, 0, 1, 0]), np.array([0] * 5 + [2] * 5)
    groups = ["b", "a", "c", "d", "e", "f", "a", "b", "c", "g"]
    p = rng.dirichlet([1, 1], size=(2, 10))
    found = deleted(DEFINITIONS["f1.macro@1"], p, labels, groups=groups, repeats=repeats)
    said, names = p.argmax(axis=2), list(dict.fromkeys(groups))
    assert found.shape == (2, 1 + len(names))
    for column, left_out in enumerate([None, *names]):
        for seed in range(2):
            kept = [np.array([g != left_out for g in groups]) & (repeats == k) for k in (0, 2)]
            want = np.mean([f1_score(labels[rows], said[seed, rows], average="macro") for rows in kept])
            assert found[seed, column] == pytest.approx(want)


def test_a_case_of_several_repeats_counts_once():
    """The same scores of the same cases, four times over: no narrower than once."""
    rng = np.random.default_rng(1)
    once = rng.normal(size=(1, 30))
    cases, repeats = np.tile(np.arange(30), 4), np.repeat(np.arange(4), 30)
    found = crossed_interval(np.tile(once, 4), groups=cases, folds=repeats)
    alone = crossed_interval(once)
    assert found.high - found.low >= alone.high - alone.low
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.2)
    naive = crossed_interval(np.tile(once, 4), folds=repeats)
    assert naive.high - naive.low < 0.6 * (alone.high - alone.low)


# ---- reports ---------------------------------------------------------------------------------------------------------


def test_rows_count_cases_once_and_cluster_them(report):
    r = of(report, "tiny-lesion")
    assert r.repeats is not None
    assert set(r.repeats.tolist()) == {0, 1, 2, 3}
    assert r.case_table["case_id"].duplicated().any()
    assert not r.averaged.case_table["case_id"].duplicated().any()
    row = next(x for x in report.rows if (x.dataset, x.model, x.metric) == ("tiny-lesion", MODELS[0], "DSC"))
    used = r.case_table["lesion"].to_numpy(bool)
    scores, table = r.matrix("DSC")[:, used], r.case_table[used]
    assert row.n_cases == table["case_id"].nunique() < used.sum()
    want = crossed_interval(scores, groups=table["group_id"].tolist(), folds=table["fold"].tolist(), bounds=(0, 1))
    assert (row.mean, row.ci_low, row.ci_high) == pytest.approx(want[:3])


def test_averaged_cases_are_means_over_their_repeats(report):
    r = of(report, "tiny-lesion")
    means = r.cases.groupby(["seed", "case_id"])["DSC"].mean().unstack("case_id")
    np.testing.assert_allclose(r.averaged.matrix("DSC"), means.to_numpy())
    assert list(r.averaged.cases) == list(r.cases)


@pytest.mark.parametrize(("dataset", "metric"), [("tiny-lesion", "DSC"), ("tiny", "F1"), ("tiny", "ACC")])
def test_the_section_has_both_intervals(report, dataset, metric):
    r = of(report, dataset)
    found = [x for x in report.repeats if (x.dataset, x.metric) == (dataset, metric)]
    assert {(x.model, x.minus is None) for x in found} >= {(model, True) for model in MODELS}
    one = next(x for x in found if x.model == MODELS[0] and x.minus is None)
    values = []
    for k in range(4):
        rows = r.case_table["fold"].to_numpy() == k
        if metric == "DSC":
            values.append(r.matrix("DSC")[:, rows & r.case_table["lesion"].to_numpy(bool)].mean())
        else:
            labels, said = r.case_table["label"].to_numpy()[rows], r.probabilities.argmax(axis=2)[:, rows]
            each = [f1_score(labels, s, average="macro") if metric == "F1" else (labels == s).mean() for s in said]
            values.append(np.mean(each))
    assert (one.anew_mean, one.anew_low, one.anew_high) == pytest.approx(
        corrected_interval(np.array(values), bounds=(0, 1))[:3]
    )
    row = next(x for x in report.rows if (x.dataset, x.model, x.metric) == (dataset, MODELS[0], metric))
    assert (one.mean, one.ci_low, one.ci_high) == (row.mean, row.ci_low, row.ci_high)
    assert (one.n_repeats, one.n_seeds, one.n_train) == (4, 2, 500)


def test_pairs_are_compared_within_repeats(report):
    pair = next(c for c in report.comparisons if (c.dataset, c.metric) == ("tiny-lesion", "DSC"))
    anew = next(x for x in report.repeats if (x.dataset, x.metric, x.minus) == ("tiny-lesion", "DSC", pair.b))
    a, b = (of(report, "tiny-lesion", model) for model in (pair.a, pair.b))
    used = a.case_table["lesion"].to_numpy(bool)
    table, scores = a.case_table[used], [r.matrix("DSC")[:, used] for r in (a, b)]
    want = compare(*scores, groups=table["group_id"].tolist(), folds=table["fold"].tolist())
    assert (pair.difference, pair.ci_low, pair.ci_high) == pytest.approx(want.difference[:3])
    assert pair.n_cases == table["case_id"].nunique()
    means = pd.DataFrame({"d": (scores[0] - scores[1]).mean(axis=0), "k": table["fold"]}).groupby("k")["d"].mean()
    assert anew.anew_p == pytest.approx(corrected_p(means.to_numpy()))


@pytest.mark.parametrize("form", ["markdown", "latex", "json", "csv"])
def test_every_format_has_it(report, form):
    text = render([report], form)
    if form == "json":
        found = json.loads(text)["reports"] if "reports" in json.loads(text) else [json.loads(text)]
        assert len(found[0]["repeats"]) == len(report.repeats) > 0
    elif form != "csv":
        assert "Networks trained anew" in text
        assert "These networks on new cases" in text
        assert "given these training splits" in text


@pytest.mark.slow
def test_the_page_and_figures_show_each_case_once(runs, tmp_path):
    out = CliRunner().invoke(
        app, ["report", "--suite", "demo", "--runs", str(runs), "--format", "html", "--out", str(tmp_path / "p.html")]
    )
    assert out.exit_code == 0, out.output
    assert "Networks trained anew" in (tmp_path / "p.html").read_text()
    out = CliRunner().invoke(app, ["report", "--suite", "demo", "--runs", str(runs), "--figures", str(tmp_path / "f")])
    assert out.exit_code == 0, out.output
    assert list((tmp_path / "f").glob("*.svg"))


def test_a_seed_without_all_repeats_is_left_out(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    shutil.rmtree(next((tmp_path / "runs" / "demo" / "tiny-lesion").glob("usfm*/*")) / "fold-2" / "seed-1")
    text = "\n".join(build_report(Store(tmp_path / "runs"), "demo").notes)
    assert "seed 1 left out: 3 of 4 repeats are done" in text


def test_check_guards_repeats(runs, tmp_path):
    call, where = CliRunner().invoke, ["--runs", str(runs)]
    written = call(app, ["baseline", "--suite", "demo", *where, "--out", str(tmp_path / "b.json")])
    assert written.exit_code == 0, written.output
    checked = call(app, ["check", "--baseline", str(tmp_path / "b.json"), *where])
    assert checked.exit_code == 0, checked.output


def test_few_training_images_are_offered_repeats(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, models=MODELS[:1], datasets=("tiny",), seeds=2)
    for path in store.root.glob("*/*/*/*/*/*/record.json"):
        path.write_text(path.read_text().replace('"n_train": 500', '"n_train": 40'))
    text = render([build_report(store, "demo")], "markdown")
    assert "tiny (40 training images): which images train a network moves its score" in text
    assert "usfm-bench run --suite demo --repeats 10" in text
