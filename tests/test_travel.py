"""Decisions on other data sets: by hand from the cases, thresholds that stay, local cases, net benefit."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from invented import invent_evaluations, invent_store
from usfm_bench.cli.app import app
from usfm_bench.metrics.operating import SENSITIVITIES, threshold_for_sensitivity
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.figures.net_benefit import net_benefit_figures
from usfm_bench.reporting.travel import DRAWS, LOCAL, THRESHOLDS, travel_of
from usfm_bench.results.evaluation import evaluation_folder
from usfm_bench.specs.dataset import load_registry
from usfm_bench.stats import crossed_interval
from usfm_bench.stats.intervals import paired_interval
from usfm_bench.stats.net_benefit import benefit_of_all, net_benefit

MODEL = "unet-resnet18-scratch"


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_registry):
    folder = tmp_path_factory.mktemp("travel")
    registry = folder / "registry.yaml"
    registry.write_text(tiny_registry.read_text() + POSITIVE)
    store = invent_store(folder, registry, datasets=("tiny-positive",), seeds=3)
    options = {"n": 60, "size": 64, "seed": 5}
    other = load_registry()["phantom"].model_copy(update={"name": "other", "options": options})
    invent_evaluations(store, other, folder)
    return store


POSITIVE = """
tiny-positive:
  extends: tiny
  positive: malignant
"""


@pytest.fixture(scope="module")
def report(store):
    return build_report(store, "demo")


def cases_of(store, model, target=None):
    """The cases of each seed, those of the target or the trial's own, and what validation chose."""
    found = {}
    for folder, record in store.finished("demo"):
        if record.spec.model == model:
            place = folder if target is None else evaluation_folder(folder, target)
            found[record.spec.seed] = pd.read_parquet(place / "cases.parquet"), record.tuned
    return [found[seed] for seed in sorted(found)]


@pytest.mark.parametrize("level", [0.9, 0.95, 0.5])
def test_the_threshold_is_the_highest_that_keeps_the_sensitivity(level):
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores = rng.integers(0, 12, 30).astype(float)  # with ties
        positive = rng.random(30) < 0.4
        if not positive.any() or positive.all():
            assert threshold_for_sensitivity(scores, positive, level) is None
            continue
        found = threshold_for_sensitivity(scores, positive, level)
        kept = [t for t in np.unique(scores) if (scores >= t)[positive].mean() >= level - 1e-12]
        assert found == max(kept)


def test_validation_chooses_it_for_every_trial(store):
    [record, *_] = [record for _, record in store.finished("demo")]
    assert SENSITIVITIES.keys() <= record.tuned.thresholds.keys()


def test_rates_and_predictive_values_are_those_of_the_decisions(store, report):
    rows = {row.rule: row for row in report.travel.thresholds if row.model == report.travel.thresholds[0].model}
    assert rows.keys() == {"f1", "spec90", "spec95", "sens90"}
    for rule, row in rows.items():
        found = {"sensitivity": [], "specificity": [], "ppv": [], "npv": [], "stated_ppv": [], "stated_npv": []}
        for cases, _ in cases_of(store, row.model, "other"):
            said, true = cases[f"at_{rule}"].to_numpy(bool), (cases["class"] == "malignant").to_numpy()
            sen, spec, p = said[true].mean(), (~said[~true]).mean(), row.stated
            found["sensitivity"].append(sen)
            found["specificity"].append(spec)
            found["ppv"].append(true[said].mean() if said.any() else 0)
            found["npv"].append((~true[~said]).mean() if (~said).any() else 0)
            called, not_called = p * sen + (1 - p) * (1 - spec), p * (1 - sen) + (1 - p) * spec
            found["stated_ppv"].append(p * sen / called if called else 0)
            found["stated_npv"].append((1 - p) * spec / not_called if not_called else 0)
        for name, values in found.items():
            interval = getattr(row, name)
            assert interval.point == pytest.approx(np.mean(values)), (rule, name)
            if interval.low is not None:
                assert interval.low <= interval.point <= interval.high
        own = [cases["at_" + rule][cases["class"] == "malignant"].mean() for cases, _ in cases_of(store, row.model)]
        assert row.internal_sensitivity.point == pytest.approx(np.mean(own))
        assert row.n_cases == 60
        assert row.prevalence == pytest.approx(row.n_positive / 60)


def test_another_stated_prevalence_moves_predictive_values_alone(report):
    other = travel_of(report.results, report.targets, np.random.default_rng(0), 0.5).thresholds
    for a, b in zip(report.travel.thresholds, other, strict=True):
        assert (a.sensitivity, a.specificity, a.ppv, a.npv) == (b.sensitivity, b.specificity, b.ppv, b.npv)
        assert a.stated_ppv.point <= b.stated_ppv.point
        assert a.stated_npv.point >= b.stated_npv.point


def test_local_cases_choose_a_threshold_and_the_others_are_scored(store, report):
    model = report.travel.local[0].model
    rows = {row.n: row for row in report.travel.local if row.model == model}
    assert rows.keys() == {0, *LOCAL}
    each = [cases.sort_values("case_id") for cases, _ in cases_of(store, model, "other")]
    truth = (each[0]["class"] == "malignant").to_numpy()
    assert rows[0].sensitivity == pytest.approx(np.mean([c["at_sens90"][truth].mean() for c in each]))
    # The same once more, case by case, with draws of its own: means of many draws agree.
    rng, found = np.random.default_rng(1), []
    groups = each[0]["group_id"].to_numpy()
    assert len(set(groups)) == len(groups)
    for _ in range(DRAWS):
        order = rng.permutation(60)
        local, rest = order[:20], order[20:]
        if not truth[local].any() or not truth[rest].any():
            continue
        hits = []
        for c in each:
            p = c["p_malignant"].to_numpy()
            kept = np.sort(p[local][truth[local]])
            hits.append((p[rest][truth[rest]] >= kept[int(len(kept) * 0.1 + 1e-9)]).mean())
        found.append(np.mean(hits))
    assert rows[20].sensitivity == pytest.approx(np.mean(found), abs=5 * np.std(found) / DRAWS**0.5)
    assert rows[20].low <= rows[20].sensitivity <= rows[20].high
    assert rows[10].sensitivity < 0.9  # of few positives the lowest is no bound for the next


def test_net_benefit_is_that_of_the_confusion_matrix():
    rng = np.random.default_rng(3)
    probabilities, positive = rng.random((4, 50)), rng.random(50) < 0.3
    for t in THRESHOLDS:
        acted = probabilities >= t
        tp, fp = (acted & positive).sum(axis=1), (acted & ~positive).sum(axis=1)
        expected = tp / 50 - fp / 50 * t / (1 - t)
        np.testing.assert_allclose(net_benefit(probabilities, positive, t).mean(axis=1), expected, atol=1e-12)
        assert benefit_of_all(positive, t).mean() == pytest.approx(positive.mean() - (~positive).mean() * t / (1 - t))
    # To act on all is worth nothing where the threshold is the prevalence.
    assert benefit_of_all(np.arange(10) < 3, 0.3).mean() == pytest.approx(0)


def test_curves_are_of_scaled_probabilities_and_paired_with_acting_on_all(store, report):
    row = next(row for row in report.travel.benefits if row.target == "other")
    each = [cases.sort_values("case_id") for cases, _ in cases_of(store, row.model, "other")]
    truth = (each[0]["class"] == "malignant").to_numpy()
    p = np.stack([cases["t_malignant"].to_numpy() for cases in each])
    at = THRESHOLDS.index(0.3)
    scores = net_benefit(p, truth, 0.3)
    groups = each[0]["group_id"].to_numpy()
    assert row.scaled
    assert row.values[at] == pytest.approx(crossed_interval(scores, groups=groups))
    assert row.beyond[at] == pytest.approx(paired_interval(scores - benefit_of_all(truth, 0.3), groups=groups))


def test_sections_json_and_figures_say_it(report):
    text = render([report], "markdown", ["travel"])
    for words in (
        "Thresholds on other data sets",
        "Calibration on",
        "Local cases that",
        "Net benefit of acting",
        "PPV at 10 %",
    ):
        assert words in text
    data = json.loads(render([report], "json", []))["decisions_elsewhere"]
    assert {row["rule"] for row in data["thresholds"]} == {"f1", "spec90", "spec95", "sens90"}
    assert len(data["benefits"][0]["values"]) == len(data["benefit_thresholds"]) == len(THRESHOLDS)
    assert {"point", "low", "high"} <= data["calibrations"][0]["external_scaled"].keys()
    [figure] = net_benefit_figures(report, 180)
    assert len([axes for axes in figure.figure.axes if axes.get_visible()]) == 2


def test_another_prevalence_can_be_stated_and_one_outside_is_refused(store):
    run = CliRunner()
    where = ["report", "--suite", "demo", "--runs", str(store.root), "--sections", "travel", "--format", "markdown"]
    assert "NPV at 2 %" in run.invoke(app, [*where, "--prevalence", "0.02"]).output
    for share in ("0", "1", "20"):
        result = run.invoke(app, [*where, "--prevalence", share])
        assert result.exit_code
        assert "above 0 and below 1" in str(result.exception) + result.output


def test_without_a_positive_class_there_is_nothing_to_decide(make_store):
    report = build_report(make_store(datasets=("tiny-lesion",)), "demo")
    assert not report.travel.benefits
    assert "names a positive class" in render([report], "markdown", ["travel"])
