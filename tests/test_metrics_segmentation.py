"""Segmentation metrics against medpy, MONAI, scikit-learn and arithmetic; and what undefined cases get."""

import math
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from usfm_bench.data.dataset import open_reader
from usfm_bench.data.spec import load_registry
from usfm_bench.errors import BenchError
from usfm_bench.metrics import dice, hd95, score_segmentation
from usfm_bench.metrics.definitions import primary
from usfm_bench.scoring import definition_ids, summarise

MEDPY = pytest.importorskip("medpy.metric.binary")
SPACINGS = [(1.0, 1.0), (0.3, 0.7), (2.5, 0.1)]
FEW = settings(max_examples=40, deadline=None)
monai_is_deprecated = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")


def boxes(shape, *corners):
    """A mask of rectangles (top, bottom, left, right)."""
    mask = np.zeros(shape, bool)
    for top, bottom, left, right in corners:
        mask[top:bottom, left:right] = True
    return mask


def with_hole(shape):
    return boxes(shape, (3, 17, 4, 25)) & ~boxes(shape, (8, 12, 9, 15))


PIXEL, FULL = boxes((20, 30), (7, 8, 11, 12)), np.ones((20, 30), bool)
PAIRS = {
    "the same pixel": (PIXEL, PIXEL),
    "one pixel and another": (PIXEL, boxes((20, 30), (11, 12, 14, 15))),
    "one pixel in a full image": (PIXEL, FULL),
    "a full image and a box": (FULL, boxes((20, 30), (5, 9, 6, 20))),
    "one row and one column": (boxes((20, 30), (4, 5, 0, 30)), boxes((20, 30), (0, 20, 9, 10))),
    "touching the border": (boxes((20, 30), (0, 6, 0, 9)), boxes((20, 30), (14, 20, 22, 30))),
    "holes": (with_hole((20, 30)), boxes((20, 30), (3, 17, 4, 25))),
    "several components": (
        boxes((20, 30), (0, 2, 0, 2), (9, 14, 9, 20), (19, 20, 29, 30)),
        boxes((20, 30), (1, 6, 3, 8), (10, 17, 12, 25)),
    ),
    "a diamond and a disk": (
        np.add.outer(abs(np.arange(20) - 9), abs(np.arange(30) - 12)) < 8,
        np.hypot.outer(np.arange(20) - 11, np.arange(30) - 16) < 7,
    ),
    "tall": (boxes((90, 5), (3, 40, 1, 4)), boxes((90, 5), (30, 88, 0, 2))),
    "wide": (boxes((5, 90), (1, 4, 3, 40)), boxes((5, 90), (0, 2, 30, 88))),
    "an image of one row": (boxes((1, 30), (0, 1, 2, 9)), boxes((1, 30), (0, 1, 5, 28))),
    "an image of one column": (boxes((30, 1), (2, 9, 0, 1)), boxes((30, 1), (5, 28, 0, 1))),
}
pairs = pytest.mark.parametrize(("pred", "target"), PAIRS.values(), ids=PAIRS.keys())


@st.composite
def any_masks(draw, n=2):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    return [draw(arrays(bool, shape, fill=st.booleans())) for _ in range(n)]


@st.composite
def lesions(draw):
    masks = draw(any_masks())
    assume(all(mask.any() for mask in masks))
    return masks


def hd95_of_monai(pred, target, spacing):
    import torch
    from monai.metrics import compute_hausdorff_distance

    batch = [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (pred, target)]
    return compute_hausdorff_distance(*batch, include_background=True, percentile=95, spacing=spacing).item()


@pairs
def test_dice_and_pooled_hd95_equal_medpy_to_the_last_bit(pred, target):
    assert dice(pred, target) == MEDPY.dc(pred, target)
    assert hd95(pred, target) == MEDPY.hd95(pred, target)


@FEW
@given(lesions())
def test_dice_and_pooled_hd95_equal_medpy_on_any_masks(masks):
    assert dice(*masks) == MEDPY.dc(*masks)
    assert hd95(*masks) == MEDPY.hd95(*masks)


@pytest.mark.parametrize("spacing", SPACINGS)
@pairs
def test_hd95_with_spacing_equals_medpy(pred, target, spacing):
    assert hd95(pred, target, spacing=spacing) == pytest.approx(MEDPY.hd95(pred, target, spacing), rel=1e-12)


@monai_is_deprecated
@pytest.mark.parametrize("spacing", SPACINGS)
@pairs
def test_max_directed_hd95_equals_monai(pred, target, spacing):
    ours = hd95(pred, target, spacing=spacing, rule="max_directed")
    assert ours == pytest.approx(hd95_of_monai(pred, target, spacing), rel=1e-6, abs=1e-6)


@monai_is_deprecated
@FEW
@given(lesions())
def test_max_directed_hd95_equals_monai_on_any_masks(masks):
    assert hd95(*masks, rule="max_directed") == pytest.approx(hd95_of_monai(*masks, (1, 1)), rel=1e-6, abs=1e-6)


@monai_is_deprecated
def test_hd95_equals_medpy_and_monai_on_real_masks(busi_root):
    reader = open_reader(load_registry()["busi-lesion"], busi_root)
    cases = reader.cases()
    rng = np.random.default_rng(0)
    for i, case in enumerate(cases[:: len(cases) // 40][:40]):
        target = reader.load(case).mask
        pred = np.roll(target, rng.integers(-12, 13, size=2), axis=(0, 1))
        pred[5:15, 5:15] |= rng.random() < 0.4  # a false blob, so that the two rules differ
        assert dice(pred, target) == MEDPY.dc(pred, target)
        assert hd95(pred, target) == MEDPY.hd95(pred, target)
        if i % 4 == 0:  # MONAI takes a hundred times as long as all else
            expected = pytest.approx(hd95_of_monai(pred, target, (1, 1)), rel=1e-6)
            assert hd95(pred, target, rule="max_directed") == expected


def test_dice_by_hand():
    pred, target = np.array([[True, True, False, False]]), np.array([[False, True, True, True]])
    assert dice(pred, target) == 2 * 1 / (2 + 3)


def test_the_two_rules_by_hand():
    one, two = boxes((1, 20), (0, 1, 0, 1)), boxes((1, 20), (0, 1, 0, 1), (0, 1, 10, 11))
    # Distances are [0] one way and [0, 10] the other.
    assert hd95(one, two, rule="pooled") == pytest.approx(0.9 * 10)  # rank 0.95 * 2 = 1.9 of [0, 0, 10]
    assert hd95(one, two, rule="max_directed") == pytest.approx(0.95 * 10)  # rank 0.95 of [0, 10]


def test_spacing_by_hand():
    pred, target = PIXEL, boxes((20, 30), (10, 11, 15, 16))  # 3 rows and 4 columns apart
    assert hd95(pred, target) == 5
    assert hd95(pred, target, spacing=(4.0, 1.25)) == math.hypot(3 * 4, 4 * 1.25)


@FEW
@given(lesions(), st.sampled_from(SPACINGS))
def test_order_flips_and_transposition_change_nothing(masks, spacing):
    a, b = masks
    for rule in ("pooled", "max_directed"):
        value = pytest.approx(hd95(a, b, spacing=spacing, rule=rule), rel=1e-12)
        assert hd95(b, a, spacing=spacing, rule=rule) == value
        assert hd95(a[::-1], b[::-1], spacing=spacing, rule=rule) == value
        assert hd95(a[:, ::-1], b[:, ::-1], spacing=spacing, rule=rule) == value
        assert hd95(a.T, b.T, spacing=spacing[::-1], rule=rule) == value
    assert dice(a, b) == dice(b, a) == dice(a.T, b.T) == dice(a[::-1], b[::-1])


@FEW
@given(lesions(), st.integers(0, 9), st.integers(0, 9))
def test_background_around_the_masks_changes_nothing(masks, before, after):
    padded = [np.pad(mask, ((before, after), (after, before))) for mask in masks]
    assert hd95(*padded) == hd95(*masks)
    assert dice(*padded) == dice(*masks)


def score_one(pred, target, spacing=None):
    return score_segmentation([pred], [target], spacings=[spacing]).iloc[0]


EMPTY, LESION = boxes((30, 40)), boxes((30, 40), (5, 9, 6, 20))


def test_two_empty_masks_agree_and_are_no_lesion_case():
    row = score_one(EMPTY, EMPTY)
    assert row[["DSC", "HD95", "IOU", "ACC", "SPEC", "F1"]].tolist() == [1, 0, 1, 1, 1, 1]
    assert row[["SEN", "PREC"]].isna().all()
    assert not row[["lesion", "missed", "false_alarm"]].any()


@pytest.mark.parametrize(("spacing", "diagonal"), [(None, 50), ((0.5, 0.1), math.hypot(15, 4))])
def test_a_missed_lesion_gets_zero_and_the_image_diagonal(spacing, diagonal):
    row = score_one(EMPTY, LESION, spacing)
    assert row[["DSC", "IOU", "F1", "SEN", "PREC", "SPEC"]].tolist() == [0, 0, 0, 0, 0, 1]
    assert row["HD95"] == diagonal == hd95(EMPTY, LESION, spacing=spacing, rule="max_directed")
    assert row[["lesion", "missed", "false_alarm"]].tolist() == [True, True, False]


def test_a_false_alarm_has_no_sensitivity_and_no_distance():
    row = score_one(LESION, EMPTY)
    assert row[["DSC", "IOU", "F1", "PREC"]].tolist() == [0, 0, 0, 0]
    assert row["SPEC"] == row["ACC"] == 1 - 4 * 14 / (30 * 40)
    assert row[["SEN", "HD95"]].isna().all()
    assert row[["lesion", "missed", "false_alarm"]].tolist() == [False, False, True]


def test_a_lesion_that_fills_the_image_leaves_no_specificity():
    assert math.isnan(score_one(FULL, FULL)["SPEC"])


def expected_by_sklearn(pred, target):
    p, t = pred.ravel().astype(int), target.ravel().astype(int)
    return {
        "DSC": sk.f1_score(t, p, zero_division=1),
        "IOU": sk.jaccard_score(t, p, zero_division=1),
        "ACC": sk.accuracy_score(t, p),
        "SEN": sk.recall_score(t, p, zero_division=np.nan),
        "SPEC": sk.recall_score(1 - t, 1 - p, zero_division=np.nan),
        "PREC": sk.precision_score(t, p, zero_division=0 if t.any() else np.nan),
        "F1": sk.f1_score(t, p, zero_division=1),
    }


@FEW
@given(any_masks())
def test_every_overlap_equals_sklearn_on_the_pixels(masks):
    row = score_one(*masks)
    for name, value in expected_by_sklearn(*masks).items():
        assert row[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name
    assert (row["target_px"], row["pred_px"]) == (masks[1].sum(), masks[0].sum())


def random_cases(n=9):
    """Masks of many sizes; one missed lesion, one false alarm, one pair of empty masks."""
    rng = np.random.default_rng(3)
    cases = [tuple(rng.random((2, *rng.integers(1, 40, 2))) < 0.3) for _ in range(n)]
    cases += [(EMPTY, LESION), (LESION, EMPTY), (EMPTY, EMPTY)]
    return cases, [(0.2 + i, 1.0) for i in range(len(cases))], [f"case {i}" for i in range(len(cases))]


def score_rows(rows):
    cases, spacings, names = random_cases()
    return score_segmentation(
        [cases[i][0] for i in rows],
        [cases[i][1] for i in rows],
        spacings=[spacings[i] for i in rows],
        case_ids=[names[i] for i in rows],
    )


def test_a_row_has_the_functions_values_for_its_case():
    cases, spacings, names = random_cases()
    scores = score_rows(range(12))
    assert scores["case_id"].tolist() == names
    assert scores["DSC"].tolist() == [dice(*case) for case in cases]
    expected = [hd95(*case, spacing=gap) for case, gap in zip(cases, spacings, strict=True)]
    np.testing.assert_array_equal(scores["HD95"], expected)


@FEW
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_batches_of_cases_change_no_row(order, cut):
    whole = score_rows(range(12))
    parts = pd.concat([score_rows(order[:cut]), score_rows(order[cut:])], ignore_index=True)
    pd.testing.assert_frame_equal(parts, whole.iloc[order].reset_index(drop=True))


def test_cases_without_names_are_numbered():
    assert score_segmentation([LESION] * 3, [LESION] * 3)["case_id"].tolist() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("pred", "target", "words"),
    [
        (LESION.astype(np.uint8), LESION, ["pred", "uint8", "(30, 40)"]),
        (LESION, LESION.astype(float), ["target", "float64"]),
        (LESION[None], LESION, ["pred", "(1, 30, 40)"]),
        (LESION, LESION.T, ["pred", "(30, 40)", "target", "(40, 30)"]),
    ],
)
@pytest.mark.parametrize("metric", [dice, hd95])
def test_an_unfit_mask_is_an_error_that_names_it(metric, pred, target, words):
    with pytest.raises(BenchError) as error:
        metric(pred, target)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -2.0), (math.nan, 1.0)])
def test_a_spacing_that_is_not_positive_is_an_error(spacing):
    with pytest.raises(BenchError, match="spacing"):
        hd95(LESION, LESION, spacing=spacing)


def test_an_unknown_rule_is_an_error():
    with pytest.raises(BenchError, match="median"):
        hd95(LESION, LESION, rule="median")


def test_scoring_names_the_case_whose_masks_do_not_fit():
    with pytest.raises(BenchError, match=r"benign \(2\).*\(40, 30\)"):
        score_segmentation([LESION, LESION], [LESION, LESION.T], case_ids=["benign (1)", "benign (2)"])


@pytest.mark.parametrize("short", [{"case_ids": ["a"]}, {"spacings": [None]}])
def test_lists_of_different_lengths_are_an_error(short):
    with pytest.raises(BenchError, match="2 preds, 2 targets"):
        score_segmentation([LESION] * 2, [LESION] * 2, **short)


def test_a_trials_means_are_over_lesions_and_count_misses_and_false_alarms():
    half = boxes((30, 40), (5, 7, 6, 20))  # DSC 2*28 / (28+56)
    scores = score_segmentation([LESION, half, EMPTY, LESION, EMPTY], [LESION, LESION, LESION, EMPTY, EMPTY])
    means = summarise(scores, "segmentation", ())
    assert means["DSC"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert means["SEN"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert means["HD95"] == pytest.approx((0 + hd95(half, LESION) + 50) / 3)
    assert operator.itemgetter("n_lesion_cases", "n_missed", "n_false_alarms")(means) == (3, 1, 1)


def test_a_mean_over_no_lesion_is_missing():
    means = summarise(score_segmentation([EMPTY, LESION], [EMPTY, EMPTY]), "segmentation", ())
    assert means["DSC"] is None
    assert means["n_false_alarms"] == 1


def test_every_scored_metric_has_a_versioned_definition():
    scored = score_segmentation([LESION], [LESION]).columns
    assert set(primary("segmentation")) == set(definition_ids("segmentation")) <= set(scored)
    ids = list(definition_ids("segmentation").values())
    assert len(set(ids)) == len(ids)
    assert all(identifier.rpartition("@")[2].isdigit() for identifier in ids)
