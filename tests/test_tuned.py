"""What validation chooses: temperatures and thresholds, by hand, by brute force, and never by test cases."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit
from sklearn import metrics as sk

from invented import invent_store
from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.dataset import open_dataset
from usfm_bench.metrics import find_definitions
from usfm_bench.metrics.logits import log_odds, softmax
from usfm_bench.metrics.operating import (
    COLDEST,
    HOTTEST,
    SPECIFICITIES,
    choose,
    fit_temperature,
    threshold_for_f1,
    threshold_for_specificity,
)
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.rows import set_rows
from usfm_bench.reporting.tuning import tuning_notes
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.rescore import find_trials, update_trial
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.tasks.classification import ClassificationPredictions
from usfm_bench.tasks.scoring import score_cases

FEW = settings(max_examples=60, deadline=None)
MICRO = "usfm-micro-scratch"
CLASSES = ("normal", "benign", "malignant")

TASK = TASKS["classification"]


def likelihood(logits, labels, temperature):
    return -np.log(softmax(logits, temperature)[np.arange(len(labels)), labels]).mean()


def sampled(temperature, n, seed=0):
    """Logits, and labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 3)).astype(np.float32)
    odds = softmax(logits, temperature)
    return logits, (rng.random((n, 1)) > odds.cumsum(axis=1)).sum(axis=1)


@pytest.mark.parametrize("truth", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(truth):
    assert fit_temperature(*sampled(truth, 20_000)) == pytest.approx(truth, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_of_a_grid_is_likelier(seed):
    logits, labels = sampled(2.0, 30, seed)
    found, grid = fit_temperature(logits, labels), np.geomspace(COLDEST, HOTTEST, 2001)
    losses = [likelihood(logits, labels, t) for t in grid]
    assert likelihood(logits, labels, found) <= min(losses)
    assert found == pytest.approx(grid[np.argmin(losses)], rel=2 * np.log(HOTTEST / COLDEST) / 2000)


def test_a_temperature_by_hand():
    # Half are right, to which the softmax comes only as T grows without end.
    assert fit_temperature(np.log([[3, 1], [3, 1]]), np.array([0, 1])) == HOTTEST
    # Three of four right: 3/4 = 9^(1/T) / (9^(1/T) + 1), so 9^(1/T) = 3 and T = 2.
    assert fit_temperature(np.log([[9, 1]] * 4), np.array([0, 0, 0, 1])) == pytest.approx(2, rel=1e-12)
    assert fit_temperature(np.log([[9, 1]] * 4), np.zeros(4, int)) == COLDEST


logits_of_three = arrays(np.float32, (8, 3), elements=st.integers(-640, 640).map(lambda i: i / 64))


@FEW
@given(logits_of_three, st.floats(COLDEST, HOTTEST))
def test_no_temperature_changes_the_predicted_class(logits, temperature):
    np.testing.assert_array_equal(softmax(logits, temperature).argmax(axis=1), logits.argmax(axis=1))


SCORES = np.array([0.1, 0.2, 0.3, 0.3, 0.6, 0.8])
POSITIVE = np.array([0, 1, 0, 1, 0, 1], bool)


def test_thresholds_by_hand_with_ties():
    # t = 0.8: TP 1, F1 = 2/(1+3). 0.3: TP 2, said 4, F1 = 4/7. 0.2: TP 3, said 5, F1 = 6/8, the highest.
    assert threshold_for_f1(SCORES, POSITIVE) == 0.2
    # Equal F1: at 0.9 TP 1, said 1, 2/(1+2); at 0.1 TP 2, said 4, 4/(4+2). The higher has fewer false alarms.
    assert threshold_for_f1(np.array([0.9, 0.5, 0.5, 0.1]), np.array([1, 0, 0, 1], bool)) == 0.9
    # Three negatives: 2/3 allows one false alarm (0.6), and the next, 0.3, must stay below, with its positive twin.
    found = threshold_for_specificity(SCORES, POSITIVE, 2 / 3)
    assert found == np.nextafter(0.3, 1)
    assert (found <= SCORES).tolist() == [False, False, False, False, True, True]
    # 90 % of three allows none.
    assert threshold_for_specificity(SCORES, POSITIVE, 0.9) == np.nextafter(0.6, 1)


def test_ten_negatives_allow_one_false_alarm_at_90_percent_and_twenty_at_95():
    for n, level in ((10, 0.9), (20, 0.95), (70, 0.9)):
        scores = np.arange(n + 1) / n
        found = threshold_for_specificity(scores, np.arange(n + 1) == n, level)
        assert (scores[:-1] >= found).sum() == round(n * (1 - level))


def test_a_negative_that_saturates_leaves_nothing_to_call_positive():
    found = threshold_for_specificity(np.array([1.0, 1.0, 0.2]), np.array([False, True, False]), 0.9)
    assert 1 < found < 1.001


@pytest.mark.parametrize("positive", [np.zeros(6, bool), np.ones(6, bool)])
def test_without_a_case_of_either_kind_there_is_no_threshold(positive):
    assert threshold_for_f1(SCORES, positive) is None
    assert threshold_for_specificity(SCORES, positive, 0.9) is None


@FEW
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=14), st.sampled_from([0.5, 0.8, 0.9]))
def test_no_cut_does_better_than_the_chosen_one(cases, level):
    scores, positive = np.array([s for s, _ in cases]) / 8, np.array([p for _, p in cases])
    if positive.all() or not positive.any():
        return
    # Every way to divide the scores, from the highest cut to the lowest.
    cuts = sorted({*scores, *np.nextafter(scores, np.inf)}, reverse=True)
    f1 = [2 * (positive & (scores >= cut)).sum() / (positive.sum() + (scores >= cut).sum()) for cut in cuts]
    best = cuts[int(np.argmax(f1))]
    assert ((scores >= threshold_for_f1(scores, positive)) == (scores >= best)).all()
    chosen = threshold_for_specificity(scores, positive, level)
    specific = [cut for cut in cuts if (~(scores >= cut))[~positive].mean() >= level - 1e-12]
    assert chosen == min(specific)


def invented(n=40, seed=0, **changes):
    rng = np.random.default_rng(seed)
    (labels, val_labels), noise = rng.integers(0, 3, (2, n)), rng.normal(size=(2, n, 3))
    test, val = (1.5 * np.eye(3)[of] + noise[i] for i, of in enumerate((labels, val_labels)))
    names = tuple(f"c{i}" for i in range(n))
    made = ClassificationPredictions(
        names, test.astype(np.float32), labels, CLASSES, val.astype(np.float32), val_labels
    )
    return replace(made, **changes)


def who_of(predictions):
    return pd.DataFrame({"case_id": predictions.case_ids, "group_id": predictions.case_ids, "class": "x"})


def test_test_cases_choose_nothing():
    one = invented()
    other = replace(one, labels=(one.labels + 1) % 3, logits=one.logits[::-1])
    assert TASK.tune(one, "malignant") == TASK.tune(other, "malignant")
    turned = replace(one, val_labels=(one.val_labels + 1) % 3)
    assert TASK.tune(one, "malignant").thresholds != TASK.tune(turned, "malignant").thresholds
    assert TASK.tune(one, "malignant").temperature != TASK.tune(turned, "malignant").temperature


def test_the_table_of_cases_has_what_was_chosen():
    drawn = invented()
    # The same cases on both sides: one of them has the threshold itself as its score, and is called positive.
    predictions = replace(drawn, val_logits=drawn.logits, val_labels=drawn.labels)
    tuned = TASK.tune(predictions, "malignant")
    odds = log_odds(predictions.logits)[:, 2]
    assert tuned.thresholds["f1"] in odds
    cases = score_cases(TASK, predictions, who_of(predictions), tuned=tuned)
    scaled = cases[[f"t_{name}" for name in CLASSES]].to_numpy()
    np.testing.assert_allclose(scaled, softmax(predictions.logits / np.float64(tuned.temperature)))
    for rule in ("f1", *SPECIFICITIES):
        expected = odds >= tuned.thresholds[rule]
        assert cases[f"at_{rule}"].tolist() == expected.tolist()
    assert (tuned.positive, tuned.n, tuned.n_positive) == ("malignant", 40, int((predictions.val_labels == 2).sum()))


def test_without_validation_or_positive_class_or_finite_logits_nothing_is_made_up():
    old = invented(val_logits=None, val_labels=None)
    assert TASK.tune(old, "malignant") is None
    assert not [name for name in score_cases(TASK, old, who_of(old)) if name.startswith(("t_", "at_"))]
    assert TASK.tune(invented(), None).thresholds == {}
    assert TASK.tune(invented(val_labels=np.zeros(40, int)), "malignant").thresholds == {}
    assert choose(np.full((2, 3), np.nan), np.array([0, 1]), CLASSES) is None


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_registry):
    """One model on a data set with a positive class, two seeds; not to be changed."""
    return invent_store(tmp_path_factory.mktemp("tuned"), tiny_registry, [MICRO], ["tiny-clinical"], seeds=2)


@pytest.fixture(scope="module")
def report(store):
    return build_report(store, "demo")


def test_rows_are_those_of_the_thresholds_of_each_seed(store, report):
    rows = {row.definition: row for row in report.rows if row.definition}
    found = []
    for folder, record in store.finished("demo"):
        kept = load_predictions(folder / "predictions.npz")
        true, said = kept.labels == 2, log_odds(kept.logits)[:, 2] >= record.tuned.thresholds["spec90"]
        val = log_odds(kept.val_logits)[:, 2] >= record.tuned.thresholds["spec90"]
        assert (~val[kept.val_labels != 2]).mean() >= 0.9
        scaled = softmax(kept.logits, record.tuned.temperature)
        found.append(
            [
                *(sk.recall_score(true, said), sk.recall_score(~true, ~said), sk.precision_score(true, said)),
                *(sk.f1_score(true, said), sk.balanced_accuracy_score(true, said)),
                ((scaled - np.eye(3)[kept.labels]) ** 2).sum(axis=1).mean(),
            ]
        )
    names = [f"{name}.binary[malignant].val_spec90@2" for name in ("sen", "spec", "prec", "f1", "bacc")]
    assert [rows[name].mean for name in [*names, "brier.temperature@1"]] == pytest.approx(np.mean(found, axis=0))
    row = rows[names[0]]
    assert (row.metric, row.label, row.n_cases, row.n_seeds) == ("SEN@SPEC90", "malignant", 5, 2)
    assert row.ci_low < row.mean < row.ci_high
    # The rows by class have the decision by the largest probability, whatever thresholds say.
    parts = [load_predictions(folder / "predictions.npz") for folder, _ in store.finished("demo")]
    plain = [sk.recall_score(kept.labels == 2, kept.logits.argmax(axis=1) == 2) for kept in parts]
    by_class = {(row.metric, row.label): row.mean for row in report.rows if row.source == "measured" and row.label}
    assert by_class["SEN", "malignant"] == pytest.approx(np.mean(plain))


def test_tables_show_each_rule_with_its_threshold(report):
    text = render([report], "markdown", ["all"]).split("Decisions by thresholds chosen on validation data.**")[1]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:8]]
    header, _, *body = lines
    assert [line[header.index("Threshold for")] for line in body] == [
        *("largest probability", "highest F1", "specificity of 90 %", "specificity of 95 %")
    ]
    assert {line[header.index("In validation")] for line in body[1:]} == {"5 of 60"}
    low, high = sorted(expit(record.tuned.thresholds["f1"]) for record in report.results[0].records)
    assert body[1][header.index("Threshold")] == f"{(low + high) / 2:.2f} ({low:.2f} to {high:.2f})"
    assert "Decisions by thresholds chosen" in render([report], "latex", ["all"])
    assert [note for note in report.notes if "validation cases of class malignant: 5, few" in note]


def test_definitions_are_found_by_their_ids_and_need_the_class_of_the_entry(report):
    asked = find_definitions(["sen.binary[malignant].val_f1", "ece.top.15bins.temperature", "f1.binary[benign].val_f1"])
    assert [d.base for d in asked] == ["sen.binary[malignant]@1", "ece.top.15bins@1", "f1.binary[benign]@1"]
    [results] = report.results
    assert [len(list(set_rows(results, d))) for d in asked] == [1, 1, 0]
    with pytest.raises(BenchError, match="AUROC is no metric of decisions"):
        find_definitions(["auroc.binary[malignant].val_f1"])


def test_thresholds_part_cases_whose_probabilities_are_all_one():
    logits = np.array([[0, 90], [0, 60], [0, 50], [0, 45], [0, -3]], dtype=np.float32)
    labels = np.array([1, 1, 0, 0, 0])
    tuned = choose(logits, labels, ("no", "yes"), "yes")
    # Positives 90 and 60 stand above all negatives: F1 is 1 at 60, and the specificity is 1 just above 50.
    specificity = np.nextafter(50, 60)
    assert tuned.thresholds == {"f1": 60, "spec90": specificity, "spec95": specificity, "sens90": 60}
    assert tuned.probability("f1") == 1
    said = ClassificationPredictions(tuple("abcde"), logits, labels, ("no", "yes"))
    cases = score_cases(TASK, said, who_of(said), tuned=tuned)
    assert cases["at_spec90"].tolist() == [True, True, False, False, False]


def test_thresholds_of_an_earlier_version_are_left_out_until_they_are_chosen_anew(make_store):
    runs = make_store(models=[MICRO], datasets=["tiny-clinical"], seeds=2)
    [(folder, record), _] = runs.finished("demo")
    old = record.model_copy(update={"tuned": replace(record.tuned, version=1)})
    (folder / "record.json").write_text(old.model_dump_json())
    report = build_report(runs, "demo")
    assert not [row for row in report.rows if "@" in row.metric]
    assert [note for note in report.notes if "chose them otherwise" in note]
    assert update_trial(folder, old)
    assert [row for row in build_report(runs, "demo").rows if "@" in row.metric]


def test_trials_of_an_earlier_version_have_no_such_rows_until_they_are_run_again(make_store):
    runs = make_store(models=[MICRO], datasets=["tiny-clinical"], seeds=2)
    new = build_report(runs, "demo")
    [(folder, record), _] = runs.finished("demo")
    path = folder / "predictions.npz"
    kept = load_predictions(path)
    save_predictions(path, replace(kept, val_logits=None, val_labels=None))
    assert update_trial(folder, record)
    old = build_report(runs, "demo")
    lost = {row.metric for row in new.rows} - {row.metric for row in old.rows}
    assert lost == {"ECE_T", "ECE_CHANCE_T", "ECE_DEBIASED_T", "BRIER_T"} | {
        m for row in new.rows if "@" in (m := row.metric)
    }
    assert [note for note in old.notes if "no thresholds: a trial of an earlier version" in note]
    assert "Decisions by thresholds" not in render([old], "markdown", ["all"])
    save_predictions(path, kept)
    [(folder, record), _] = find_trials(runs.root)
    assert update_trial(folder, record)
    assert not update_trial(*find_trials(runs.root)[0])
    assert build_report(runs, "demo").rows == new.rows


def test_notes_say_why_a_choice_is_missing_or_at_its_bound(report):
    [results] = report.results

    def notes(**changes):
        records = [r.model_copy(update={"tuned": replace(r.tuned, **changes)}) for r in results.records]
        return " ".join(tuning_notes(replace(results, records=tuple(records))))

    assert "seed 1 is at its bound, 0.1: its 60 validation cases are all but separated" in notes(temperature=COLDEST)
    assert "seed 0 is at its bound, 10: its 60 validation cases are not told apart" in notes(temperature=HOTTEST)
    assert "validation cases of seed 0 are all malignant, or none is" in notes(thresholds={}, n_positive=0)
    assert notes(n_positive=30) == ""


def test_a_positive_class_that_does_not_exist_is_refused_before_any_training(tmp_path):
    spec = load_registry()["phantom"].model_copy(update={"positive": "malignat", "options": {"n": 6, "size": 32}})
    with pytest.raises(DataError, match=r"positive: 'malignat' is not one of .*Did you mean 'malignant'\?"):
        open_dataset(spec, tmp_path)
