"""Segmentation metrics against medpy, MONAI, scikit-learn, SciPy and arithmetic; and what undefined cases get."""

import math
import operator

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from sklearn import metrics as sk

from usfm_bench.core.errors import BenchError
from usfm_bench.data.dataset import open_reader
from usfm_bench.data.resize import resize_mask
from usfm_bench.metrics import DEFINITIONS, dice, find_definitions, hd95, score_segmentation
from usfm_bench.metrics.pair import border, border_distances, percentile
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.tasks.segmentation import SegmentationPredictions

MEDPY = pytest.importorskip("medpy.metric.binary")
MEDPY_OF = {"hd95.pooled": MEDPY.hd95, "hd": MEDPY.hd, "assd.pooled": MEDPY.assd}
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


@pytest.fixture(scope="module")
def real_pairs(busi_root):
    """40 masks of BUSI, moved by up to 12 pixels, some with a false blob, so that the two HD95 differ."""
    reader = open_reader(load_registry()["busi-lesion"], busi_root)
    cases = reader.cases()
    rng = np.random.default_rng(0)
    found = []
    for case in cases[:: len(cases) // 40][:40]:
        target = reader.load(case).mask
        pred = np.roll(target, rng.integers(-12, 13, size=2), axis=(0, 1))
        pred[5:15, 5:15] |= rng.random() < 0.4
        found.append((pred, target))
    return found


def value(name, pred, target, spacing=None, grid_pred=None):
    """What the definition `name` gives for one pair."""
    [definition] = find_definitions([name])
    grid_preds = None if grid_pred is None else [grid_pred]
    scores = score_segmentation(
        [pred], [target], definitions=[definition], spacings=[spacing], grid_preds=grid_preds, threads=1
    )
    return scores[definition.column].item()


def distances(pred, target):
    """HD95, HD and ASSD as medpy defines them, in pixels."""
    chosen = find_definitions(f"{stem}.native.px" for stem in MEDPY_OF)
    return score_segmentation([pred], [target], definitions=chosen, threads=1).iloc[0][["HD95", "HD", "ASSD"]].tolist()


def distances_of_medpy(pred, target):
    return [of_medpy(pred, target) for of_medpy in MEDPY_OF.values()]


def as_batches(*masks):
    import torch

    return [torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in masks]


def hd95_of_monai(pred, target, spacing):
    from monai.metrics import compute_hausdorff_distance

    batches = as_batches(pred, target)
    return compute_hausdorff_distance(*batches, include_background=True, percentile=95, spacing=spacing).item()


def surface_dice_of_monai(pred, target, tolerance):
    from monai.metrics import compute_surface_dice

    return compute_surface_dice(*as_batches(pred, target), [tolerance], include_background=True).item()


@pairs
def test_dice_equals_medpy_to_the_last_bit(pred, target):
    assert dice(pred, target) == MEDPY.dc(pred, target)


@pairs
def test_distances_equal_medpy_to_the_last_bit(pred, target):
    assert distances(pred, target) == distances_of_medpy(pred, target)


@FEW
@given(lesions())
def test_dice_and_distances_equal_medpy_on_any_masks(masks):
    assert dice(*masks) == MEDPY.dc(*masks)
    assert distances(*masks) == distances_of_medpy(*masks)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("stem", MEDPY_OF)
@pairs
def test_distances_with_spacing_equal_medpy(pred, target, stem, spacing):
    expected = pytest.approx(MEDPY_OF[stem](pred, target, spacing), rel=1e-12)
    assert value(f"{stem}.native.mm", pred, target, spacing) == expected


def mean_of_means_of_medpy(pred, target, spacing=None):
    return (MEDPY.asd(pred, target, spacing) + MEDPY.asd(target, pred, spacing)) / 2


@pairs
def test_assd_as_a_mean_of_means_is_made_of_medpys_directed_ones(pred, target):
    assert value("assd.mean_of_means.native.px", pred, target) == mean_of_means_of_medpy(pred, target)
    expected = pytest.approx(mean_of_means_of_medpy(pred, target, (0.3, 0.7)), rel=1e-12)
    assert value("assd.mean_of_means.native.mm", pred, target, (0.3, 0.7)) == expected


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


def around(*masks):
    """The masks cut to the box around them, which takes medpy a tenth of the time."""
    rows, columns = ndimage.find_objects(np.logical_or(*masks).astype(int))[0]
    return [mask[rows, columns] for mask in masks]


def test_dice_and_distances_equal_medpy_on_real_masks(real_pairs):
    for pred, target in real_pairs:
        cut = around(pred, target)
        assert dice(pred, target) == MEDPY.dc(*cut)
        assert distances(pred, target) == distances_of_medpy(*cut)


@monai_is_deprecated
def test_max_directed_hd95_equals_monai_on_real_masks(real_pairs):
    for pred, target in real_pairs[::4]:
        expected = pytest.approx(hd95_of_monai(pred, target, (1, 1)), rel=1e-6)
        assert hd95(pred, target, rule="max_directed") == expected


def three_ways(pred, target):
    """Distances by the matrix product, by trees and by the distance transform."""
    borders = border(pred), border(target)
    with pytest.MonkeyPatch.context() as patch:
        for pairs_limit, dense in ((np.inf, np.inf), (0, np.inf), (0, -1)):
            patch.setattr("usfm_bench.metrics.pair._PAIRS", pairs_limit)
            patch.setattr("usfm_bench.metrics.pair._DENSE", dense)
            yield border_distances(*borders, None)


def assert_three_ways_agree(pred, target):
    by_product, *others = three_ways(pred, target)
    for other in others:
        for product, distance in zip(by_product, other, strict=True):
            np.testing.assert_array_equal(product, distance, strict=True)


@pairs
def test_matrix_product_trees_and_transform_give_the_same_bits(pred, target):
    assert_three_ways_agree(pred, target)


@FEW
@given(lesions())
def test_matrix_product_trees_and_transform_give_the_same_bits_for_any_masks(masks):
    assert_three_ways_agree(*masks)


def test_matrix_product_trees_and_transform_give_the_same_bits_for_real_masks(real_pairs):
    for pred, target in real_pairs:
        assert_three_ways_agree(pred, target)


def test_matrix_product_is_exact_at_the_far_end_of_its_range():
    pred, target = boxes((2048, 60), (1, 2, 2, 9), (2040, 2046, 5, 50)), boxes((2048, 60), (0, 1, 0, 1))
    target[2001:2045, 40:57] = True
    assert_three_ways_agree(pred, target)
    assert hd95(pred, target) == MEDPY.hd95(pred, target)


@pytest.mark.parametrize("length", [2600, 5200])
def test_an_image_too_long_for_exact_products_still_equals_medpy(length):
    pred = boxes((length, 40), (3, 9, 2, 20), (length - 299, length - 3, 11, 38))
    target = boxes((length, 40), (0, 5, 5, 30), (length - 310, length - 267, 1, 17), (length - 45, length, 3, 39))
    assert distances(pred, target) == distances_of_medpy(pred, target)


def test_long_borders_still_equal_medpy():
    rng = np.random.default_rng(5)
    pred, target = rng.random((2, 90, 90)) < 0.5
    assert border(pred).sum() * border(target).sum() > 2_000_000
    assert distances(pred, target) == distances_of_medpy(pred, target)


def test_dense_borders_with_spacing_equal_medpy():
    pred, target = np.random.default_rng(5).random((2, 90, 90)) < 0.5
    spacing = (0.3, 0.7)
    assert hd95(pred, target, spacing=spacing) == MEDPY.hd95(pred, target, spacing)


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 1.0, 1.0), 0.5, "ab", ("1", "2"), (0.0, 1.0)])
def test_a_spacing_of_another_form_is_an_error_that_shows_it(spacing):
    with pytest.raises(BenchError, match="spacing is"):
        hd95(PIXEL, PIXEL, spacing=spacing)


def test_a_spacing_may_be_an_array():
    assert hd95(PIXEL, FULL, spacing=np.array([0.5, 0.25])) == hd95(PIXEL, FULL, spacing=(0.5, 0.25))


@pytest.mark.parametrize("grid", [None, np.ones((4, 4), np.uint8), np.ones((4, 5), bool), np.ones((0, 0), bool)])
def test_a_faulty_prediction_on_the_grid_is_named_with_its_case(grid):
    with pytest.raises(BenchError, match=r"case 'b': grid_preds is .*square bool mask"):
        score_segmentation(
            [PIXEL] * 2,
            [PIXEL] * 2,
            grid_preds=[np.ones((4, 4), bool), grid],
            case_ids=["a", "b"],
            definitions=find_definitions(["dsc.grid"]),
        )


def test_definitions_of_classification_are_refused():
    with pytest.raises(BenchError, match=r"acc@1, usfm-repo/cls\.acc@1 is not of segmentation"):
        score_segmentation([PIXEL], [PIXEL], definitions=find_definitions(["acc", "usfm-repo/cls.acc"]))


@settings(max_examples=300, deadline=None)
@given(arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1e4)), st.sampled_from([0.95, 0.5, 0.0, 1.0]))
def test_percentile_equals_numpy_to_the_last_bit(values, share):
    assert percentile(values, share) == np.percentile(values, 100 * share)


def test_dice_by_hand():
    pred, target = np.array([[True, True, False, False]]), np.array([[False, True, True, True]])
    assert dice(pred, target) == 2 * 1 / (2 + 3)


ONE, TWO = boxes((1, 20), (0, 1, 0, 1)), boxes((1, 20), (0, 1, 0, 1), (0, 1, 10, 11))
# Distances are [0] one way and [0, 10] the other.


def test_the_two_rules_by_hand():
    assert hd95(ONE, TWO, rule="pooled") == pytest.approx(0.9 * 10)  # rank 0.95 * 2 = 1.9 of [0, 0, 10]
    assert hd95(ONE, TWO, rule="max_directed") == pytest.approx(0.95 * 10)  # rank 0.95 of [0, 10]


def test_the_two_assd_by_hand():
    assert value("assd.pooled.native.px", ONE, TWO) == (0 + 0 + 10) / 3
    assert value("assd.mean_of_means.native.px", ONE, TWO) == (0 / 1 + (0 + 10) / 2) / 2
    assert value("hd.native.px", ONE, TWO) == 10


def test_spacing_by_hand():
    pred, target = PIXEL, boxes((20, 30), (10, 11, 15, 16))  # 3 rows and 4 columns apart
    assert hd95(pred, target) == 5
    assert hd95(pred, target, spacing=(4.0, 1.25)) == math.hypot(3 * 4, 4 * 1.25)


@monai_is_deprecated
@pytest.mark.parametrize("tolerance", [0, 1, 2, 5])
@pairs
def test_nsd_equals_monai(pred, target, tolerance):
    expected = pytest.approx(surface_dice_of_monai(pred, target, tolerance), rel=1e-6)
    assert value(f"nsd.{tolerance}px.native", pred, target) == expected


@monai_is_deprecated
@FEW
@given(lesions(), st.sampled_from([0, 1, 2, 5]))
def test_nsd_equals_monai_on_any_masks(masks, tolerance):
    expected = pytest.approx(surface_dice_of_monai(*masks, tolerance), rel=1e-6)
    assert value(f"nsd.{tolerance}px.native", *masks) == expected


SQUARE = boxes((60, 70), (10, 40, 12, 42))


@pytest.mark.parametrize("shift", [(0, 1), (0, 3), (2, 2), (3, 4), (-5, 1)])
@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
def test_nsd_and_hausdorff_distances_are_near_those_of_surface_elements(shift):
    sd = pytest.importorskip("surface_distance")
    moved = np.roll(SQUARE, shift, axis=(0, 1))
    theirs = sd.compute_surface_distances(SQUARE, moved, (1, 1))
    # Its elements lie between pixels: 116 of length 1 along the square's sides and 4 of 1/sqrt(2) at its corners, where
    # the border has 116 pixels in all. Shares then differ by less than one pixel's.
    for tolerance in (1, 2, 3):
        expected = pytest.approx(sd.compute_surface_dice_at_tolerance(theirs, tolerance), abs=1 / 116)
        assert value(f"nsd.{tolerance}px.native", moved, SQUARE) == expected
    assert value("hd.native.px", moved, SQUARE) == sd.compute_robust_hausdorff(theirs, 100) == math.hypot(*shift)
    # It takes the next distance and does not interpolate.
    expected = pytest.approx(sd.compute_robust_hausdorff(theirs, 95), abs=1)
    assert value("hd95.max_directed.native.px", moved, SQUARE) == expected


def test_nsd_at_any_tolerance_by_hand():
    pred, target = boxes((9, 9), (0, 1, 0, 1), (8, 9, 8, 9)), boxes((9, 9), (2, 3, 3, 4), (8, 9, 8, 9))
    # Distances are [sqrt(13), 0] each way, and sqrt(13) is 3.606.
    assert value("nsd.3.5px.native@1", pred, target) == 2 / 4
    assert value("nsd.3.7px.native@1", pred, target) == 4 / 4


def test_nsd_in_millimetres_by_hand():
    pred = boxes((9, 9), (4, 5, 4, 5))
    down, right = boxes((9, 9), (5, 6, 4, 5)), boxes((9, 9), (4, 5, 6, 7))
    spacing = (1.2, 0.4)  # one row is 1.2 mm, two columns are 0.8 mm
    assert value("nsd.1mm.native@1", pred, down, spacing) == 0
    assert value("nsd.1mm.native@1", pred, right, spacing) == 1
    assert math.isnan(value("nsd.1mm.native@1", pred, right))


TWO_LESIONS = boxes((20, 30), (2, 6, 2, 6), (10, 14, 20, 24))
LDRS = {"ldr.iou10": 0.1, "ldr.iou50": 0.5, "ldr.any": 0.0}


@pytest.mark.parametrize(
    ("pred", "found"),
    [
        # The first lesion alone, and a false component.
        (boxes((20, 30), (2, 6, 2, 6), (17, 19, 2, 6)), {"ldr.iou10": 1 / 2, "ldr.iou50": 1 / 2, "ldr.any": 1 / 2}),
        # 4 of 16 + 16 - 4 = 28 pixels of the first: 0.14.
        (boxes((20, 30), (2, 6, 5, 9)), {"ldr.iou10": 1 / 2, "ldr.iou50": 0, "ldr.any": 1 / 2}),
        # 1 of 16 + 16 - 1 = 31 pixels of the first: 0.03.
        (boxes((20, 30), (5, 9, 5, 9)), {"ldr.iou10": 0, "ldr.iou50": 0, "ldr.any": 1 / 2}),
        # Half of the first's 16 pixels: exactly 0.5.
        (boxes((20, 30), (2, 4, 2, 6)), {"ldr.iou10": 1 / 2, "ldr.iou50": 1 / 2, "ldr.any": 1 / 2}),
        # One component of 12 * 22 = 264 pixels over both: 16 / 264 = 0.06 each.
        (boxes((20, 30), (2, 14, 2, 24)), {"ldr.iou10": 0, "ldr.iou50": 0, "ldr.any": 1}),
        # Both lesions and a bridge of 4 + 14 pixels: 16 / 50 = 0.32 each.
        (TWO_LESIONS | boxes((20, 30), (6, 10, 5, 6), (10, 11, 6, 20)), {"ldr.iou10": 1, "ldr.iou50": 0, "ldr.any": 1}),
        (boxes((20, 30), (17, 19, 2, 6)), dict.fromkeys(LDRS, 0)),
        (boxes((20, 30)), dict.fromkeys(LDRS, 0)),
    ],
)
def test_lesions_found_by_hand(pred, found):
    assert {stem: value(f"{stem}.native", pred, TWO_LESIONS) for stem in LDRS} == found


def test_pixels_that_meet_at_a_corner_are_one_lesion():
    chain = np.eye(10, dtype=bool)
    assert value("ldr.iou50.native", chain & boxes((10, 10), (0, 5, 0, 5)), chain) == 1  # 5 of 10 pixels
    assert value("ldr.iou50.native", chain & boxes((10, 10), (0, 4, 0, 4)), chain) == 0  # 4 of 10 pixels


@pytest.mark.parametrize("stem", LDRS)
def test_no_lesion_is_found_where_there_is_none(stem):
    assert math.isnan(value(f"{stem}.native", TWO_LESIONS, boxes((20, 30))))
    assert math.isnan(value(f"{stem}.native", boxes((20, 30)), boxes((20, 30))))


def lesions_found_slowly(pred, target, threshold):
    (said, n_said), (true, n_true) = (ndimage.label(mask, np.ones((3, 3))) for mask in (pred, target))
    if not n_true:
        return math.nan
    found = 0
    for i in range(1, n_true + 1):
        ious = [0.0]
        for j in range(1, n_said + 1):
            both = np.sum((true == i) & (said == j))
            ious.append(both / np.sum((true == i) | (said == j)))
        found += max(ious) >= threshold if threshold else max(ious) > 0
    return found / n_true


@FEW
@given(any_masks())
def test_lesions_found_equal_a_slow_count_with_scipys_components(masks):
    chosen = find_definitions(f"{stem}.native" for stem in LDRS)
    found = score_segmentation(*([mask] for mask in masks), definitions=chosen, threads=1).iloc[0]
    for definition, threshold in zip(chosen, LDRS.values(), strict=True):
        expected = lesions_found_slowly(*masks, threshold)
        assert found[definition.column] == pytest.approx(expected, rel=1e-12, nan_ok=True)


@FEW
@given(lesions(), st.sampled_from(SPACINGS))
def test_order_flips_and_transposition_change_no_hd95(masks, spacing):
    a, b = masks
    for rule in ("pooled", "max_directed"):
        expected = pytest.approx(hd95(a, b, spacing=spacing, rule=rule), rel=1e-12)
        assert hd95(b, a, spacing=spacing, rule=rule) == expected
        assert hd95(a[::-1], b[::-1], spacing=spacing, rule=rule) == expected
        assert hd95(a[:, ::-1], b[:, ::-1], spacing=spacing, rule=rule) == expected
        assert hd95(a.T, b.T, spacing=spacing[::-1], rule=rule) == expected
    assert dice(a, b) == dice(b, a) == dice(a.T, b.T) == dice(a[::-1], b[::-1])


COLUMNS = [d.column for d in TASKS["segmentation"].primary()]
SYMMETRIC = ["DSC", "IOU", "F1", "ACC", "NSD", "HD95", "HD", "ASSD", "HD95_mm", "HD_mm", "ASSD_mm"]
MILLIMETRES = ["HD95_mm", "HD_mm", "ASSD_mm"]


def score_one(pred, target, spacing=None):
    return score_segmentation([pred], [target], spacings=[spacing], threads=1).iloc[0]


def primary_values(*cases):
    """What the primary definitions give, a dictionary for each (prediction, reference, spacing)."""
    preds, targets, spacings = zip(*cases, strict=True)
    return score_segmentation(preds, targets, spacings=spacings, threads=1)[COLUMNS].to_dict("records")


def near(values):
    return pytest.approx(values, rel=1e-12, nan_ok=True)


@FEW
@given(any_masks(), st.sampled_from(SPACINGS))
def test_flips_and_transposition_change_no_primary_metric(masks, spacing):
    a, b = masks
    as_given, *others = primary_values(
        (a, b, spacing), (a[::-1], b[::-1], spacing), (a[:, ::-1], b[:, ::-1], spacing), (a.T, b.T, spacing[::-1])
    )
    assert others == [near(as_given)] * 3


@FEW
@given(lesions(), st.sampled_from(SPACINGS))
def test_prediction_and_reference_can_be_swapped_in_symmetric_metrics(masks, spacing):
    one_way, other_way = primary_values((*masks, spacing), (*masks[::-1], spacing))
    assert {name: other_way[name] for name in SYMMETRIC} == near({name: one_way[name] for name in SYMMETRIC})
    assert (one_way["SEN"], one_way["PREC"]) == (other_way["PREC"], other_way["SEN"])


@FEW
@given(any_masks(), st.sampled_from(SPACINGS), st.sampled_from([0.25, 3.0]))
def test_distances_in_millimetres_grow_with_the_spacing_and_nothing_else_does(masks, spacing, factor):
    small, large = primary_values((*masks, spacing), (*masks, (spacing[0] * factor, spacing[1] * factor)))
    assert large == near({name: small[name] * (factor if name in MILLIMETRES else 1) for name in COLUMNS})


@FEW
@given(any_masks())
def test_a_spacing_of_one_millimetre_makes_pixels_millimetres(masks):
    [values] = primary_values((*masks, (1.0, 1.0)))
    assert [values[name] for name in MILLIMETRES] == near([values[name[:-3]] for name in MILLIMETRES])


@FEW
@given(lesions(), st.integers(0, 9), st.integers(0, 9))
def test_background_around_the_masks_changes_nothing(masks, before, after):
    padded = [np.pad(mask, ((before, after), (after, before))) for mask in masks]
    values, of_padded = primary_values((*masks, (0.3, 0.7)), (*padded, (0.3, 0.7)))
    names = [name for name in COLUMNS if name not in ("ACC", "SPEC")]
    assert [of_padded[name] for name in names] == near([values[name] for name in names])


EMPTY, LESION = boxes((30, 40)), boxes((30, 40), (5, 9, 6, 20))


def test_two_empty_masks_agree_and_are_no_lesion_case():
    row = score_one(EMPTY, EMPTY)
    assert row[["DSC", "HD95", "IOU", "ACC", "SPEC", "F1", "HD", "ASSD", "NSD"]].tolist() == [1, 0, 1, 1, 1, 1, 0, 0, 1]
    assert row[["SEN", "PREC", "LDR"]].isna().all()
    assert not row[["lesion", "missed", "false_alarm"]].any()


def test_a_missed_lesion_gets_zero_and_the_image_diagonal():
    row = score_one(EMPTY, LESION, (0.5, 0.1))
    assert row[["DSC", "IOU", "F1", "SEN", "PREC", "NSD", "LDR", "SPEC"]].tolist() == [0, 0, 0, 0, 0, 0, 0, 1]
    assert row[["HD95", "HD", "ASSD"]].tolist() == [math.hypot(30, 40)] * 3
    assert row[MILLIMETRES].tolist() == [math.hypot(30 * 0.5, 40 * 0.1)] * 3
    assert row[["lesion", "missed", "false_alarm"]].tolist() == [True, True, False]


@pytest.mark.parametrize("rule", ["pooled", "max_directed"])
@pytest.mark.parametrize(("spacing", "diagonal"), [(None, 50), ((0.5, 0.1), math.hypot(15, 4))])
def test_hd95_of_a_missed_lesion_is_the_diagonal_or_nothing(rule, spacing, diagonal):
    assert hd95(EMPTY, LESION, spacing=spacing, rule=rule) == diagonal
    assert math.isnan(hd95(EMPTY, LESION, spacing=spacing, rule=rule, missed="exclude"))


def test_a_false_alarm_has_no_sensitivity_and_no_distance():
    row = score_one(LESION, EMPTY)
    assert row[["DSC", "IOU", "F1", "PREC", "NSD"]].tolist() == [0, 0, 0, 0, 0]
    assert row["SPEC"] == row["ACC"] == 1 - 4 * 14 / (30 * 40)
    assert row[["SEN", "HD95", "HD", "ASSD", "LDR"]].isna().all()
    assert row[["lesion", "missed", "false_alarm"]].tolist() == [False, False, True]


def test_a_lesion_that_fills_the_image_leaves_no_specificity():
    assert math.isnan(score_one(FULL, FULL)["SPEC"])


OURS = [d for d in DEFINITIONS.values() if d.of == "masks" and not d.emulates]
EXCLUDING = [d.id for d in OURS if ".exclude@" in d.id]
SAID = {"0": 0, "1": 1, "undefined": math.nan, "image diagonal": 50, "undefined: left out and counted": math.nan}


@pytest.mark.parametrize("definition", OURS, ids=lambda d: d.id)
def test_empty_masks_get_what_the_definition_says(definition):
    said = SAID | ({"image diagonal": math.hypot(30, 30)} if definition.grid == "network" else {})
    for words, pred, target in (
        (definition.both_empty, EMPTY, EMPTY),
        (definition.prediction_empty, EMPTY, LESION),
        (definition.reference_empty, LESION, EMPTY),
    ):
        if words != "as computed":
            assert value(definition.id, pred, target, (1.0, 1.0), resize_mask(pred, 30)) == near(said[words])


def test_every_distance_can_leave_missed_lesions_out():
    stems = ("hd95.pooled", "hd95.max_directed", "hd", "assd.pooled", "assd.mean_of_means")
    places = ("native.px", "native.mm", "grid.px")
    assert set(EXCLUDING) == {f"{stem}.{place}.exclude@1" for stem in stems for place in places}


@pytest.mark.parametrize("name", EXCLUDING)
def test_leaving_missed_lesions_out_changes_no_other_case(name):
    for pred, target in [PAIRS["holes"], PAIRS["several components"], (LESION, EMPTY), (EMPTY, EMPTY)]:
        case = (pred, target, (0.3, 0.7), resize_mask(pred, 16))
        assert value(name, *case) == near(value(name.replace(".exclude", ""), *case))


@pytest.mark.parametrize("size", [8, 30, 64])
def test_grid_definitions_compare_with_the_reference_on_the_networks_grid(size):
    rng = np.random.default_rng(size)
    grid_pred = rng.random((size, size)) < 0.3
    on_grid = resize_mask(LESION, size)
    assert value("dsc.grid@1", EMPTY, LESION, grid_pred=grid_pred) == dice(grid_pred, on_grid)
    assert value("hd95.pooled.grid.px@1", EMPTY, LESION, grid_pred=grid_pred) == hd95(grid_pred, on_grid)
    assert value("iou.pixel.grid@1", EMPTY, LESION, grid_pred=grid_pred) == MEDPY.jc(grid_pred, on_grid)


def test_a_definition_on_the_grid_without_predictions_there_is_an_error_that_names_it():
    definitions = find_definitions(["dsc.grid", "dsc.native", "hd.grid.px"])
    with pytest.raises(BenchError, match=r"grid_preds.*dsc\.grid@1, hd\.grid\.px@1") as error:
        score_segmentation([LESION], [LESION], definitions=definitions)
    assert "dsc.native" not in str(error.value)


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
    for name, expected in expected_by_sklearn(*masks).items():
        assert row[name] == near(expected), name
    assert (row["target_px"], row["pred_px"]) == (masks[1].sum(), masks[0].sum())


def random_cases(n=9):
    """Masks of many sizes; one missed lesion, one false alarm, one pair of empty masks; the last without a spacing."""
    rng = np.random.default_rng(3)
    cases = [tuple(rng.random((2, *rng.integers(1, 40, 2))) < 0.3) for _ in range(n)]
    cases += [(EMPTY, LESION), (LESION, EMPTY), (EMPTY, EMPTY)]
    spacings = [(0.2 + i, 1.0) for i in range(len(cases) - 1)]
    return cases, [*spacings, None], [f"case {i}" for i in range(len(cases))]


def score_rows(rows, **more):
    cases, spacings, names = random_cases()
    return score_segmentation(
        [cases[i][0] for i in rows],
        [cases[i][1] for i in rows],
        spacings=[spacings[i] for i in rows],
        case_ids=[names[i] for i in rows],
        definitions=find_definitions(d.id for d in TASKS["segmentation"].primary()),
        **more,
    )


def test_a_row_has_the_functions_values_for_its_case():
    cases, spacings, names = random_cases()
    scores = score_rows(range(12))
    assert scores["case_id"].tolist() == names
    assert scores["DSC"].tolist() == [dice(*case) for case in cases]
    np.testing.assert_array_equal(scores["HD95"], [hd95(*case) for case in cases])
    in_mm = [hd95(*case, spacing=gap) if gap else math.nan for case, gap in zip(cases, spacings, strict=True)]
    np.testing.assert_array_equal(scores["HD95_mm"], in_mm)


def test_millimetres_are_columns_only_if_some_spacing_is_known():
    without = score_segmentation([LESION] * 2, [LESION] * 2)
    assert not set(MILLIMETRES) & set(without)
    some = score_segmentation([LESION] * 2, [EMPTY | LESION] * 2, spacings=[None, (0.5, 0.5)])
    assert some[MILLIMETRES].isna().to_numpy().tolist() == [[True] * 3, [False] * 3]
    assert some["HD95"].tolist() == [0, 0]


def test_a_spacing_changes_no_pixels():
    pixels = [name for name in COLUMNS if name not in MILLIMETRES]
    preds, targets = zip(*PAIRS.values(), strict=True)
    without, known = (score_segmentation(preds, targets, spacings=[gap] * len(preds)) for gap in (None, (0.3, 0.7)))
    pd.testing.assert_frame_equal(known[pixels], without[pixels], check_exact=True)


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)), st.integers(1, 11))
def test_order_and_batches_of_cases_change_no_row(order, cut):
    whole = score_rows(range(12))
    parts = pd.concat([score_rows(order[:cut]), score_rows(order[cut:])], ignore_index=True)
    pd.testing.assert_frame_equal(parts, whole.iloc[order].reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_no_bit(threads):
    one, several = (score_rows(range(12), threads=n) for n in (1, threads))
    pd.testing.assert_frame_equal(several, one, check_exact=True)


def test_cases_without_names_are_numbered():
    assert score_segmentation([LESION] * 3, [LESION] * 3)["case_id"].tolist() == ["0", "1", "2"]


def with_nan(n):
    mask = LESION.astype(float)
    mask.flat[:n] = math.nan
    return mask


UNFIT = [
    (LESION.astype(np.uint8) * 255, LESION, ["pred", "uint8", "(30, 40)", "0", "255"]),
    (LESION, LESION.astype(float), ["target", "float64", "(30, 40)", "0", "1"]),
    (with_nan(3), LESION, ["pred", "float64", "(30, 40)", "3 NaN"]),
    (LESION[None], LESION, ["pred", "(1, 30, 40)"]),
    (LESION, LESION[0], ["target", "(40,)"]),
    (LESION, LESION.T, ["pred", "(30, 40)", "target", "(40, 30)"]),
    (LESION.tolist(), LESION, ["pred", "list", "NumPy"]),
    (LESION, None, ["target", "NoneType"]),
]


@pytest.mark.parametrize(("pred", "target", "words"), UNFIT)
@pytest.mark.parametrize("metric", [dice, hd95])
def test_an_unfit_mask_is_an_error_that_names_it(metric, pred, target, words):
    with pytest.raises(BenchError) as error:
        metric(pred, target)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("pred", "target", "words"), UNFIT)
def test_scoring_names_the_case_of_an_unfit_mask(pred, target, words):
    with pytest.raises(BenchError) as error:
        score_segmentation([LESION, pred], [LESION, target], case_ids=["benign (1)", "benign (2)"])
    assert all(word in str(error.value) for word in [*words, "benign (2)"])
    assert "benign (1)" not in str(error.value)


BAD_SPACINGS = [(0.0, 1.0), (1.0, -2.0), (math.nan, 1.0), (1.0, math.inf)]


@pytest.mark.parametrize("spacing", BAD_SPACINGS)
def test_a_spacing_that_is_not_positive_is_an_error(spacing):
    with pytest.raises(BenchError, match="spacing") as error:
        hd95(LESION, LESION, spacing=spacing)
    assert str(spacing) in str(error.value)


def test_scoring_names_every_faulty_case_and_what_is_wrong_with_it():
    preds = [LESION, LESION.astype(np.uint8), *[LESION] * 5]
    targets = [LESION, LESION, LESION.T, *[LESION] * 4]
    names = [f"case {i}" for i in range(7)]
    with pytest.raises(BenchError) as error:
        score_segmentation(preds, targets, spacings=[None] * 3 + BAD_SPACINGS, case_ids=names)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [f"case '{name}'" for name in names[1:]]
    assert all(str(spacing) in line for spacing, line in zip(BAD_SPACINGS, lines[2:], strict=True))


def test_scoring_names_ten_faulty_cases_and_counts_the_others():
    with pytest.raises(BenchError, match=r"'9'[^']*\nand 3 more$"):
        score_segmentation([LESION] * 13, [LESION.T] * 13)


def test_an_unknown_rule_is_an_error():
    with pytest.raises(BenchError, match="median"):
        hd95(LESION, LESION, rule="median")


def test_an_unknown_policy_for_missed_lesions_is_an_error_that_lists_the_known_ones():
    with pytest.raises(BenchError, match=r"'drop'.*diagonal, exclude"):
        hd95(LESION, LESION, missed="drop")


@pytest.mark.parametrize("short", [{"case_ids": ["a"]}, {"spacings": [None]}, {"grid_preds": [LESION]}])
def test_lists_of_different_lengths_are_an_error(short):
    with pytest.raises(BenchError, match="2 preds, 2 targets"):
        score_segmentation([LESION] * 2, [LESION] * 2, **short)


def predictions(preds, targets, spacings=None):
    n = len(preds)
    return SegmentationPredictions(
        case_ids=tuple(map(str, range(n))),
        predictions=tuple(preds),
        references=tuple(targets),
        grid_predictions=np.zeros((n, 4, 4), bool),
        spacings=tuple(spacings or [None] * n),
    )


def means_of(preds, targets, spacings=None):
    ids = TASKS["segmentation"].definitions(predictions(preds, targets, spacings))
    return TASKS["segmentation"].summarise(score_segmentation(preds, targets, spacings=spacings), ids, ())


def test_a_trials_means_are_over_lesions_and_count_misses_and_false_alarms():
    half = boxes((30, 40), (5, 7, 6, 20))  # DSC 2*28 / (28+56)
    means = means_of([LESION, half, EMPTY, LESION, EMPTY], [LESION, LESION, LESION, EMPTY, EMPTY])
    assert means["DSC"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert means["SEN"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert means["LDR"] == pytest.approx((1 + 1 + 0) / 3)
    assert means["HD95"] == pytest.approx((0 + hd95(half, LESION) + 50) / 3)
    assert operator.itemgetter("n_lesion_cases", "n_missed", "n_false_alarms", "n_undefined")(means) == (3, 1, 1, {})


def test_a_case_without_spacing_is_not_in_the_mean_of_millimetres_and_is_counted():
    half = boxes((30, 40), (5, 7, 6, 20))
    means = means_of([half, half, EMPTY], [LESION] * 3, [None, (2.0, 2.0), (2.0, 2.0)])
    assert means["HD95_mm"] == pytest.approx((2 * hd95(half, LESION) + 2 * 50) / 2)
    assert means["HD95"] == pytest.approx((2 * hd95(half, LESION) + 50) / 3)
    assert means["n_undefined"] == {"HD95_mm": 1, "HD_mm": 1, "ASSD_mm": 1}


def test_a_mean_over_no_lesion_is_missing():
    means = means_of([EMPTY, LESION], [EMPTY, EMPTY])
    assert means["DSC"] is None
    assert means["n_false_alarms"] == 1


PAPER = ["DSC", "HD95", "ACC", "SEN", "SPEC", "PREC", "F1", "IOU"]


def test_primary_definitions_are_in_the_order_of_columns_with_millimetres_last():
    assert [*PAPER, "HD", "ASSD", "NSD", "LDR", *MILLIMETRES] == COLUMNS
    scored = score_segmentation([LESION], [LESION], spacings=[(1.0, 1.0)])
    assert scored.columns.tolist() == ["case_id", *COLUMNS, "lesion", "missed", "false_alarm", "target_px", "pred_px"]


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0)])
def test_every_scored_metric_has_a_versioned_definition(spacing):
    ids = TASKS["segmentation"].definitions(predictions([LESION], [LESION], [spacing]))
    assert list(ids) == [name for name in COLUMNS if spacing or name not in MILLIMETRES]
    assert set(ids) <= set(score_segmentation([LESION], [LESION], spacings=[spacing]))
    assert all(DEFINITIONS[i].column == name for name, i in ids.items())
    assert all(identifier.rpartition("@")[2].isdigit() for identifier in ids.values())


def test_a_definition_that_is_not_primary_has_its_id_for_a_column():
    assert [d.column for d in find_definitions(["nsd.3px.native", "ldr.any.native@1"])] == [
        "nsd.3px.native@1",
        "ldr.any.native@1",
    ]


def test_the_primary_nsd_is_found_under_its_own_id():
    assert find_definitions(["nsd.2px.native"])[0].column == "NSD"


def test_unknown_definitions_are_one_error_that_suggests_the_nearest():
    with pytest.raises(BenchError) as error:
        find_definitions(["dsc.natve@1", "dsc.native", "hd95.poled.native.px"])
    first, second = str(error.value).splitlines()
    assert "'dsc.natve@1'. Did you mean 'dsc.native@1'?" in first
    assert "'hd95.poled.native.px'. Did you mean 'hd95.pooled.native.px@1'?" in second


def test_a_tolerance_that_is_a_multiple_of_the_spacing_counts_as_reached():
    square = boxes((30, 30), (5, 15, 5, 15))
    moved = np.roll(square, 3, axis=1)
    [in_pixels, in_mm] = (
        score_segmentation([moved], [square], spacings=[(0.1, 0.1)], definitions=find_definitions([name])).iloc[0, 1]
        for name in ("nsd.3px.native", "nsd.0.3mm.native")
    )
    assert in_pixels == in_mm == 1


def test_lesions_are_found_in_noise_of_tens_of_thousands_of_components():
    rng = np.random.default_rng(0)
    pred, target = rng.random((2, 700, 700)) < 0.12
    scored = score_segmentation([pred], [target], definitions=find_definitions(["ldr.any.native"]))
    labels, n = ndimage.label(target, np.ones((3, 3)))
    assert n > 20_000
    assert scored["ldr.any.native@1"][0] == pytest.approx(len(np.unique(labels[pred & target])) / n)
