"""Classification metrics against scikit-learn and by hand, what an absent class gets, and what their ids mean."""

import decimal
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS, find_definitions
from usfm_bench.metrics.calibration import BINS, brier_scores, calibration_error, confidence_bins
from usfm_bench.metrics.classification import (
    PER_CLASS,
    RANKED,
    against_the_rest,
    class_definition_id,
    score_classification,
)
from usfm_bench.metrics.logits import log_odds, log_odds_of, softmax
from usfm_bench.specs.task import PROBABILITY, TASKS
from usfm_bench.stats import classification_interval
from usfm_bench.stats.delete_one import class_metric
from usfm_bench.tasks.classification import probabilities_of

CLASSES = ("benign", "malignant", "normal", "other", "cyst")
FEW = settings(max_examples=12, deadline=None)
AVERAGED = {"SEN": sk.recall_score, "PREC": sk.precision_score, "F1": sk.f1_score}
NOT_METRICS = {"weighted", "per_class", "confusion", "absent"}


def draw_predictions(seed, n, n_classes, *, tenths=False):
    """Probabilities, with ties where they are tenths, and labels that may leave classes out."""
    rng = np.random.default_rng(seed)
    alone = np.ones(n_classes)
    probabilities = rng.multinomial(10, alone / n_classes, size=n) / 10 if tenths else rng.dirichlet(alone, size=n)
    return probabilities, rng.integers(0, rng.integers(1, n_classes + 1), size=n)


NUMBERS = st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 5)
without_ties = st.builds(draw_predictions, *NUMBERS)
predictions = st.builds(draw_predictions, *NUMBERS, tenths=st.booleans())


def score(probabilities, labels):
    return score_classification(probabilities, labels, CLASSES[: probabilities.shape[1]])


def none_or_about(value):
    return None if value is None else pytest.approx(value, abs=1e-12)


def averages_by_sklearn(probabilities, labels, average):
    """Averages over the classes present, in scikit-learn's own words where it has the metric."""
    predicted, (present, support) = probabilities.argmax(axis=1), np.unique(labels, return_counts=True)
    weights = support if average == "weighted" else np.ones(len(present))
    tn, fp, fn, tp = (
        sk.multilabel_confusion_matrix(labels, predicted, labels=present)[:, i, j] for i in (0, 1) for j in (0, 1)
    )
    several = len(present) > 1

    def of_classes(values):
        return np.average(values, weights=weights) if several else None

    def by_score(metric):
        return of_classes([metric(labels == k, probabilities[:, k]) for k in present]) if several else None

    own = {n: f(labels, predicted, labels=present, average=average, zero_division=0) for n, f in AVERAGED.items()}
    return own | {
        "ACC": np.average((tp + tn) / len(labels), weights=weights),
        "BACC": of_classes((tp / (tp + fn) + tn / (tn + fp)) / 2) if several else None,
        "SPEC": of_classes(tn / (tn + fp)) if several else None,
        "AUROC": by_score(sk.roc_auc_score),
        "AUPRC": by_score(sk.average_precision_score),
    }


def of_all_cases_by_sklearn(probabilities, labels):
    predicted, n_classes = probabilities.argmax(axis=1), probabilities.shape[1]
    one_alone = len({*labels, *predicted}) == 1
    return {
        "ACC": sk.accuracy_score(labels, predicted),
        "BACC": sk.recall_score(labels, predicted, labels=np.unique(labels), average="macro"),
        "MCC": 0 if one_alone else sk.matthews_corrcoef(labels, predicted),
        "KAPPA": None if one_alone else sk.cohen_kappa_score(labels, predicted),
        "BRIER": ((probabilities - np.eye(n_classes)[labels]) ** 2).sum(axis=1).mean(),
    }


@FEW
@given(predictions)
def test_every_metric_equals_sklearn_over_the_classes_present(drawn):
    scores = score(*drawn)
    expected = averages_by_sklearn(*drawn, "macro") | of_all_cases_by_sklearn(*drawn)
    assert {name: scores[name] for name in expected} == {n: none_or_about(v) for n, v in expected.items()}
    assert set(scores) - NOT_METRICS == set(expected) | {"ECE"}


@FEW
@given(predictions)
def test_every_weighted_average_equals_sklearn_over_the_classes_present(drawn):
    expected = averages_by_sklearn(*drawn, "weighted")
    assert score(*drawn)["weighted"] == {name: none_or_about(value) for name, value in expected.items()}


@FEW
@given(predictions)
def test_every_metric_of_a_class_equals_sklearn_against_the_rest(drawn):
    probabilities, labels = drawn
    scores = score(*drawn)
    assert set(scores["per_class"]) == {CLASSES[k] for k in labels}
    for k in np.unique(labels):
        predicted, true, one = probabilities.argmax(axis=1) == k, labels == k, scores["per_class"][CLASSES[k]]
        assert one["ACC"] == pytest.approx(sk.accuracy_score(true, predicted))
        assert one["SEN"] == pytest.approx(sk.recall_score(true, predicted, zero_division=0))
        assert one["PREC"] == pytest.approx(sk.precision_score(true, predicted, zero_division=0))
        assert one["F1"] == pytest.approx(sk.f1_score(true, predicted, zero_division=0))
        if true.all():
            assert one["SPEC"] is one["BACC"] is one["AUROC"] is one["AUPRC"] is None
        else:
            assert one["SPEC"] == pytest.approx(sk.recall_score(~true, ~predicted))
            assert one["BACC"] == pytest.approx(sk.balanced_accuracy_score(true, predicted))
            assert one["AUROC"] == pytest.approx(sk.roc_auc_score(true, probabilities[:, k]))
            assert one["AUPRC"] == pytest.approx(sk.average_precision_score(true, probabilities[:, k]))
    assert (
        scores["confusion"]
        == sk.confusion_matrix(labels, probabilities.argmax(axis=1), labels=np.arange(probabilities.shape[1])).tolist()
    )


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_an_average_auroc_equals_sklearns_own_when_no_class_is_absent(average):
    probabilities, labels = np.random.default_rng(0).dirichlet(np.ones(3), size=60), np.arange(60) ** 2 % 3
    labels[0] = 2
    expected = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average=average)
    scores = score(probabilities, labels)
    assert (scores if average == "macro" else scores["weighted"])["AUROC"] == pytest.approx(expected)


@FEW
@given(predictions)
def test_every_value_lies_in_the_range_of_its_definition(drawn):
    scores = score(*drawn)
    for definition in TASKS["classification"].primary():
        low, high = definition.range
        assert scores[definition.name] is None or low <= scores[definition.name] <= high, definition.id


LABELS = np.array([0, 0, 0, 1])
PREDICTED = np.array([[0.8, 0.2, 0.0], [0.7, 0.3, 0.0], [0.1, 0.3, 0.6], [0.4, 0.6, 0.0]])  # 0, 0, 2, 1


def test_scores_by_hand_leave_the_absent_class_out_and_say_so():
    scores = score(PREDICTED, LABELS)
    assert scores["absent"] == ["normal"]
    assert set(scores["per_class"]) == {"benign", "malignant"}
    assert scores["ACC"] == 3 / 4
    assert scores["BACC"] == scores["SEN"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["PREC"] == 1  # normal, predicted once and wrongly, is in no average
    assert scores["F1"] == pytest.approx((2 * 2 / (2 * 2 + 1) + 1) / 2)
    assert scores["SPEC"] == 1
    # By the probability of benign, its cases stand first, second and fourth.
    assert scores["AUROC"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["AUPRC"] == pytest.approx(((1 + 1 + 3 / 4) / 3 + 1) / 2)
    assert scores["confusion"] == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert scores["weighted"]["SEN"] == pytest.approx((3 * 2 / 3 + 1 * 1) / 4)
    assert scores["weighted"]["F1"] == pytest.approx((3 * 4 / 5 + 1 * 1) / 4)
    assert scores["weighted"]["ACC"] == pytest.approx((3 * 3 / 4 + 1 * 1) / 4)


def test_agreement_beyond_chance_by_hand():
    scores = score(PREDICTED, LABELS)
    chance = (3 * 2 + 1 * 1) / 4**2  # true 3, 1, 0 and predicted 2, 1, 1
    assert scores["KAPPA"] == pytest.approx((3 / 4 - chance) / (1 - chance))
    spread = (4**2 - (2**2 + 1 + 1)) * (4**2 - (3**2 + 1))
    assert scores["MCC"] == pytest.approx((3 * 4 - (3 * 2 + 1 * 1)) / spread**0.5)


def test_brier_scores_by_hand():
    scores = [0.2**2 + 0.2**2, 0.3**2 + 0.3**2, 0.9**2 + 0.3**2 + 0.6**2, 0.4**2 + 0.4**2]
    assert brier_scores(PREDICTED, LABELS) == pytest.approx(scores)
    assert score(PREDICTED, LABELS)["BRIER"] == pytest.approx(sum(scores) / 4)


def test_the_brier_score_is_0_for_certain_truth_and_2_for_certain_error():
    assert brier_scores(np.eye(3)[[0, 1]], np.array([0, 2])).tolist() == [0, 2]


def test_the_calibration_error_by_hand_in_two_bins():
    probabilities, labels = np.array([[0.9, 0.1], [0.92, 0.08], [0.6, 0.4]]), np.array([0, 1, 0])
    high, low = abs(1 / 2 - (0.9 + 0.92) / 2), abs(1 / 1 - 0.6)
    assert calibration_error(probabilities, labels) == pytest.approx(2 / 3 * high + 1 / 3 * low)
    assert score(probabilities, labels)["ECE"] == calibration_error(probabilities, labels)


def test_probabilities_that_mean_what_they_say_have_no_calibration_error():
    confidence, right = np.repeat([0.75, 0.5, 1.0], [8, 4, 3]), np.array([1, 1, 1, 0] * 2 + [1, 0, 1, 0] + [1] * 3)
    assert calibration_error(np.stack([confidence, 1 - confidence], axis=1), 1 - right) == 0


def calibration_by_loop(parts, labels, whole):
    """Over bins of exact fractions, open below and closed above; `parts`: (N, C) numerators over `whole`."""
    error = Fraction(0)
    for k in range(15):
        inside = [i for i, p in enumerate(parts) if Fraction(k, 15) < Fraction(max(p), whole) <= Fraction(k + 1, 15)]
        right = sum(np.argmax(parts[i]) == labels[i] for i in inside)
        error += abs(right - sum(Fraction(max(parts[i]), whole) for i in inside)) / len(parts)
    return float(error)


@FEW
@given(
    st.integers(2, 5).flatmap(lambda c: st.lists(st.lists(st.integers(0, 12), min_size=c, max_size=c), min_size=1)),
    st.sampled_from([1, 2, 7]),
    st.randoms(use_true_random=False),
)
def test_the_calibration_error_equals_a_loop_over_exact_bins(drawn, finer, random):
    whole = 60 * finer  # edges are multiples of 4 * finer
    parts = [[*some[:-1], whole - sum(some[:-1])] for some in drawn]
    labels = np.array([random.randrange(len(parts[0])) for _ in parts])
    expected = calibration_by_loop(parts, labels, whole)
    assert calibration_error(np.array(parts) / whole, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", range(1, BINS + 1))
def test_a_confidence_on_an_edge_is_in_the_bin_below(k):
    # With 15 classes, no confidence is below 1/15.
    edges = [k / 15, 1 / 15 * k, k * 4 / 60, np.linspace(0, 1, 16)[k]]
    wide = np.array([[edge, *[(1 - edge) / 14] * 14] for edge in edges])
    assert confidence_bins(wide).tolist() == [k - 1] * 4
    assert confidence_bins(wide + 1e-12).tolist() == [min(k, BINS - 1)] * 4


def test_one_more_class_that_nobody_has_or_says_changes_nothing():
    wider = np.concatenate([PREDICTED, np.zeros((4, 1))], axis=1)
    before, after = score(PREDICTED, LABELS), score(wider, LABELS)
    assert after.pop("absent") == [*before.pop("absent"), "other"]
    assert [row[:3] for row in after.pop("confusion")][:3] == before.pop("confusion")
    assert after == before


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_an_absent_class_is_reported_and_in_no_average(absent):
    probabilities, labels = draw_predictions(3, 60, 3)
    labels = np.array([k for k in range(3) if k != absent])[np.arange(60) % 2]
    scores = score(probabilities, labels)
    present = [CLASSES[k] for k in range(3) if k != absent]
    assert scores["absent"] == [CLASSES[absent]]
    for name in set(PER_CLASS):
        values = [scores["per_class"][label][name] for label in present]
        assert scores[name] == pytest.approx(np.mean(values))
        assert scores["weighted"][name] == pytest.approx(np.mean(values))  # 30 cases each


def test_a_class_that_is_never_predicted_has_precision_zero():
    scores = score(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
    assert scores["per_class"]["malignant"]["PREC"] == 0
    assert scores["PREC"] == pytest.approx((1 / 2 + 0) / 2)


def test_one_class_alone_has_no_metric_that_needs_another():
    scores = score(PREDICTED[:2], LABELS[:2])
    assert scores["SPEC"] is scores["AUROC"] is scores["AUPRC"] is None
    assert scores["weighted"]["SPEC"] is scores["weighted"]["AUROC"] is scores["weighted"]["AUPRC"] is None
    assert scores["ACC"] == scores["BACC"] == 1


def test_kappa_is_undefined_where_truth_and_prediction_are_one_class():
    assert score(PREDICTED[:2], LABELS[:2])["KAPPA"] is None
    assert score(PREDICTED[:2], LABELS[:2])["MCC"] == 0
    assert score(PREDICTED[:3], LABELS[:3])["KAPPA"] == 0  # one is said to be normal: chance agreement is 2/3, too


def with_row(row, values):
    changed = PREDICTED.copy()
    changed[row] = values
    return changed


FAULTS = {
    "NaN": (with_row(2, [0.5, math.nan, 0.5]), LABELS, ["probabilities", "{2}", "nan"]),
    "infinite": (with_row(2, [math.inf, 0, 0]), LABELS, ["probabilities", "{2}", "inf"]),
    "not normalised": (with_row(1, [0.5, 0.6, 0.2]), LABELS, ["probabilities", "{1}", "0.6", "do not sum to 1"]),
    "above 1": (with_row(1, [1.2, -0.2, 0.0]), LABELS, ["probabilities", "{1}", "1.2", "not all in [0, 1]"]),
    "below 0": (with_row(3, [0.5, -0.1, 0.6]), LABELS, ["probabilities", "{3}", "-0.1", "not all in [0, 1]"]),
    "label too large": (PREDICTED, np.array([0, 3, 0, 1]), ["labels", "{1}", "3", "benign, malignant, normal"]),
    "label negative": (PREDICTED, np.array([0, 0, -1, 1]), ["labels", "{2}", "-1"]),
    "labels of float": (PREDICTED, LABELS.astype(float), ["labels", "float64", "(4,)", "integers"]),
    "too few columns": (PREDICTED[:, :2], LABELS, ["probabilities", "(4, 2)", "(4, 3)"]),
    "too few rows": (PREDICTED[:3], LABELS, ["probabilities", "(3, 3)", "(4, 3)"]),
}


@pytest.mark.parametrize("case_ids", [None, ("img a", "img b", "img c", "img d")])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_an_error_that_names_the_argument_the_value_and_the_case(fault, case_ids):
    probabilities, labels, words = FAULTS[fault]
    names = [f"case '{name}'" for name in case_ids] if case_ids else [f"row {i}" for i in range(4)]
    with pytest.raises(BenchError) as error:
        score_classification(probabilities, labels, CLASSES[:3], case_ids=case_ids)
    assert all(word.format(*names) in str(error.value) for word in words), str(error.value)


def test_every_faulty_case_is_in_one_message():
    probabilities = with_row(1, [0.5, 0.6, 0.2])
    probabilities[3, 0] = math.nan
    with pytest.raises(BenchError) as error:
        score_classification(probabilities, np.array([0, 0, 7, 1]), CLASSES[:3], case_ids=list("abcd"))
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "probabilities, case 'b'",
        "probabilities, case 'd'",
        "labels, case 'c'",
    ]


def test_of_many_faults_the_first_ten_are_shown_and_the_others_counted():
    with pytest.raises(BenchError) as error:
        score_classification(np.full((25, 2), 0.7), np.zeros(25, int), CLASSES[:2])
    lines = str(error.value).splitlines()
    assert len(lines) == 10 + 1
    assert lines[-1] == "and 15 more"


def values_of(scores):
    """Every number by the path to it."""
    flat = {name: scores[name] for name in set(scores) - NOT_METRICS}
    flat |= {("weighted", name): value for name, value in scores["weighted"].items()}
    return flat | {(c, n): value for c, one in scores["per_class"].items() for n, value in one.items()}


@FEW
@given(predictions, st.randoms(use_true_random=False))
def test_the_order_of_cases_changes_nothing(drawn, random):
    probabilities, labels = drawn
    order = random.sample(range(len(labels)), len(labels))
    before, after = score(*drawn), score(probabilities[order], labels[order])
    assert values_of(after) == pytest.approx(values_of(before), abs=1e-12)
    assert (after["confusion"], after["absent"]) == (before["confusion"], before["absent"])


@FEW
@given(without_ties, st.randoms(use_true_random=False))
def test_the_order_of_classes_changes_nothing(drawn, random):
    probabilities, labels = drawn
    order = random.sample(range(probabilities.shape[1]), probabilities.shape[1])
    moved = score_classification(probabilities[:, order], np.argsort(order)[labels], [CLASSES[k] for k in order])
    assert values_of(moved) == pytest.approx(values_of(score(*drawn)), abs=1e-12)


@FEW
@given(predictions)
def test_every_case_twice_changes_nothing(drawn):
    probabilities, labels = drawn
    twice = score(np.tile(probabilities, (2, 1)), np.tile(labels, 2))
    assert values_of(twice) == pytest.approx(values_of(score(*drawn)), abs=1e-12)


def test_a_trials_scores_come_from_the_table_of_cases():
    table = pd.DataFrame({"case_id": list("abcd"), "label": LABELS})
    table = table.assign(**{PROBABILITY + c: PREDICTED[:, k] for k, c in enumerate(CLASSES[:3])})
    np.testing.assert_array_equal(probabilities_of(table, CLASSES[:3]), PREDICTED)
    assert TASKS["classification"].summarise(table, {}, CLASSES[:3]) == score(PREDICTED, LABELS)
    with pytest.raises(BenchError, match="labels, case 'b': 5"):
        TASKS["classification"].summarise(table.assign(label=[0, 5, 0, 1]), {}, CLASSES[:3])


def exact_log_odds(logits, k):
    """Of one case, by 60 digits."""
    with decimal.localcontext(prec=60):
        others = [Decimal(z).exp() for j, z in enumerate(logits) if j != k]
        return Decimal(logits[k]) - sum(others).ln()


@FEW
@given(st.integers(0, 2**32), st.integers(2, 4), st.sampled_from([3, 40, 300]))
def test_areas_rank_saturated_probabilities_by_their_exact_log_odds(seed, n_classes, spread):
    rng = np.random.default_rng(seed)
    # Rows that come twice are ties; between others, more lies than 64 bits round.
    rows = rng.uniform(-spread, spread, (15, n_classes)).astype(np.float32)
    logits, labels = rows[rng.integers(0, 15, 25)], rng.integers(0, n_classes, 25)
    probabilities = softmax(logits)
    for k in np.unique(labels).tolist():
        if (labels == k).all():
            continue
        exact = [exact_log_odds(case, k) for case in logits.tolist()]
        ranks = np.searchsorted(sorted(set(exact)), exact)
        found = against_the_rest(probabilities, labels, k)
        assert found["AUROC"] == pytest.approx(sk.roc_auc_score(labels == k, ranks), abs=1e-12)
        assert found["AUPRC"] == pytest.approx(sk.average_precision_score(labels == k, ranks), abs=1e-12)
        alone = class_metric("AUROC", "class", probabilities, labels, np.arange(25), only=k)
        assert alone[0] == pytest.approx(found["AUROC"], abs=1e-12)


@FEW
@given(st.integers(0, 2**32), st.sampled_from([1, 30, 200, 5000]))
def test_two_classes_agree_on_their_auroc_however_sure_a_model_is(seed, spread):
    rng = np.random.default_rng(seed)
    labels = np.arange(30) % 2
    logits = np.stack([np.zeros(30), spread * rng.normal(2 + labels, 1)], axis=1).astype(np.float32)
    if spread < 5000:  # beyond some 700, 64 bits hold no odds
        logits = logits.clip(-700, 700)
    first, second = (against_the_rest(softmax(logits), labels, k) for k in (0, 1))
    assert first["AUROC"] == pytest.approx(second["AUROC"], abs=1e-12)
    if spread < 5000:
        assert second["AUROC"] == pytest.approx(sk.roc_auc_score(labels, logits[:, 1]), abs=1e-12)


@FEW
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_log_odds_of_probabilities_and_of_logits_are_the_same(seed, n_classes):
    logits = np.random.default_rng(seed).normal(0, 30, (20, n_classes))
    np.testing.assert_allclose(log_odds_of(softmax(logits)), log_odds(logits), rtol=1e-12, atol=1e-12)


def test_every_metric_has_a_versioned_definition():
    scores = score(PREDICTED, LABELS)
    assert {d.name for d in TASKS["classification"].primary()} == set(scores) - NOT_METRICS
    assert set(PER_CLASS) <= set(scores["per_class"]["benign"])
    ids = [d.id for d in TASKS["classification"].primary()] + [class_definition_id(name) for name in PER_CLASS]
    assert len(set(ids)) == len(ids)
    assert all(identifier.rpartition("@")[2].isdigit() for identifier in ids)
    assert all(DEFINITIONS[identifier].of == "labels" for identifier in ids)


@pytest.mark.parametrize("metric", ["ACC", "BACC", "SEN", "SPEC", "PREC", "F1", "AUROC", "AUPRC"])
def test_every_metric_of_one_class_has_an_id_for_each_averaging(metric):
    ovr = ".ovr" if metric.startswith("AU") else ""
    name = metric.lower()
    ids = [f"{name}{ovr}.macro", f"{name}{ovr}.weighted", f"{name}.class", f"{name}.binary[cyst]"]
    found = find_definitions(ids)
    assert [d.id for d in found] == [f"{ident}@{2 if metric in RANKED else 1}" for ident in ids]
    assert [d.averaging for d in found] == ["macro", "weighted", "class", "binary"]
    assert {(d.name, d.range, d.higher_is_better) for d in found} == {(metric, (0.0, 1.0), True)}


@pytest.mark.parametrize("ident", ["sen.binary[malignant]@1", "sen.binary[malignant]"])
def test_a_binary_id_names_its_positive_class(ident):
    [definition] = find_definitions([ident])
    assert (definition.name, definition.positive) == ("SEN", "malignant")
    assert definition.id == "sen.binary[malignant]@1"
    assert "malignant" in definition.formula


@pytest.mark.parametrize("positive", ["BI-RADS 4", "a.b", "µ", "class[1]"])
def test_a_class_may_have_any_name_in_a_binary_id(positive):
    assert find_definitions([f"auprc.binary[{positive}]@2"])[0].positive == positive


@pytest.mark.parametrize("metric", ["mcc", "kappa", "ece", "brier", "dsc"])
def test_a_metric_without_a_binary_form_is_an_error_that_names_those_with_one(metric):
    with pytest.raises(BenchError, match=f"{metric.upper()} has no binary form; ACC, BACC, .* have"):
        find_definitions([f"{metric}.binary[malignant]@1"])


def test_every_unknown_id_is_in_one_message_with_the_nearest_known_one():
    with pytest.raises(BenchError) as error:
        find_definitions(["f1.marco@1", "acc@1", "auroc.macro", "f1.macro@2", "usfm-rep"])
    lines = str(error.value).splitlines()
    assert [line.partition(". ")[0].removeprefix("Unknown definition ") for line in lines] == [
        *("'f1.marco@1'", "'auroc.macro'", "'f1.macro@2'", "'usfm-rep'"),
    ]
    for line, near in zip(lines, ["f1.macro@1", "auroc.ovr.macro@2", "f1.macro@1", "usfm-repo"], strict=True):
        assert f"Did you mean '{near}'?" in line


def test_ids_are_found_in_their_order_once_and_without_their_version():
    found = find_definitions(["mcc", "acc@1", "mcc@1", "ece.top.15bins", "acc"])
    assert [d.id for d in found] == ["mcc@1", "acc@1", "ece.top.15bins@1"]


@pytest.mark.parametrize("definition", [d for d in DEFINITIONS.values() if d.of == "labels" and not d.tuned])
def test_lower_is_better_where_a_perfect_answer_gets_nothing(definition):
    labels = np.arange(12) % 3
    if definition.compute is not None:
        value = definition.compute(np.eye(3)[labels], labels)
    elif definition.averaging == "class":
        value = against_the_rest(np.eye(3)[labels], labels, 1)[definition.name]
    else:
        scores = score(np.eye(3)[labels], labels)
        chance_free = classification_interval(definition, np.eye(3)[labels][None], labels).point
        value = scores.get(definition.name, chance_free)
    assert value == (1 if definition.higher_is_better else 0)
