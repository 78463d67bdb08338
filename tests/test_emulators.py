"""Emulators of published evaluation code against plain implementations of what that code does."""

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.ndimage import distance_transform_edt
from sklearn import metrics as sk

from usfm_bench.core.errors import BenchError
from usfm_bench.metrics import DEFINITIONS, dice, find_definitions, score_segmentation
from usfm_bench.metrics.definitions import emulators
from usfm_bench.metrics.grids import GRIDS

MEDPY = pytest.importorskip("medpy.metric.binary")
FEW = settings(max_examples=40, deadline=None)
EMULATED = [d for d in DEFINITIONS.values() if d.emulates]
SHAPES = [(30, 40), (47, 31), (471, 562), (224, 224), (100, 333), (7, 5)]
SIZES = [12, 32, 224]


def emulate(repo, grid_pred, target):
    """Every segmentation metric of a repository, by name."""
    chosen = [d for d in find_definitions([repo]) if d.of == "masks"]
    scores = score_segmentation([target], [target], definitions=chosen, grid_preds=[grid_pred], threads=1)
    return {d.name: scores[d.column].item() for d in chosen}


def emulate_classes(repo, probabilities, labels):
    chosen = [d for d in find_definitions([repo]) if d.of == "labels"]
    return {d.name: d.compute(probabilities, labels) for d in chosen}


def near(values, **more):
    return pytest.approx(values, nan_ok=True, **({"rel": 1e-12} | more))


def noise(shape, seed=0, share=0.3):
    return np.random.default_rng(seed).random(shape) < share


def blob(shape):
    """A disk, as one lesion."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(y / shape[0] - 0.55, x / shape[1] - 0.4) < 0.23


@st.composite
def cases(draw):
    """A prediction on the network's grid and a reference of another size; either may be empty."""
    size = draw(st.integers(2, 9))
    shape = draw(st.tuples(st.integers(2, 14), st.integers(2, 14)))
    return draw(arrays(bool, (size, size), fill=st.booleans())), draw(arrays(bool, shape, fill=st.booleans()))


def predictions(seed, n, n_classes):
    """Probabilities and labels that may leave classes out."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(n_classes), size=n), rng.integers(0, rng.integers(1, n_classes + 1), size=n)


classes = st.builds(predictions, st.integers(0, 2**32), st.integers(2, 30), st.integers(2, 5))


def by_cv2(mask, size):
    return cv2.resize(mask.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST).astype(bool)


def by_pillow(mask, size):
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((size, size), Image.Resampling.NEAREST)) > 0


def bilinear_share(mask, size):
    """Weight of the foreground in each pixel; pixel centres at 0.5, edges repeated."""
    weights = []
    for n in mask.shape:
        at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        weights.append(np.maximum(0, 1 - abs(at[:, None] - np.arange(n))))
    return weights[0] @ mask @ weights[1].T


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", [noise, blob])
def test_nearest_is_that_of_cv2_and_rounds_down(draw, shape, size):
    mask = draw(shape)
    resized = GRIDS["network, nearest"](mask, size)
    rows, columns = (np.arange(size) * n // size for n in shape)
    np.testing.assert_array_equal(resized, mask[np.ix_(rows, columns)])
    np.testing.assert_array_equal(resized, by_cv2(mask, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", [noise, blob])
def test_nearest_centre_is_that_of_pillow(draw, shape, size):
    mask = draw(shape)
    np.testing.assert_array_equal(GRIDS["network, nearest centre"](mask, size), by_pillow(mask, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("draw", [noise, blob])
def test_bilinear_keeps_pixels_with_half_of_the_weight(draw, shape, size):
    mask = draw(shape)
    np.testing.assert_array_equal(GRIDS["network, bilinear"](mask, size), bilinear(mask, size))


@pytest.mark.parametrize("grid", GRIDS)
def test_a_mask_that_is_on_the_grid_already_stays_as_it_is(grid):
    mask = noise((33, 33))
    np.testing.assert_array_equal(GRIDS[grid](mask, 33), mask)


def test_the_three_references_differ():
    mask = noise((50, 70))
    resized = [GRIDS[d.grid](mask, 32) for d in find_definitions(f"{repo}/dsc" for repo in emulators())]
    assert len({mask.tobytes() for mask in resized}) == len(emulators()) == 3


def smoothed(part, whole):
    return (part + 1e-5) / (whole + 1e-5)


def farthest_row(rows, others):
    """The row that differs in most pixels from the row most like it."""
    return max(min(np.sum(row != other) for other in others) for row in rows)


def usfm(pred, target):
    true = by_cv2(target, len(pred))
    return {
        "DSC": smoothed(2 * np.sum(pred & true), pred.sum() + true.sum()),
        "IOU": smoothed(np.sum(pred & true), np.sum(pred | true)),
        "ACC": smoothed(np.sum(pred == true), true.size),
        "SEN": smoothed(np.sum(pred & true), true.sum()),
        "SPEC": smoothed(np.sum(~pred & ~true), np.sum(~true)),
        "HD95": max(farthest_row(pred, true), farthest_row(true, pred)),
    }


@FEW
@given(cases())
def test_usfm_repo_equals_a_plain_implementation(case):
    assert emulate("usfm-repo", *case) == near(usfm(*case))


DISK = np.hypot(*np.ogrid[-128:128, -128:128]) <= 40


@pytest.mark.parametrize(("down", "right", "distance"), [(0, 0, 0), (0, 10, 20), (0, 30, 60), (60, 0, 0), (30, 10, 20)])
def test_usfm_repos_hausdorff_sees_no_vertical_shift_and_doubles_a_horizontal_one(down, right, distance):
    assert emulate("usfm-repo", np.roll(DISK, (down, right), axis=(0, 1)), DISK)["HD95"] == distance


def test_usfm_repos_hausdorff_of_an_empty_prediction_is_the_widest_row():
    assert emulate("usfm-repo", np.zeros_like(DISK), DISK)["HD95"] == DISK.sum(axis=1).max() == 81
    assert emulate("usfm-repo", DISK, np.zeros_like(DISK))["HD95"] == 81


def test_usfm_repo_gives_two_empty_masks_full_marks():
    empty = np.zeros((16, 16), bool)
    assert emulate("usfm-repo", empty, empty) == dict.fromkeys(("DSC", "IOU", "ACC", "SEN", "SPEC"), 1) | {"HD95": 0}


def test_usfm_repos_dice_of_a_missed_lesion_is_not_quite_zero():
    empty, lesion = np.zeros((16, 16), bool), blob((16, 16))
    assert emulate("usfm-repo", empty, lesion)["DSC"] == 1e-5 / (lesion.sum() + 1e-5)


@FEW
@given(classes)
def test_usfm_repos_classification_accuracy_is_the_mean_recall(drawn):
    probabilities, labels = drawn
    predicted = probabilities.argmax(axis=1)
    recalls = [np.mean(predicted[labels == k] == k) for k in np.unique(labels)]
    assert emulate_classes("usfm-repo", *drawn) == near({"ACC": np.mean(recalls)})


def tinyusfm(pred, target):
    true = by_pillow(target, len(pred))
    either, both = pred.any() or true.any(), pred.any() and true.any()
    tn, fp = np.sum(~pred & ~true), np.sum(pred & ~true)
    return {
        # For empty masks medpy catches a ZeroDivisionError, which NumPy's integers do not raise from NumPy 2.3 on.
        "DSC": MEDPY.dc(pred, true) if either else 1,
        "IOU": MEDPY.jc(pred, true),
        "SEN": MEDPY.recall(pred, true) if true.any() else 0,
        "ACC": np.mean(pred == true),
        "SPEC": tn / (tn + fp + 1e-8),
        "HD95": MEDPY.hd95(pred, true) if both else 224 * either,
    }


@FEW
@given(cases())
def test_tinyusfm_repo_equals_a_plain_implementation(case):
    assert emulate("tinyusfm-repo", *case) == near(tinyusfm(*case))


@pytest.mark.parametrize("size", [16, 300])
def test_tinyusfm_repos_hd95_of_one_empty_mask_is_224_whatever_the_size(size):
    empty, lesion = np.zeros((size, size), bool), blob((size, size))
    assert emulate("tinyusfm-repo", empty, lesion)["HD95"] == emulate("tinyusfm-repo", lesion, empty)["HD95"] == 224
    assert emulate("tinyusfm-repo", empty, empty)["HD95"] == 0


def tinyusfm_classes(probabilities, labels):
    predicted, n_classes = probabilities.argmax(axis=1), probabilities.shape[1]
    how = {"average": "binary", "pos_label": 1} if n_classes == 2 else {"average": "macro"}
    scores = {
        "ACC": sk.accuracy_score(labels, predicted),
        "MCC": sk.matthews_corrcoef(labels, predicted),
        "BACC": np.mean([np.mean(predicted[labels == k] == k) for k in np.unique(labels)]),
        "PREC": sk.precision_score(labels, predicted, **how),
        "SEN": sk.recall_score(labels, predicted, **how),
        "F1": sk.f1_score(labels, predicted, **how),
        "AUROC": 0.0,
    }
    if len(np.unique(labels)) == n_classes:
        each = [sk.roc_auc_score(labels == k, probabilities[:, k]) for k in range(n_classes)]
        scores["AUROC"] = np.mean(each)
    return scores


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:A single label was found")
@FEW
@given(classes)
def test_tinyusfm_repos_classification_is_scikit_learns(drawn):
    assert emulate_classes("tinyusfm-repo", *drawn) == near(tinyusfm_classes(*drawn))


def test_tinyusfm_repos_auroc_is_zero_when_a_class_is_absent():
    probabilities = np.eye(3)[[0, 1, 0, 1]]
    assert emulate_classes("tinyusfm-repo", probabilities, np.array([0, 1, 0, 1]))["AUROC"] == 0
    assert emulate_classes("tinyusfm-repo", probabilities[:, :2], np.array([1, 1, 1, 1]))["AUROC"] == 0
    assert emulate_classes("tinyusfm-repo", np.eye(3)[[0, 1, 2]], np.array([0, 1, 2]))["AUROC"] == 1


def bilinear(mask, size):
    return bilinear_share(mask, size) >= 0.5


def ultrafedfm(pred, target):
    true = bilinear(target, len(pred))
    tp = max(np.sum(pred & true), 1)
    iou = tp / (tp + np.sum(pred != true))
    filled = pred.copy()
    filled[0, 0] |= not pred.any()
    above = bilinear_share(target, len(pred)) > 0.5  # its Hausdorff function, unlike its Dice
    to_true, to_pred = distance_transform_edt(~above), distance_transform_edt(~filled)
    hd95 = max(np.percentile(to_true[filled], 95), np.percentile(to_pred[above], 95)) if above.any() else np.nan
    return {"IOU": iou, "DSC": 2 * iou / (1 + iou), "HD95": hd95}


@FEW
@given(cases())
def test_ultrafedfm_repo_equals_a_plain_implementation(case):
    # OpenCV's weights are of single precision: at half a pixel its last bit decides.
    assume((abs(bilinear_share(case[1], len(case[0])) - 0.5) > 1e-5).all())
    assert emulate("ultrafedfm-repo", *case) == near(ultrafedfm(*case))


def test_ultrafedfm_repo_by_hand():
    target = np.zeros((20, 20), bool)
    target[4:8, 3] = True
    empty, far = np.zeros_like(target), np.zeros_like(target)
    far[4:8, 13] = True
    # One pixel at the upper left instead of none: rows 4 to 7 of column 3 are 5, 5.83, 6.71 and 7.62 away.
    missed = emulate("ultrafedfm-repo", empty, target)
    assert missed["HD95"] == near(np.percentile([np.hypot(y, 3) for y in (4, 5, 6, 7)], 95))
    # One true positive instead of none, and four false negatives.
    assert missed["IOU"] == near(1 / (1 + 4))
    assert missed["DSC"] == near(2 / (2 + 4))
    assert emulate("ultrafedfm-repo", far, target) == near({"IOU": 1 / (1 + 8), "DSC": 2 / (2 + 8), "HD95": 10})
    assert emulate("ultrafedfm-repo", empty, empty) == near({"IOU": 1, "DSC": 1, "HD95": np.nan})


def test_ultrafedfm_repos_hd95_is_over_regions_and_smaller_than_one_between_borders():
    pred, target = (np.zeros((64, 64), bool) for _ in range(2))
    target[10:50, 10:50] = True
    pred[10:50, 10:20] = True
    # Each of 40 columns of the reference has 40 pixels: columns 10 to 19 are 0 away, columns 20 to 49 are 1 to 30 away.
    # Rank 0.95 * 1599 = 1519.05 lies between the last pixel of column 47 and the first of column 48.
    assert emulate("ultrafedfm-repo", pred, target)["HD95"] == near(28 + 0.05)
    assert MEDPY.hd95(pred, target) == 30


@pytest.mark.parametrize("repo", emulators())
def test_an_emulator_changes_neither_prediction_nor_reference(repo):
    pred, target = np.zeros((16, 16), bool), blob((16, 16))
    before = target.copy()
    emulate(repo, pred, target)
    assert not pred.any()
    np.testing.assert_array_equal(target, before)


@pytest.mark.parametrize("repo", emulators())
def test_an_emulator_sees_the_prediction_on_the_grid_and_not_the_native_one(repo):
    grid_pred, target = blob((24, 24)), blob((60, 80))
    chosen = find_definitions([f"{repo}/dsc"])
    native = [np.zeros_like(target), target]
    scores = score_segmentation(native, [target] * 2, definitions=chosen, grid_preds=[grid_pred] * 2)
    assert scores[f"{repo}/dsc@1"].tolist() == near([dice(grid_pred, GRIDS[chosen[0].grid](target, 24))] * 2, rel=1e-6)


@pytest.mark.parametrize("definition", EMULATED, ids=lambda d: d.id)
def test_an_emulated_metric_says_whose_it_is_and_is_never_primary(definition):
    assert definition.id.startswith(f"{definition.emulates}/")
    assert not definition.primary
    assert not definition.primary
    assert definition.column == definition.id
    assert definition.source.startswith("github.com/")
    assert definition.over == ("all" if definition.of == "masks" else "lesions")


def test_three_repositories_are_emulated():
    assert emulators() == ["tinyusfm-repo", "ultrafedfm-repo", "usfm-repo"]


def test_an_emulators_name_finds_all_of_its_metrics():
    found = {d.id for d in find_definitions(["usfm-repo"])}
    names = ("dsc", "iou", "acc", "sen", "spec", "hd95", "cls.acc")
    assert found == {d.id for d in EMULATED if d.emulates == "usfm-repo"} == {f"usfm-repo/{name}@1" for name in names}


def test_one_metric_of_an_emulator_is_found_with_or_without_its_version():
    assert find_definitions(["usfm-repo/dsc"]) == find_definitions(["usfm-repo/dsc@1"])


def test_a_metric_named_twice_is_found_once_where_it_stood_first():
    found = [d.id for d in find_definitions(["usfm-repo/hd95", "usfm-repo"])]
    assert len(found) == len(set(found)) == 7
    assert found[0] == "usfm-repo/hd95@1"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("usfm-rep", "usfm-repo"), ("tinyusfm", "tinyusfm-repo"), ("ultrafedfm-repo/dice", "ultrafedfm-repo/dsc@1")],
)
def test_an_unknown_emulator_or_metric_suggests_the_nearest(name, nearest):
    with pytest.raises(BenchError, match=f"'{name}'. Did you mean '{nearest}'"):
        find_definitions([name])
