"""Classification metrics against scikit-learn, and what an absent class gets."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from usfm_bench.errors import BenchError
from usfm_bench.metrics.classification import score_classification
from usfm_bench.metrics.definitions import PER_CLASS, class_definition_id, primary
from usfm_bench.scoring import PROBABILITY, probabilities_of, summarise

CLASSES = ("benign", "malignant", "normal", "other", "cyst")
FEW = settings(max_examples=40, deadline=None)


def draw_predictions(seed, n, n_classes, *, decimals=None):
    """Probabilities, often with ties, and labels that may leave classes out."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(n_classes), size=n)
    if decimals is not None:
        probabilities = np.round(probabilities, decimals)
        probabilities[:, -1] = 1 - probabilities[:, :-1].sum(axis=1)
    return probabilities, rng.integers(0, rng.integers(1, n_classes + 1), size=n)


predictions = st.builds(
    draw_predictions, st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 5), decimals=st.sampled_from([None, 1])
)


def macro_by_sklearn(probabilities, labels):
    """The macro averages over the classes present, in scikit-learn's own words."""
    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    average = {"labels": present, "average": "macro", "zero_division": 0}
    tn, fp = sk.multilabel_confusion_matrix(labels, predicted, labels=present)[:, 0].T
    several = len(present) > 1
    return {
        "ACC": sk.accuracy_score(labels, predicted),
        "BACC": sk.recall_score(labels, predicted, **average),
        "SEN": sk.recall_score(labels, predicted, **average),
        "PREC": sk.precision_score(labels, predicted, **average),
        "F1": sk.f1_score(labels, predicted, **average),
        "SPEC": np.mean(tn / (tn + fp)) if several else None,
        "AUROC": np.mean([sk.roc_auc_score(labels == k, probabilities[:, k]) for k in present]) if several else None,
    }


@FEW
@given(predictions)
def test_every_macro_metric_equals_sklearn_over_the_classes_present(drawn):
    probabilities, labels = drawn
    scores = score_classification(probabilities, labels, CLASSES[: probabilities.shape[1]])
    for name, value in macro_by_sklearn(probabilities, labels).items():
        assert scores[name] == (None if value is None else pytest.approx(value, abs=1e-12)), name


@FEW
@given(predictions)
def test_every_metric_of_a_class_equals_sklearn_against_the_rest(drawn):
    probabilities, labels = drawn
    scores = score_classification(probabilities, labels, CLASSES[: probabilities.shape[1]])
    for k in np.unique(labels):
        predicted, true, one = probabilities.argmax(axis=1) == k, labels == k, scores["per_class"][CLASSES[k]]
        assert one["SEN"] == pytest.approx(sk.recall_score(true, predicted, zero_division=0))
        assert one["PREC"] == pytest.approx(sk.precision_score(true, predicted, zero_division=0))
        assert one["F1"] == pytest.approx(sk.f1_score(true, predicted, zero_division=0))
        if not true.all():
            assert one["SPEC"] == pytest.approx(sk.recall_score(~true, ~predicted))
            assert one["AUROC"] == pytest.approx(sk.roc_auc_score(true, probabilities[:, k]))
    assert (
        scores["confusion"]
        == sk.confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1])).tolist()
    )


def test_macro_auroc_equals_sklearns_own_average_when_no_class_is_absent():
    probabilities, labels = np.random.default_rng(0).dirichlet(np.ones(3), size=60), np.arange(60) % 3
    expected = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert score_classification(probabilities, labels, CLASSES[:3])["AUROC"] == pytest.approx(expected)


LABELS = np.array([0, 0, 0, 1])
PREDICTED = np.array([[0.8, 0.2, 0.0], [0.7, 0.3, 0.0], [0.1, 0.3, 0.6], [0.4, 0.6, 0.0]])  # 0, 0, 2, 1


def test_scores_by_hand_leave_the_absent_class_out_and_say_so():
    scores = score_classification(PREDICTED, LABELS, CLASSES[:3])
    assert scores["absent"] == ["normal"]
    assert set(scores["per_class"]) == {"benign", "malignant"}
    assert scores["ACC"] == 3 / 4
    assert scores["BACC"] == scores["SEN"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["PREC"] == 1  # normal, predicted once and wrongly, is in no average
    assert scores["F1"] == pytest.approx((2 * 2 / (2 * 2 + 1) + 1) / 2)
    assert scores["SPEC"] == 1
    assert scores["confusion"] == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_a_class_that_is_never_predicted_has_precision_zero():
    scores = score_classification(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]), CLASSES[:2])
    assert scores["per_class"]["malignant"]["PREC"] == 0
    assert scores["PREC"] == pytest.approx((1 / 2 + 0) / 2)


def test_one_class_alone_has_neither_specificity_nor_auroc():
    scores = score_classification(PREDICTED[:2], LABELS[:2], CLASSES[:3])
    assert scores["SPEC"] is None
    assert scores["AUROC"] is None
    assert scores["ACC"] == 1


def with_row(row, values):
    changed = PREDICTED.copy()
    changed[row] = values
    return changed


@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        (with_row(2, [0.5, math.nan, 0.5]), LABELS, ["probabilities", "row 2"]),
        (with_row(1, [0.5, 0.6, 0.2]), LABELS, ["probabilities", "row 1"]),
        (PREDICTED, np.array([0, 3, 0, 1]), ["labels", "row 1", "3"]),
        (PREDICTED, np.array([0, 0, -1, 1]), ["labels", "row 2", "-1"]),
        (PREDICTED[:, :2], LABELS, ["(4, 2)", "(4, 3)"]),
        (PREDICTED[:3], LABELS, ["(3, 3)", "(4, 3)"]),
    ],
)
def test_a_faulty_row_is_an_error_that_names_it(probabilities, labels, words):
    with pytest.raises(BenchError) as error:
        score_classification(probabilities, labels, CLASSES[:3])
    assert all(word in str(error.value) for word in words)


@FEW
@given(predictions, st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_nothing(drawn, random):
    probabilities, labels = drawn
    order = random.sample(range(len(labels)), len(labels))
    classes = CLASSES[: probabilities.shape[1]]
    shuffled = score_classification(probabilities[order], labels[order], classes)
    for name, value in score_classification(probabilities, labels, classes).items():
        assert shuffled[name] == (pytest.approx(value, nan_ok=True) if isinstance(value, float) else value), name


def test_a_trials_scores_come_from_the_table_of_cases():
    table = pd.DataFrame({"label": LABELS} | {PROBABILITY + c: PREDICTED[:, k] for k, c in enumerate(CLASSES[:3])})
    np.testing.assert_array_equal(probabilities_of(table, CLASSES[:3]), PREDICTED)
    assert summarise(table, "classification", CLASSES[:3]) == score_classification(PREDICTED, LABELS, CLASSES[:3])


def test_every_metric_has_a_versioned_definition():
    scores = score_classification(PREDICTED, LABELS, CLASSES[:3])
    assert set(primary("classification")) == set(scores) - {"per_class", "confusion", "absent"}
    assert set(PER_CLASS) == set(scores["per_class"]["benign"])
    ids = [d.id for d in primary("classification").values()] + [class_definition_id(name) for name in PER_CLASS]
    assert len(set(ids)) == len(ids)
    assert all(identifier.rpartition("@")[2].isdigit() for identifier in ids)
