"""Comparisons, ranks and spreads of a report, against the statistics they are made from and by hand."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

from conftest import TINY
from invented import invent_store
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.coverage import expected_coverage
from usfm_bench.results.store import Store
from usfm_bench.stats import compare, crossed_interval, holm, variance_components
from usfm_bench.stats.design import Design
from usfm_bench.stats.design.grid import nearest_coverage

UNET, MICRO, RESNET = "unet-resnet18-scratch", "usfm-micro-scratch", "timm:resnet18@scratch"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_registry):
    """Three models on lesions and two on two data sets with classes."""
    made = tmp_path_factory.mktemp("statistics")
    invent_store(made, tiny_registry, datasets=("tiny-lesion", "tiny", "tiny-clinical"))
    return made


@pytest.fixture(scope="module")
def report(folder):
    return build_report(Store(folder / "runs"), "demo")


def of(report, dataset, model):
    return next(r for r in report.results if (r.first.spec.dataset.name, r.first.spec.model) == (dataset, model))


def scores(results, column="DSC"):
    return results.matrix(column)[:, results.case_table["lesion"].to_numpy(bool)]


def test_every_pair_is_compared_by_both_headline_metrics(report):
    by_table = {table: [c for c in report.comparisons if c.table == table] for table in ("1", "2")}
    assert [len(by_table[t]) for t in ("1", "2")] == [3 * 2, 2 * 2]
    assert {c.metric for c in by_table["1"]} == {"DSC", "HD95"}
    assert {c.metric for c in by_table["2"]} == {"ACC", "F1"}
    assert {c.family for c in by_table["1"]} == {6}


def test_a_comparison_is_that_of_the_case_scores(report):
    pair = next(c for c in report.comparisons if c.metric == "DSC" and {c.a, c.b} == {UNET, MICRO})
    a, b = (scores(of(report, "tiny-lesion", model)) for model in (pair.a, pair.b))
    table = of(report, "tiny-lesion", UNET).case_table
    expected = compare(a, b, groups=table["group_id"][table["lesion"]].tolist())
    assert pair.difference == pytest.approx(a.mean() - b.mean())
    assert (pair.ci_low, pair.ci_high) == pytest.approx(expected.difference[1:3])
    assert pair.p_value == pytest.approx(expected.p_value)
    assert (pair.detectable, pair.cases_needed) == (pytest.approx(expected.detectable), expected.cases_needed)
    assert (pair.n_seeds, pair.n_cases) == a.shape


def test_the_better_one_stands_first_whatever_better_means(report):
    for c in report.comparisons:
        assert c.difference >= 0 if DEFINITIONS[c.definition].higher_is_better else c.difference <= 0
        assert 0.5 <= c.probability_better <= 1 - c.p_value / 2 + 1e-12  # shrunk
        assert c.false_claim == pytest.approx(1 - c.probability_better)


def test_differences_are_those_of_the_table(report):
    means = {(r.dataset, r.model, r.definition): r.mean for r in report.rows if r.source == "measured"}
    for c in report.comparisons:
        expected = means[c.dataset, c.a, c.definition] - means[c.dataset, c.b, c.definition]
        assert c.difference == pytest.approx(expected)


def test_holm_is_over_the_pairs_of_a_table(report):
    for table in ("1", "2"):
        pairs = [c for c in report.comparisons if c.table == table]
        assert [c.p_holm for c in pairs] == pytest.approx(holm([c.p_value for c in pairs]))


def test_seeds_and_cases_that_only_one_has_are_left_out(folder, tmp_path, tiny_registry):
    invent_store(tmp_path, tiny_registry, [UNET], seeds=3)
    invent_store(tmp_path, tiny_registry, [MICRO], seeds=2)
    [dsc, _] = build_report(Store(tmp_path / "runs"), "demo").comparisons
    assert dsc.n_seeds == 2


def test_models_without_a_common_seed_are_not_compared_and_the_reason_is_shown(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, [UNET, MICRO], seeds=2)
    for model, seed in ((UNET, 0), (MICRO, 1)):
        [gone] = (tmp_path / "runs").glob(f"demo/tiny-lesion/{model}/smoke/fold-0/seed-{seed}/record.json")
        gone.unlink()
    report = build_report(Store(store.root), "demo")
    assert {c.reason for c in report.comparisons} == {"no seed in common"}
    assert "are not compared: no seed in common" in render([report], "markdown", ["all"])


def test_other_states_of_the_data_are_not_compared(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, [UNET, MICRO], seeds=2)
    for path in (tmp_path / "runs").glob(f"demo/tiny-lesion/{MICRO}/smoke/fold-0/*/record.json"):
        path.write_text(path.read_text().replace('"data_hash": "', '"data_hash": "f'))
    report = build_report(Store(store.root), "demo")
    assert {c.reason for c in report.comparisons} == {"other states of the data"}
    assert {reason for r in report.rankings for reason in r.left_out} == set()  # nothing is left to rank
    assert report.rankings == ()


def test_a_spread_is_taken_apart(report):
    spread = next(s for s in report.spreads if (s.metric, s.model) == ("DSC", UNET))
    results = of(report, "tiny-lesion", UNET)
    groups = results.case_table["group_id"][results.case_table["lesion"]].tolist()
    parts = variance_components(scores(results), groups)
    assert spread.share_seeds + spread.share_groups + spread.share_residual == pytest.approx(1)
    assert spread.sd_seeds**2 / 3 == pytest.approx(parts.seeds)
    assert spread.sd_groups**2 / spread.n_groups + spread.sd_residual**2 / (3 * spread.n_groups) == pytest.approx(
        parts.cases
    )
    wider = crossed_interval(scores(results), groups=groups)
    va, vb, n = parts.seeds, parts.cases / 2, 2 * spread.n_groups
    t = (va * stats.t.ppf(0.975, 2) + vb * stats.t.ppf(0.975, n - 1)) / (va + vb)
    assert spread.twice_cases == pytest.approx(t * (va + vb) ** 0.5 / (wider.high - wider.point))


def test_one_seed_has_no_spread_of_seeds_and_is_advised(make_store):
    report = build_report(make_store(seeds=1), "demo")
    assert {s.sd_seeds for s in report.spreads} == {None}
    text = render([report], "markdown", ["all"])
    assert "One seed says nothing of how much another training differs" in text
    assert "With one seed p and the probabilities are for these trained networks" in text


def test_ranks_follow_the_means(tmp_path):
    registry = tmp_path / "two.yaml"
    other = "other-lesion: {extends: phantom-lesion, tasks: [segmentation], options: {n: 30, size: 64}}"
    registry.write_text(f"{TINY}{other}\n")
    store = invent_store(tmp_path, registry, datasets=("tiny-lesion", "other-lesion"), seeds=2)
    report = build_report(store, "demo")
    assert [r.definition.name for r in report.rankings] == ["DSC", "HD95"]
    for of in report.rankings:
        assert sum(m.first for m in of.ranking.models) == pytest.approx(1)
        for dataset in of.ranking.datasets:
            place = (dataset, of.definition.id)
            means = {r.model: r.mean for r in report.rows if (r.dataset, r.definition) == place}
            ranks = {m.model: m.ranks[dataset] for m in of.ranking.models}
            best = (max if of.definition.higher_is_better else min)(means, key=means.get)
            assert min(ranks, key=ranks.get) == best


def test_one_data_set_is_not_ranked_and_says_so_to_those_who_ask(make_store):
    report = build_report(make_store(seeds=1), "demo")
    assert report.rankings == ()
    assert json.loads(render([report], "json"))["rankings"] == []
    assert "anking" not in render([report], "markdown", ["all"])
    assert render([report], "markdown", ["rankings"]).splitlines()[2:] == [
        "- No ranking: it needs two models, and two data sets that share no test cases."
    ]


def test_a_model_without_one_of_the_data_sets_has_no_overall_rank(tmp_path, tiny_registry):
    invent_store(tmp_path, tiny_registry, [MICRO, RESNET], ["tiny", "tiny-clinical"], seeds=2)
    invent_store(tmp_path, tiny_registry, ["timm:resnet34@scratch"], ["tiny"], seeds=2)
    report = build_report(Store(tmp_path / "runs"), "demo")
    [lacking] = [m for m in report.rankings[0].ranking.models if m.mean_rank is None]
    assert (lacking.model, lacking.missing) == ("timm:resnet34@scratch", ("tiny-clinical",))
    text = render([report], "markdown", ["all"])
    assert "No overall rank, since a data set is missing: timm:resnet34@scratch" in text


def test_of_many_models_pairs_with_the_best_are_shown_and_json_has_all(make_store):
    models = [UNET, MICRO, RESNET, "timm:resnet34@scratch", "timm:resnet50@scratch"]
    report = build_report(make_store(models=models, seeds=2), "demo")
    content = json.loads(render([report], "json"))
    assert len(content["comparisons"]) == 2 * 10
    assert "12 pairs without the best model of a data set are not shown" in render([report], "markdown", ["all"])


def test_json_holds_everything_and_no_nan(report):
    text = render([report], "json")
    content = json.loads(text)
    assert "NaN" not in text
    assert len(content["rankings"]) == 2  # of the table with two data sets
    assert {"p_holm", "false_claim", "detectable", "seeds_needed"} <= content["comparisons"][0].keys()
    assert len(content["spreads"]) == len(report.spreads) == 2 * (3 + 2 + 2)


def test_the_same_report_twice_is_the_same(folder):
    one, other = (render([build_report(Store(folder / "runs"), "demo")], "json") for _ in range(2))
    assert one == other


def test_missed_lesions_left_out_of_distances_are_left_out_of_their_comparison(folder):
    report = build_report(Store(folder / "runs"), "demo", missed="exclude")
    hd95 = [c for c in report.comparisons if c.metric == "HD95"]
    assert {(c.definition, c.n_cases) for c in hd95} == {("hd95.pooled.native.px.exclude@1", 23)}
    means = {(r.model, r.definition): r.mean for r in report.rows if r.source == "measured"}
    for c in hd95:
        assert c.difference == pytest.approx(means[c.a, c.definition] - means[c.b, c.definition])


def test_a_metric_that_needs_one_of_the_groups_is_left_out(make_store):
    store = make_store(datasets=["tiny", "tiny-clinical"], models=[MICRO, RESNET], seeds=2)
    for path in store.root.rglob("tiny-clinical/**/cases.parquet"):
        cases = pd.read_parquet(path)
        cases.loc[cases["class"] == "malignant", "group_id"] = "one patient"
        cases.to_parquet(path, index=False)
    report = build_report(store, "demo")
    found = {c.metric: c.reason for c in report.comparisons if c.dataset == "tiny-clinical"}
    assert found == {"ACC": "", "F1": "undefined without one of the groups of cases"}
    assert [r.definition.name for r in report.rankings] == ["ACC"]
    assert np.isfinite([c.difference for c in report.comparisons if c.metric == "ACC"]).all()


def test_a_named_baseline_has_a_family_of_its_own(make_store):
    models = ["usfm-micro-scratch", "unet-resnet18-scratch", "timm:test_resnet@scratch", "usfm-tiny-scratch"]
    store = make_store(models=models, datasets=["tiny-lesion"])
    whole = build_report(store, "demo").comparisons
    named = build_report(store, "demo", against="unet-resnet18-scratch").comparisons
    assert len(whole) == 2 * 6
    assert len(named) == 2 * 3
    kept = {(c.metric, frozenset((c.a, c.b))): c for c in whole}
    assert all("unet-resnet18-scratch" in (c.a, c.b) for c in named)
    assert all(kept[c.metric, frozenset((c.a, c.b))].p_value == c.p_value for c in named)
    tested = [c for c in named if c.p_value is not None]
    assert [c.p_holm for c in tested] == pytest.approx(holm([c.p_value for c in tested]))
    assert all(c.p_holm <= kept[c.metric, frozenset((c.a, c.b))].p_holm + 1e-12 for c in tested)
    assert {(c.family, c.against) for c in named} == {(len(tested), "unet-resnet18-scratch")}
    arguments = ["report", "--suite", "demo", "--runs", str(store.root), "--sections", "comparisons"]
    text = CliRunner().invoke(app, [*arguments, "--against", "unet-resnet18-scratch"]).output
    assert f"over all {len(tested)} comparisons of this table, of every model with unet-resnet18-scratch" in text
    assert "share a letter" not in text
    with pytest.raises(BenchError, match="Did you mean 'unet-resnet18-scratch'"):
        build_report(store, "demo", against="unet-resnet18")


def _changed(store, model, change, seed=None):
    for path in sorted(store.root.rglob("cases.parquet")):
        if model in str(path) and (seed is None or f"seed-{seed}" in str(path)):
            change(pd.read_parquet(path)).to_parquet(path, index=False)


def test_a_pair_that_lacks_seeds_or_cases_of_the_table_says_so(make_store):
    store = make_store(models=[UNET, MICRO])
    for path in store.root.rglob("seed-2/record.json"):
        if UNET in str(path):
            path.unlink()
    text = render([build_report(store, "demo")], "markdown", ["comparisons"])
    assert "are compared by the 2 seeds (of 3 and 2) and 24 cases (of 24) that both have" in text
    assert "are compared by the" not in render([build_report(make_store(), "demo")], "markdown", ["comparisons"])


def test_a_case_that_stands_twice_and_a_row_without_probabilities_are_named(make_store):
    store = make_store(models=[MICRO], datasets=("tiny-lesion",))
    _changed(store, MICRO, lambda cases: pd.concat([cases, cases.iloc[:1]]))
    with pytest.raises(BenchError, match=rf"tiny-lesion / {MICRO}: `cases.parquet` holds 1 cases twice"):
        build_report(store, "demo")
    store = make_store(models=[RESNET], datasets=("tiny",))
    shutil.rmtree(store.root / "demo" / "tiny-lesion")
    _changed(store, "resnet18", lambda cases: cases.assign(p_benign=np.nan), seed=1)
    with pytest.raises(BenchError, match=r"tiny / timm:resnet18@scratch: .* has 36 rows without probabilities"):
        build_report(store, "demo")


def test_sizes_whose_intervals_cover_less_are_named_with_the_number(report):
    """Of 40 cases in 40 groups and so on the table has the number; this only says where it is printed."""
    low = [note for note in report.notes if "in simulated studies of about this size" in note]
    assert all("docs/coverage.md" in note for note in low)
    assert expected_coverage("BRIER", 3, 36, 36, 1 / 3) == nearest_coverage("BRIER", Design(36, 3, 36, 12))
    assert expected_coverage("BRIER", 1, 36, 36, 1 / 3) is None


def test_trainings_that_scatter_near_the_end_of_a_metric_are_named_with_what_comparisons_err(make_store):
    store = make_store(models=[UNET, MICRO], datasets=("tiny-lesion",))
    said = "scatter in DSC by more than half of their distance from its end"
    for seed, mean in enumerate((0.99, 0.98, 0.80)):
        _changed(store, UNET, lambda cases, mean=mean: cases.assign(DSC=mean), seed=seed)
        _changed(store, MICRO, lambda cases, mean=mean: cases.assign(DSC=0.9 + mean / 100), seed=seed)
    [note] = [note for note in build_report(store, "demo").notes if said in note]
    assert note.startswith(f"tiny-lesion: trainings of {UNET} scatter")  # mean 0.923, standard deviation 0.107
    assert "in up to 27 % (docs/type-one.md)" in note
    for seed, mean in enumerate((0.92, 0.93, 0.91)):
        _changed(store, UNET, lambda cases, mean=mean: cases.assign(DSC=mean), seed=seed)
    assert not any(said in note for note in build_report(store, "demo").notes)
