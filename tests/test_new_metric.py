"""A classification metric of one's own: computed, or refused in words; and what a row says of all its trials."""

import json

import numpy as np
import pytest

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics.definitions import DEFINITIONS, Definition
from usfm_bench.reporting import build_report, render
from usfm_bench.results.frames import ModelResults
from usfm_bench.specs.task import TASKS
from usfm_bench.stats import classification_interval
from usfm_bench.stats.delete_one import class_metric
from usfm_bench.stats.jackknife import deleted


def g_mean(probabilities, labels):
    """Geometric mean of the recalls."""
    predicted = probabilities.argmax(axis=1)
    return float(np.prod([(predicted[labels == k] == k).mean() for k in np.unique(labels)]) ** (1 / len(set(labels))))


def definition(**more):
    return Definition("GMEAN", "gmean@1", "labels", "geometric mean of recalls", "fraction", "here", **more)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 8)
    probabilities = rng.dirichlet(np.ones(3), size=(2, 24))
    probabilities[:, np.arange(24), labels] += 0.2
    return probabilities / probabilities.sum(axis=-1, keepdims=True), labels, np.arange(24) // 2


def test_a_metric_without_a_closed_form_is_computed_anew_without_each_group(drawn):
    probabilities, labels, groups = drawn
    found = deleted(definition(compute=g_mean), probabilities, labels, groups=groups)
    kept = [np.ones(24, bool), *(groups != g for g in range(12))]
    assert found.tolist() == [[g_mean(p[rows], labels[rows]) for rows in kept] for p in probabilities]
    interval = classification_interval(definition(compute=g_mean), probabilities, labels, groups=groups)
    assert interval.low < interval.point < interval.high


def test_a_metric_of_one_class_gets_that_class_as_the_second_of_two(drawn):
    probabilities, labels, groups = drawn

    def share(two, truth):
        assert two.shape[1] == 2
        return float(two[truth == 1, 1].mean())

    found = deleted(definition(compute=share, averaging="class"), probabilities, labels, groups=groups, only=2)
    assert found[:, 0] == pytest.approx(probabilities[:, labels == 2, 2].mean(axis=1))


@pytest.mark.parametrize(
    ("metric", "averaging"),
    [("GMEAN", ""), ("GMEAN", "macro"), ("BRIER", ""), ("ACC", ""), ("AUPRC", ""), ("MCC", "top")],
)
def test_without_a_closed_form_and_a_function_it_is_refused_in_words(drawn, metric, averaging):
    probabilities, labels, groups = drawn
    with pytest.raises(BenchError, match=f"{metric}: has no closed form .* needs `compute`"):
        class_metric(metric, averaging, probabilities[0], labels, groups)


def test_a_primary_metric_of_a_new_name_stands_behind_the_others_and_in_the_report(make_store, monkeypatch):
    new = definition(compute=g_mean, primary=True)
    monkeypatch.setitem(DEFINITIONS._entries, new.id, new)
    assert [d.name for d in TASKS["classification"].primary()][-1] == "GMEAN"
    report = build_report(make_store(datasets=["tiny"], seeds=2), "demo")
    for results in report.results:
        (row,) = (r for r in report.rows if (r.metric, r.model) == ("GMEAN", results.first.spec.model))
        labels = results.case_table["label"].to_numpy()
        assert row.mean == pytest.approx(np.mean([g_mean(p, labels) for p in results.probabilities]))


def test_test_images_that_one_trial_has_seen_are_said_of_the_row(make_store):
    store = make_store(seeds=2)
    paths = sorted(store.root.rglob("record.json"))
    last = [path for path in paths if "seed-1" in str(path)]
    for path, seen in zip(last, (True, None, False), strict=True):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seen_in_pretraining": seen}))
    report = build_report(store, "demo")
    said = {row.model: row.seen_in_pretraining for row in report.rows if row.source == "measured"}
    expected = {
        json.loads(path.read_text())["spec"]["model"]: seen
        for path, seen in zip(last, (True, None, False), strict=True)
    }
    assert said == expected
    assert f"YES for {next(name for name, seen in expected.items() if seen)}" in render([report], "markdown")


@pytest.mark.parametrize(
    ("of_trials", "said"),
    [([False, True, None], True), ([None, True], True), ([False, None], None), ([None], None), ([False, False], False)],
)
def test_seen_is_any_and_unknown_where_some_trial_is(make_store, of_trials, said):
    record = build_report(make_store(seeds=1), "demo").results[0].first
    records = tuple(record.model_copy(update={"seen_in_pretraining": seen}) for seen in of_trials)
    assert ModelResults(records, cases=None).seen_in_pretraining is said
