"""Verdicts on published rows: what was computed is never called impossible; what cannot be is, with the arithmetic."""

import json
import sys
from decimal import ROUND_HALF_UP, Decimal
from itertools import product

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn import metrics as sk

from usfm_bench.claims import Claim, check_claim, check_claims, claims_json, claims_text, load_claims
from usfm_bench.claims.counts import one_table
from usfm_bench.claims.readings import READINGS
from usfm_bench.claims.rows import JUDGED, rounded
from usfm_bench.cli import app as cli
from usfm_bench.core.errors import BenchError
from usfm_bench.core.resources import resource

PAPER = resource("reports/reference/paper_tables.yaml")
EXAMPLES = 150
"""Of each property, or a third of it where it is slow; with 5000 none failed either."""


def claim(task="segmentation", averaging=None, n_cases=None, n_runs=None, **values):
    return Claim(
        table="1",
        dataset="X",
        task=task,
        model="m",
        citation="c",
        averaging=averaging,
        n_cases=n_cases,
        n_runs=n_runs,
        values=values,
    )


def answer(*args, **kwargs):
    return check_claim(claim(*args, **kwargs)).verdict


def classify(averaging=None, **values):
    return answer("classification", averaging, **values)


# What was computed is never impossible.


def printed(share, decimals, half_up):
    """Percent, as one of two ways of rounding prints it."""
    if half_up:
        return str(Decimal(100 * share).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP))
    return f"{100 * share:.{decimals}f}"


def assert_possible(task, reading, means, data, **more):
    """Neither the reading in which the means were computed nor the row is called impossible, of any of the columns."""
    chosen = data.draw(st.lists(st.sampled_from(sorted(means)), min_size=1, unique=True))
    decimals, half_up = data.draw(st.integers(0, 2)), data.draw(st.booleans())
    values = {name: printed(means[name], decimals, half_up) for name in chosen if not np.isnan(means[name])}
    if not values:
        return
    stated = check_claim(claim(task, reading, **more, **values))
    assert stated.verdict != "impossible", stated
    open_row = check_claim(claim(task, **more, **values))
    assert open_row.verdict != "impossible", open_row


count = st.one_of(st.sampled_from([0, 0, 1, 1000]), st.integers(0, 60))
table = st.one_of(
    st.tuples(count, count, count, count),
    st.sampled_from([(0, 0, 0, 9), (0, 0, 4, 5), (0, 4, 0, 5), (4, 5, 0, 0), (4, 0, 5, 0), (9, 0, 0, 0), (0, 4, 5, 0)]),
)
tables = st.lists(table, min_size=1, max_size=8)
undefined = st.sampled_from([0.0, 1.0, np.nan])


def ratio(part, whole, empty):
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), empty)


def rates(counts, no_prediction, no_reference, both_empty):
    """(N, 4) counts -> the rates of each; the others say what undefined ones get."""
    tp, fp, fn, tn = np.asarray(counts, float).T
    dice = ratio(2 * tp, 2 * tp + fp + fn, both_empty)
    return {
        "DSC": dice,
        "F1": dice,
        "IOU": ratio(tp, tp + fp + fn, both_empty),
        "ACC": (tp + tn) / (tp + fp + fn + tn),
        "SEN": ratio(tp, tp + fn, no_reference),
        "SPEC": ratio(tn, tn + fp, no_reference),
        "PREC": ratio(tp, tp + fp, no_prediction),
    }


def mean(values):
    return np.nan if np.isnan(values).all() else np.nanmean(values)


def means_of(counts, *conventions):
    return {name: mean(values) for name, values in rates(counts, *conventions).items()}


def with_f1_of_means(means, wanted):
    """Some compute F1 from the averaged SEN and PREC."""
    s, p = means["SEN"], means["PREC"]
    return {**means, "F1": 2 * s * p / (s + p)} if wanted and s + p > 0 else means


@settings(max_examples=EXAMPLES, deadline=None)
@given(tables, undefined, undefined, undefined, st.booleans(), st.data())
def test_means_over_all_images_are_possible(counts, no_prediction, no_reference, both_empty, of_means, data):
    counts = [c for c in counts if sum(c)] or [(0, 0, 0, 1)]
    means = with_f1_of_means(means_of(counts, no_prediction, no_reference, both_empty), of_means)
    assert_possible("segmentation", "per-image-all", means, data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(tables, undefined, undefined, st.booleans(), st.booleans(), st.data())
def test_means_over_images_with_a_lesion_are_possible(counts, no_prediction, no_rest, of_means, classes, data):
    counts = [(tp, fp, max(fn, 1 - tp), tn) for tp, fp, fn, tn in counts]
    if classes:  # the mean over lesion and background, as some libraries take it
        counts = [(tp, fp, fn, max(tn, 1)) for tp, fp, fn, tn in counts]
        counts += [(tn, fn, fp, tp) for tp, fp, fn, tn in counts]
    means = with_f1_of_means(means_of(counts, no_prediction, no_rest, 1.0), of_means)
    for reading in ("per-image-lesions", "per-image"):
        assert_possible("segmentation", reading, means, data)


@settings(max_examples=EXAMPLES, deadline=None)
@given(tables, undefined, undefined, st.booleans(), st.booleans(), st.data())
def test_pooled_pixels_are_possible(counts, no_prediction, no_rest, of_means, say_runs, data):
    runs = [(tp, fp, max(fn, 1 - tp), tn) for tp, fp, fn, tn in counts[: data.draw(st.sampled_from([1, 1, 3]))]]
    means = with_f1_of_means(means_of(runs, no_prediction, no_rest, 1.0), of_means)
    more = {"n_runs": len(runs)} if say_runs else {}
    assert_possible("segmentation", "pooled", means, data, **more)
    assert_possible("classification", "one-class", means, data, **more)
    runs = [(tp, fp, fn, max(tn, 1)) for tp, fp, fn, tn in runs]
    both = [*runs, *[(tn, fn, fp, tp) for tp, fp, fn, tn in runs]]
    means = with_f1_of_means(means_of(both, no_prediction, no_rest, 1.0), of_means)
    assert_possible("segmentation", "pooled-classes", means, data, **more)


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 3), st.data())
def test_rates_of_random_masks_are_possible(seed, images, runs, data):
    rng = np.random.default_rng(seed)
    target = rng.random((images, 5, 5)) < rng.choice([0.0, 0.2, 0.9, 1.0], images)[:, None, None]
    wrong = rng.random((runs, images, 5, 5)) < rng.choice([0.0, 0.1, 0.9, 1.0], (runs, images))[..., None, None]
    pred = target ^ wrong
    counts = np.stack([pred & target, pred & ~target, ~pred & target, ~pred & ~target]).sum((-1, -2))  # (4, R, N)
    conventions = [data.draw(undefined) for _ in range(3)]
    per_image = counts.reshape(4, -1).T
    assert_possible(
        "segmentation", "per-image-all", means_of(per_image, *conventions), data, n_cases=images, n_runs=runs
    )
    if (lesions := per_image[per_image[:, 0] + per_image[:, 2] > 0]).size:
        assert_possible("segmentation", "per-image-lesions", means_of(lesions, *conventions), data)
        assert_possible("segmentation", "pooled", means_of(counts.sum(-1).T, *conventions), data, n_runs=runs)


def predictions(rng, classes, cases, runs):
    """(N,) labels and (R, N) predictions; some classes absent, some never predicted, from poor to perfect."""
    labels = rng.choice(rng.choice(classes, rng.integers(1, classes + 1), replace=False), cases)
    said = np.where(rng.random((runs, cases)) < rng.random((runs, 1)), labels, rng.integers(0, classes, (runs, cases)))
    never = rng.integers(0, classes)
    return labels, np.where(said == never, labels[0], said) if rng.random() < 0.3 else said


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(2, 5), st.integers(1, 60), st.integers(1, 4)),
    average=st.sampled_from(["macro", "weighted", "micro"]),
    zero=undefined,
    of_means=st.booleans(),
    sizes=st.booleans(),
    data=st.data(),
)
def test_averages_of_scikit_learn_are_possible(seed, shape, average, zero, of_means, sizes, data):
    classes, cases, runs = shape
    labels, said = predictions(np.random.default_rng(seed), *shape)
    options = {"average": average, "zero_division": zero, "labels": range(classes)}
    by_run = {
        "ACC": [sk.accuracy_score(labels, s) for s in said],
        "SEN": [sk.recall_score(labels, s, **options) for s in said],
        "PREC": [sk.precision_score(labels, s, **options) for s in said],
        "F1": [sk.f1_score(labels, s, **options) for s in said],
        "SPEC": [specificity(labels, s, classes, average) for s in said],
    }
    means = with_f1_of_means({name: mean(np.array(values)) for name, values in by_run.items()}, of_means)
    more = {"n_cases": cases, "n_runs": runs} if sizes else {}
    assert_possible("classification", average, means, data, **more)


def specificity(labels, said, classes, average):
    tables = sk.multilabel_confusion_matrix(labels, said, labels=range(classes))
    tn, fp = tables[:, 0, 0], tables[:, 0, 1]
    if average == "micro":
        return tn.sum() / (tn + fp).sum()
    of_classes = ratio(tn, tn + fp, 0.0)
    return np.average(of_classes, weights=np.bincount(labels, minlength=classes) if average == "weighted" else None)


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(table, st.integers(0, 3))
def test_a_table_of_counts_is_found(counts, decimals):
    tp, fp, fn, tn = counts
    means = means_of([(tp, fp, max(fn, 1 - tp), tn)], 0.0, 0.0, 1.0)
    assert one_table({name: rounded(printed(value, decimals, False)) for name, value in means.items()})


percent = st.integers(0, 100).map(str)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.dictionaries(st.sampled_from(JUDGED), percent, min_size=2, max_size=7))
def test_one_table_is_what_a_linear_programme_says(values):
    """With TP + FN = 1, in floats and so with a little slack, which whole percents never need."""
    box = {name: rounded(text) for name, text in values.items()}
    parts = {"ACC": (1, 0, 0, 1), "SPEC": (0, 0, 0, 1), "DSC": (2, 0, 0, 0), "F1": (2, 0, 0, 0)}
    wholes = {
        **{"DSC": (2, 1, 1, 0), "F1": (2, 1, 1, 0), "IOU": (1, 1, 1, 0), "ACC": (1, 1, 1, 1)},
        **{"SEN": (1, 0, 1, 0), "SPEC": (0, 1, 0, 1), "PREC": (1, 1, 0, 0)},
    }
    rows = []
    for name, end in box.items():
        part, whole = np.array(parts.get(name, (1, 0, 0, 0))), np.array(wholes[name])
        rows += [end.low * whole - part, part - end.high * whole]
    found = linprog(np.zeros(4), np.array(rows), np.full(len(rows), 1e-9), np.array([[1, 0, 1, 0]]), [1.0])
    assert one_table(box) == (found.status == 0)


# What cannot be is impossible, and the bounds are reached.


def test_the_papers_rows():
    verdicts = {(v.claim.table, v.claim.dataset, v.claim.model): v for v in check_claims(load_claims(PAPER))}
    assert {key: v.verdict for key, v in verdicts.items()} == {
        ("1", "BUSI", "USFM"): "possible",
        ("1", "BUSI", "ours"): "impossible",  # 92 / (200 - 92) = 85.2, 91.5 / (200 - 91.5) = 84.3, and 82.05 is less
        ("2", "BUSI", "USFM"): "possible",
        ("2", "BUSI", "ours"): "impossible",  # 2 * 85.45 * 90.75 / (85.45 + 90.75) = 88.0, and 89.65 is more
        ("2", "Clinical", "ours"): "possible",
    }
    table_1 = verdicts["1", "BUSI", "ours"]
    assert all("That is 85.2 at exactly DSC 92, and 84.3 after every" in j.proofs[0] for j in table_1.judgements)
    assert any(line.startswith("DSC and ACC swapped") for line in table_1.rescues)
    assert any("DSC over images with a lesion and ACC over all" in line for line in table_1.rescues)
    table_2 = verdicts["2", "BUSI", "ours"]
    assert "88.0 after every rounding" in table_2.judgements[0].proofs[0]
    assert {j.reading.name for j in table_2.judgements if j.proofs} == {"macro", "weighted", "micro", "one-class"}
    assert [len(titles) for titles in table_1.proofs.values()] == [4]  # one proof, for every reading
    assert all(not v.rescues for v in verdicts.values() if v.verdict == "possible")


def test_text_and_proofs_of_the_papers_rows(golden):
    golden("claims.txt", claims_text(check_claims(load_claims(PAPER))))


@pytest.mark.parametrize(
    ("possible", "impossible"),
    [
        # images without TN: ACC = DSC / (2 - DSC) = 79.95 / (200 - 79.95) = 66.597 at the least DSC
        ({"DSC": "80.0", "ACC": "66.6"}, {"DSC": "80.0", "ACC": "66.5"}),
        ({"IOU": "70.0", "ACC": "69.9"}, {"IOU": "70.0", "ACC": "69.8"}),  # 69.95 is the least IOU and the most ACC
        ({"IOU": "66.6", "DSC": "80.0"}, {"IOU": "66.5", "DSC": "80.0"}),  # one image: IOU = 79.95 / 120.05
        ({"IOU": "80.1", "DSC": "80.0"}, {"IOU": "80.2", "DSC": "80.0"}),  # 4 of 5 images right, 1 wrong: equal
        ({"SEN": "80", "PREC": "70", "ACC": "49"}, {"SEN": "80", "PREC": "70", "ACC": "48"}),  # 79.5 + 69.5 - 100 = 49
        ({"SEN": "80", "SPEC": "70", "ACC": "49"}, {"SEN": "80", "SPEC": "70", "ACC": "48"}),
        ({"SEN": "30", "SPEC": "20", "ACC": "51"}, {"SEN": "30", "SPEC": "20", "ACC": "52"}),  # 30.5 + 20.5 = 51
        ({"F1": "80.0", "ACC": "59.9"}, {"F1": "80.0", "ACC": "59.8"}),  # 2 * 79.95 - 100 = 59.9, at most 59.85
    ],
)
def test_bounds_of_all_images_are_where_they_should_be(possible, impossible):
    assert answer(**possible) == "possible"
    assert answer(**impossible) == "impossible"
    assert answer(averaging="per-image-all", **impossible) == "impossible"


@pytest.mark.parametrize(
    ("possible", "impossible"),
    [
        # 2 * 60.05 * 90.05 / 150.1 = 72.05
        ({"DSC": "72.1", "SEN": "60.0", "PREC": "90.0"}, {"DSC": "72.2", "SEN": "60.0", "PREC": "90.0"}),
        ({"DSC": "75.0", "SEN": "60.0"}, {"DSC": "75.2", "SEN": "60.0"}),  # 2 * 60.05 / 160.05 = 75.04
        ({"DSC": "75.0", "PREC": "60.0"}, {"DSC": "75.2", "PREC": "60.0"}),
        ({"IOU": "60.1", "SEN": "60.0"}, {"IOU": "60.2", "SEN": "60.0"}),
        ({"IOU": "60.1", "PREC": "60.0"}, {"IOU": "60.2", "PREC": "60.0"}),
        ({"IOU": "50", "SEN": "80", "PREC": "71"}, {"IOU": "49", "SEN": "80", "PREC": "71"}),  # 79.5 + 70.5 - 100 = 50
        ({"DSC": "50", "SEN": "80", "PREC": "71"}, {"DSC": "49", "SEN": "80", "PREC": "71"}),
        ({"DSC": "80.1", "F1": "80.0"}, {"DSC": "80.2", "F1": "80.0"}),
        ({"IOU": "80.1", "F1": "80.0"}, {"IOU": "80.2", "F1": "80.0"}),
    ],
)
def test_bounds_of_images_with_a_lesion_say_nothing_of_all_images(possible, impossible):
    for averaging in ("per-image-lesions", "pooled", "pooled-classes"):
        assert answer(averaging=averaging, **possible) == "possible"
        assert answer(averaging=averaging, **impossible) == "impossible"
    # Images without a lesion have DSC 1 and no SEN, and F1 of two empty masks may be 0 where DSC is 1.
    assert answer(averaging="per-image-all", **impossible) != "impossible"


def test_classification_readings():
    assert classify("macro", SEN="85.4", PREC="90.7", F1="88.0") == "possible"
    assert classify("macro", SEN="85.4", PREC="90.7", F1="88.1") == "impossible"  # at most 88.02, at least 88.05
    assert classify("macro", SEN="85", PREC="90", F1="73") == "impossible"  # at least 84.5 + 89.5 - 100 = 74
    assert classify("macro", SEN="85", PREC="90", F1="74") == "possible"
    assert classify("weighted", ACC="87.8", SEN="87.7") == "possible"  # both can be 87.75
    assert classify("weighted", ACC="87.8", SEN="87.6") == "impossible"
    assert classify("weighted", ACC="60.0", PREC="90.0", F1="72.2") == "impossible"  # SEN is ACC: 72.05
    assert classify("macro", ACC="60.0", PREC="90.0", F1="72.2") == "possible"
    assert classify("micro", ACC="80", SEN="80", PREC="80", F1="80") == "possible"
    assert classify("micro", PREC="80", F1="82") == "impossible"
    assert classify("micro", ACC="80", SPEC="78") == "impossible"
    assert classify("binary", ACC="60", F1="90") == "impossible"  # 2 * 89.5 - 100 = 79
    assert classify(ACC="60", F1="90") != "impossible"  # of many classes ACC is bound to little


def test_one_run_has_one_table():
    row = {"DSC": "80.0", "IOU": "75.0"}  # one table: IOU = 80 / 120 = 66.7; over runs: up to 80
    assert answer(averaging="pooled", n_runs=3, **row) == "possible"
    verdict = check_claim(claim(averaging="pooled", n_runs=1, ACC="90.0", **row))
    assert verdict.verdict == "impossible"
    assert "give DSC 80.0, IOU 75.0 together" in verdict.judgements[0].proofs[0]  # ACC is not to blame
    assert any(line.startswith("other numbers of cases or runs") for line in verdict.rescues)
    # ACC is a weighted mean of SEN and SPEC, with one weight in one run.
    assert answer("classification", "binary", n_runs=1, SEN="80", SPEC="70", ACC="85") == "impossible"
    assert answer("classification", "binary", n_runs=1, SEN="80", SPEC="70", ACC="75") == "possible"
    # F1 = H(SEN, PREC), so here 72.0, and only 72.0; over runs it may be less.
    assert answer("classification", "binary", n_runs=1, SEN="60.0", PREC="90.0", F1="70.0") == "impossible"
    assert answer("classification", "binary", SEN="60.0", PREC="90.0", F1="70.0") == "possible"


def test_values_that_a_test_set_can_produce():
    """GRIM: of 30 cases, 26 are 86.67 % and 27 are 90.00 %."""
    for text, expected in {"86.7": "possible", "86.6": "impossible", "87": "possible", "88": "impossible"}.items():
        assert answer("classification", "macro", 30, 1, ACC=text) == expected
    assert answer("classification", "macro", 30, 3, ACC="87.8") == "possible"  # 79 of 90
    proof = check_claim(claim("classification", "macro", 30, 1, ACC="88.0")).judgements[0].proofs[0]
    assert "26/30 = 86.667 and 27/30 = 90.000, do not round to 88.0" in proof
    assert answer("classification", n_cases=30, ACC="88.0") == "undetermined"  # the number of runs is not given
    assert answer("classification", "micro", 30, 1, F1="88.0") == "impossible"
    assert answer("classification", "macro", 30, 1, F1="88.0") == "undetermined"


def test_what_rescues_a_row():
    tight = check_claim(claim(SEN="30.0", SPEC="20.0", ACC="50.2"))  # 30.05 + 20.05 < 50.15, but 30.1 + 20.1 = 50.2
    assert any(line.startswith("values cut off instead of rounded") for line in tight.rescues)
    stated = check_claim(claim(averaging="pooled", DSC="75.2", SEN="60.0"))
    assert "another averaging than the stated one (nothing then rules out per-image-all)" in stated.rescues
    hopeless = check_claim(claim("classification", "macro", 30, 1, ACC="88.0", SEN="10", PREC="10", F1="99"))
    assert hopeless.verdict == "impossible"
    assert hopeless.rescues == ()
    assert "No single change that was tried rescues it." in claims_text([hopeless])


def test_a_mean_iou_with_background_is_a_rescue_by_hand():
    """TP 40, FP 10, FN 10, TN 940: IOU 40 / 60, of the background 940 / 960, mean 82.3; DSC 80."""
    verdict = check_claim(claim(DSC="80.0", IOU="82.3", ACC="98.0"))
    assert verdict.verdict == "impossible"  # IOU is at most DSC
    assert any(line.startswith("IOU the mean of lesion and background (mIoU)") for line in verdict.rescues)
    # With ACC 80 the background's IOU is at most 80, so the lesion's is at least 84.6: no rescue.
    other = check_claim(claim(DSC="80.0", IOU="82.3", ACC="80.0", SEN="80.0", PREC="80.0"))
    assert not any("mIoU" in line for line in other.rescues)


def test_runs_that_were_rounded_first_by_hand():
    """Of 3 cases, 1, 1 and 2 right: 33.3, 33.3 and 66.7 average to 44.43; 4 / 9 is 44.44."""
    assert answer("classification", n_cases=3, n_runs=3, ACC="44.43") == "impossible"  # 44.44 +- 0.005 + 0.005
    assert answer("classification", n_cases=3, n_runs=3, ACC="44.4") == "possible"
    assert answer("classification", n_cases=3, n_runs=1, ACC="44.4") == "impossible"
    # 2, 2 and 1 of 3 right, as 67, 67 and 33: 55.67 prints as 56, 5 / 9 is 55.56. 1 of 7 in 3 runs each as 14: 14.0.
    assert answer("classification", n_cases=7, n_runs=3, ACC="14.1") == "impossible"  # 3 of 21 are 14.29
    assert answer("classification", n_cases=7, n_runs=3, ACC="14.3") == "possible"
    tight = check_claim(claim("classification", "macro", ACC="80.0", SEN="80.0", PREC="80.0", F1="80.2"))
    assert any(line.startswith("values of each run rounded before they were averaged") for line in tight.rescues)
    one = check_claim(claim("classification", "macro", n_runs=1, ACC="80.0", SEN="80.0", PREC="80.0", F1="80.2"))
    assert not any("each run" in line for line in one.rescues)


def masks_of(rng, images):
    """(images, 4) counts of TP, FP, FN and TN, each image with a lesion and a background."""
    counts = rng.integers(1, 60, size=(images, 4))
    return counts + np.array([0, 0, 0, 1]) * rng.integers(0, 400, size=(images, 1))


def test_thousands_of_rows_with_a_mean_iou_or_runs_rounded_first_are_possible_or_rescued():
    rng = np.random.default_rng(20)
    rescued = 0
    for _ in range(1500):
        runs, decimals = int(rng.integers(1, 6)), int(rng.integers(0, 3))
        counts = np.stack([masks_of(rng, int(rng.integers(1, 9))).mean(axis=0) for _ in range(runs)])
        tp, fp, fn, tn = counts.T
        lesion, background = tp / (tp + fp + fn), tn / (tn + fp + fn)
        whole = {"DSC": 2 * tp / (2 * tp + fp + fn), "IOU": lesion, "ACC": (tp + tn) / counts.sum(axis=1)}
        whole |= {"SEN": tp / (tp + fn), "PREC": tp / (tp + fp)}
        names = [name for name in whole if rng.random() < 0.7]
        for word, kind in (
            ("mIoU", whole | {"IOU": (lesion + background) / 2}),
            ("each run", {name: np.round(values, decimals + 2) for name, values in whole.items()}),
        ):
            values = {name: printed(kind[name].mean(), decimals, True) for name in names}
            verdict = check_claim(claim(**values)) if values else None
            if verdict is not None and verdict.verdict == "impossible":
                assert any(word in line for line in verdict.rescues), (values, verdict.rescues)
                rescued += word == "mIoU"
    assert rescued > 100


def test_thousands_of_shares_over_runs_are_possible():
    """Honest rows with the numbers of cases and runs, each run rounded before it is averaged or not."""
    rng = np.random.default_rng(21)
    for _ in range(3000):
        cases, runs, decimals = int(rng.integers(2, 300)), int(rng.integers(1, 8)), int(rng.integers(0, 3))
        right = rng.binomial(cases, rng.uniform(0.3, 1), size=runs) / cases
        for each in (right, np.round(right, decimals + 2)) if runs > 1 else (right,):
            values = {"ACC": printed(each.mean(), decimals, bool(rng.integers(2)))}
            found = check_claim(claim("classification", n_cases=cases, n_runs=runs, **values))
            assert found.verdict != "impossible", (cases, runs, right, values)


def test_a_row_without_a_check_is_undetermined():
    verdict = check_claim(claim(HD95="18.05", SEN="95.2"))
    assert verdict.verdict == "undetermined"
    assert "DSC and SEN" in verdict.needed
    assert "No check applies. One needs" in claims_text([verdict])
    assert classify(ACC="87.8", SEN="85.4") == "undetermined"  # macro: neither says anything of the other


@pytest.mark.parametrize("task", READINGS)
def test_every_check_of_every_reading_can_refuse(task):
    """No check is idle: some corner of the cube breaks it, and the proof names its columns."""
    for reading, check in [(r, c) for r in READINGS[task] for c in r.checks]:
        columns = [name for name in JUDGED if any(name in group for group in check.columns_needed)]
        corners = [
            {name: rounded(text) for name, text in zip(columns, texts, strict=True)}
            for texts in product(("0.0", "40.0", "100.0"), repeat=len(columns))
        ]
        refused = [box for box in corners if check.refutes(box)]
        assert refused, (reading.name, check)
        assert all(columns[0] in check.proof(box) for box in refused)


# The file and the command line.

GOOD = {"table": "1", "dataset": "X", "task": "segmentation", "model": "m", "citation": "c", "values": {"DSC": "92"}}


@pytest.fixture
def write(tmp_path):
    def call(*rows, **more):
        path = tmp_path / "rows.yaml"
        path.write_text(yaml.safe_dump({"rows": list(rows), **more}))
        return path

    return call


@pytest.fixture
def bench(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["usfm-bench", "claims", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {"DCS": "92"}}, "row 1 (m): values.DCS: unknown metric. Did you mean 'DSC'?"),
        ({"values": {"Dice": "92", "DSC": "92"}}, "values.DSC: stands there twice."),
        ({"values": {"DSC": 92.0}}, "values.DSC: 92.0 is a YAML number, whose decimals are lost; write it in quotes"),
        ({"values": {"DSC": "92 %"}}, "values.DSC: '92 %' is not a number"),
        ({"values": {"DSC": "92.5 ± 1.7"}}, "values.DSC: '92.5 ± 1.7': write '92.5' here, and what stands behind"),
        ({"values": {"DSC": "92.5+/-1.7"}}, "values.DSC: '92.5+/-1.7': write '92.5' here, and what stands behind"),
        ({"values": {"DSC": None}}, "values.DSC: None is not a number"),
        ({"values": {"DSC": "nan"}}, "values.DSC: 'nan' is not a number"),
        ({"values": {"DSC": "920"}}, "values.DSC: 920 is above 100; rates are in percent."),
        ({"values": {"HD95": "-1"}}, "values.HD95: -1 is negative."),
        ({"values": {"DSC": "0.92", "ACC": "0.97"}}, "they look like fractions"),
        ({"values": {}}, "values: "),
        ({"values": ["92"]}, "values: "),
        ({"task": "segmentatio"}, "task: unknown 'segmentatio'. Did you mean 'segmentation'?"),
        ({"averaging": "macro"}, "averaging: unknown 'macro' in segmentation. Known: per-image, per-image-all"),
        ({"averaging": "poled"}, "Did you mean 'pooled'?"),
        ({"n_cases": 0}, "n_cases: "),
        ({"n_runs": "three"}, "n_runs: "),
        ({"n_runs": True}, "n_runs: "),
        ({"table": 1}, "table: 1 is not text; write it in quotes."),
        ({"n_case": 3}, "unknown key 'n_case'. Did you mean 'n_cases'?"),
    ],
)
def test_faults_of_a_row(write, change, message):
    with pytest.raises(BenchError) as found:
        load_claims(write({**GOOD, **change}))
    assert message in str(found.value)
    assert len(str(found.value).splitlines()) == 1


def test_metrics_are_known_by_the_names_that_tables_print(write):
    names = {"Dice": "DSC", "mIoU": "IOU", "Acc.": "ACC", "Recall": "SEN", "Specificity": "SPEC", "F1-Score": "F1"}
    [claim] = load_claims(write({**GOOD, "values": dict.fromkeys(names, "92.0")}))
    assert {*claim.values} == {*names.values()}


def test_every_fault_in_one_pass(bench, write):
    bad = {"model": "other", "task": "segmentation", "values": {"DCS": "1", "ACC": 3}, "n_cases": -1}
    code, out, err = bench(write(GOOD, bad, "text", ways=1))
    assert (code, out) == (2, "")
    for part in (
        "'table'",
        "'dataset'",
        "'citation'",
        "DCS",
        "ACC: 3 is a YAML number",
        "n_cases",
        "row 3: ",
        "'ways'",
    ):
        assert part in err
    assert err.count("row 2 (other): ") == 6
    assert "row 1" not in err


@pytest.mark.parametrize("text", ["", "rows: []", "rows: 3", "- 1", "{"])
def test_files_that_hold_no_rows(tmp_path, bench, text):
    path = tmp_path / "rows.yaml"
    path.write_text(text)
    assert bench(path)[0] == 2
    assert bench(tmp_path / "none.yaml")[2].endswith("none.yaml: no such file.\n")


def test_exit_codes_and_json(bench, write):
    code, out, err = bench(PAPER, "--format", "json")
    found = json.loads(out)
    assert (code, err, found["schema_version"]) == (1, "", 1)
    ours = found["rows"][1]
    assert (ours["row"], ours["verdict"], ours["values"]["ACC"]) == (2, "impossible", "82.0")
    assert {r["verdict"] for r in ours["readings"]} == {"impossible"}
    assert all(r["proofs"] for r in ours["readings"])
    assert ours["rescues"]
    assert json.loads(claims_json([])) == {"schema_version": 1, "rows": []}
    code, out, _ = bench(write({**GOOD, "spread": {"DSC": 3}}))
    assert code == 0
    assert out.startswith("undetermined: Table 1, X, segmentation, m\n")
