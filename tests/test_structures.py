"""Segmentation of several structures: reading, scoring, training, tables, figures; one structure stays as it was."""

import json
import re
import tarfile
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from segmentation_models_pytorch.losses import DiceLoss
from torch.nn import functional as F

from usfm_bench.core.errors import BenchError, DataError
from usfm_bench.data.audit.export import export_dataset
from usfm_bench.data.audit.verify import verify_dataset
from usfm_bench.data.cache import image_cache
from usfm_bench.data.dataset import find_cases, open_dataset, open_reader
from usfm_bench.data.new_images import find_new_images
from usfm_bench.data.readers.mask_values import Structures, read_mask
from usfm_bench.data.sample import binary_digits
from usfm_bench.execution.evaluation_jobs import plan_jobs
from usfm_bench.execution.prediction import predict_files
from usfm_bench.execution.trained import open_trained
from usfm_bench.metrics.definitions import excluding, find_definitions, known_definitions, of_one_mask
from usfm_bench.metrics.segmentation import score_segmentation
from usfm_bench.metrics.structures import COUNTS, of_structure, over_structures, score_structures
from usfm_bench.models.networks import UNet
from usfm_bench.models.segvit import SegViTDecoder, lesion_log_odds, segvit_loss
from usfm_bench.pipeline import run_one
from usfm_bench.regression.baseline import make_baseline
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.figures.sheets import Shown, sheet
from usfm_bench.reporting.figures.style import HUES, looks_of
from usfm_bench.results.predictions import load_predictions, save_predictions
from usfm_bench.results.rescore import find_trials, rescore
from usfm_bench.results.store import Store, read_record
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.tasks.segmentation import SegmentationPredictions, mean_dice, overlap_counts

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("head", "symphysis")
SHAPE = (12, 16)


def box(top, bottom, left, right, shape=SHAPE):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def nothing(shape=SHAPE):
    return np.zeros(shape, bool)


def registry(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(textwrap.dedent(text))
    return load_registry(path)


# ---- scores ----


def test_two_structures_one_missed_by_hand():
    head, symphysis = box(0, 4, 0, 4), box(6, 8, 6, 10)
    pred = np.stack([box(0, 4, 0, 2), nothing()])  # half of the head, nothing of the symphysis
    row = score_structures([pred], [np.stack([head, symphysis])], NAMES).iloc[0]
    assert row["DSC[head]"] == 2 * 8 / (8 + 16)
    assert row["DSC[symphysis]"] == 0
    assert row["DSC"] == (2 / 3 + 0) / 2
    diagonal = np.hypot(*SHAPE)
    assert row["HD95[symphysis]"] == diagonal
    assert row["HD95"] == pytest.approx((row["HD95[head]"] + diagonal) / 2)
    assert [row[f"missed[{name}]"] for name in NAMES] == [False, True]
    assert (row["lesion"], row["missed"], row["false_alarm"]) == (True, 1, 0)
    assert (row["target_px"], row["pred_px"]) == (16 + 8, 8)


def test_a_structure_that_the_reference_lacks_is_in_no_mean_and_its_false_alarm_is_counted():
    head = box(0, 4, 0, 4)
    pred = np.stack([head, box(8, 10, 0, 2)])
    row = score_structures([pred], [np.stack([head, nothing()])], NAMES).iloc[0]
    assert row["DSC"] == row["DSC[head]"] == 1
    assert row["DSC[symphysis]"] == 0
    assert row["HD95"] == 0
    assert np.isnan(row["HD95[symphysis]"])
    assert (row["missed"], row["false_alarm"]) == (0, 1)


def test_a_case_with_none_of_the_structures_counts_as_one_without_a_lesion():
    none = np.stack([nothing(), nothing()])
    row = score_structures([none], [none], NAMES).iloc[0]
    assert not row["lesion"]
    assert row["DSC"] == 1
    definition = over_structures(known_definitions(["dsc.native@1"])[0])
    counted = TASKS["segmentation"].counted({"lesion": np.array([False, True])}, definition)
    assert counted.tolist() == [False, True]


def test_where_missed_lesions_are_left_out_a_case_that_misses_a_structure_has_no_mean():
    head, symphysis = box(0, 4, 0, 4), box(6, 8, 6, 10)
    wanted = find_definitions(["hd95.pooled.native.px.exclude"])
    targets = [np.stack([head, symphysis])] * 2
    preds = [np.stack([head, nothing()]), np.stack([head, symphysis])]
    table = score_structures(preds, targets, NAMES, definitions=wanted)
    means = table[over_structures(wanted[0]).column]
    assert np.isnan(means[0])
    assert means[1] == 0


MASKS = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((3, *SHAPE)) < 0.3)


@settings(deadline=None, max_examples=10)
@given(pred=MASKS, target=MASKS, order=st.permutations(range(3)))
def test_permuting_structures_permutes_their_columns_and_changes_no_mean(pred, target, order):
    names = ("a", "b", "c")
    first = score_structures([pred], [target], names, threads=1)
    other = score_structures([pred[list(order)]], [target[list(order)]], [names[i] for i in order], threads=1)
    assert set(first) == set(other)
    single = [column for column in first if "[" in column]
    pd.testing.assert_frame_equal(first[single], other[single], check_exact=True)
    pd.testing.assert_frame_equal(first, other[first.columns], rtol=1e-12)


@settings(deadline=None, max_examples=10)
@given(pred=MASKS, target=MASKS)
def test_each_structure_scores_as_it_would_alone(pred, target):
    several = score_structures([pred], [target], ("a", "b", "c"), threads=1)
    for k, name in enumerate("abc"):
        alone = score_segmentation([pred[k]], [target[k]], threads=1)
        for column in alone.columns.drop("case_id"):
            np.testing.assert_array_equal(several[f"{column}[{name}]"], alone[column])
    assert list(COUNTS) == [column for column in alone if column in COUNTS]


def test_masks_of_another_number_of_structures_are_named():
    with pytest.raises(BenchError, match=r"case 'x': preds is of shape \(12, 16\); expected a mask of each of the 2"):
        score_structures([nothing()], [np.stack([nothing()] * 2)], NAMES, case_ids=["x"])


def test_ids_say_what_a_number_of_structures_is():
    mean, head = find_definitions(["dsc.native.mean", "hd95.pooled.native.px[head]@1"])
    assert (mean.id, mean.column, mean.structure) == ("dsc.native.mean@1", "DSC", None)
    assert (head.id, head.column, head.structure) == ("hd95.pooled.native.px[head]@1", "HD95[head]", "head")
    assert excluding(head).id == "hd95.pooled.native.px.exclude[head]@1"
    assert excluding(over_structures(known_definitions([head.base])[0])).id == "hd95.pooled.native.px.exclude.mean@1"
    assert excluding(mean) is None
    assert [of_one_mask(d.id) for d in (mean, head)] == ["dsc.native@1", "hd95.pooled.native.px@1"]
    assert of_one_mask("f1.binary[malignant]@1") == "f1.binary[malignant]@1"
    with pytest.raises(BenchError, match=r"Unknown definition 'dcs\.native\.mean'"):
        find_definitions(["dcs.native.mean"])
    assert find_definitions(["nsd.3px.native[fetal head]"])[0].structure == "fetal head"


# ---- networks ----


def test_validation_is_the_mean_over_images_of_the_mean_over_the_structures_that_they_have():
    logits = torch.tensor([[[[1.0, 1, -1, -1]], [[1, -1, -1, -1]]], [[[1, 1, 1, 1]], [[-1, -1, -1, -1]]]])
    masks = torch.tensor([[[[1, 0, 0, 0]], [[1, 0, 0, 0]]], [[[1, 1, 0, 0]], [[0, 0, 0, 0]]]])
    counts = overlap_counts(logits, masks.byte())
    assert counts.shape == (2, 2, 3)
    first, second = (2 / 3 + 1) / 2, 4 / 6  # the second image has no second structure
    assert mean_dice(counts) == pytest.approx((first + second) / 2)
    assert mean_dice(counts[:, :1]) == mean_dice(counts[:, 0])


def test_the_loss_of_one_structure_is_the_one_that_it_was():
    torch.manual_seed(0)
    logits, masks = torch.randn(3, 1, 8, 8), (torch.rand(3, 1, 8, 8) > 0.6).float()
    unet = UNet("resnet18", None)
    unet.forward = lambda images: images
    before = F.binary_cross_entropy_with_logits(logits, masks) + DiceLoss("binary", from_logits=True)(logits, masks)
    assert unet.loss(logits, masks).item() == before.item()


def test_the_dice_loss_of_several_structures_is_the_mean_of_each():
    torch.manual_seed(0)
    logits, masks = torch.randn(3, 2, 8, 8), (torch.rand(3, 2, 8, 8) > 0.6).float()
    unet = UNet("resnet18", None, 2)
    assert unet.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 2, 32, 32)
    single = [unet.dice(logits[:, [k]], masks[:, [k]]) for k in range(2)]
    assert unet.dice(logits, masks).item() == pytest.approx(sum(single).item() / 2)


def test_segvit_says_of_each_structure_whether_it_is_there_so_that_they_may_nest():
    classes = 40 * torch.eye(4)[None, :3]  # every token is sure of its class
    masks = torch.tensor([-9.0, 9.0, 9.0]).view(1, 3, 1, 1)
    inner_and_outer = lesion_log_odds(classes, masks, 2)
    assert inner_and_outer.shape == (1, 2, 2, 2)
    assert (inner_and_outer > 0).all()
    assert (lesion_log_odds(classes, -masks, 2) < 0).all()


def test_segvit_learns_structures_that_nest():
    torch.manual_seed(0)
    decoder = SegViTDecoder([32, 32], 2, layers=1)
    maps = [torch.randn(2, 32, 4, 4), torch.randn(2, 32, 4, 4)]
    masks = torch.zeros(2, 2, 8, 8)
    masks[:, 0, :4], masks[:, 1, :4, :4] = 1, 1
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    for _ in range(40):
        loss = segvit_loss(decoder(maps), masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    classes, logits = decoder(maps)[-1]
    assert mean_dice(overlap_counts(lesion_log_odds(classes, logits, 8), masks)) > 0.9


# ---- readers ----


def save_mhd(path: Path, levels, spacing=(0.5, 0.5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = path.with_suffix(".raw")
    raw.write_bytes(levels.astype(np.uint8).tobytes())
    path.write_text(
        f"NDims = 2\nDimSize = {levels.shape[1]} {levels.shape[0]}\nElementType = MET_UCHAR\n"
        f"ElementSpacing = {spacing[1]} {spacing[0]}\nElementDataFile = {raw.name}\n"
    )


def noise(seed, shape=SHAPE):
    return np.random.default_rng(seed).integers(1, 255, shape).astype(np.uint8)


def heart():
    levels = np.zeros(SHAPE, np.uint8)
    levels[1:7, 1:9], levels[2:6, 2:8], levels[8:11, 2:8] = 2, 1, 3
    return levels


def test_camus_is_read_as_its_three_contours(tmp_path):
    for patient in range(1, 4):
        folder = tmp_path / "CAMUS_public" / "training" / f"patient{patient:04d}"
        save_mhd(folder / f"patient{patient:04d}_2CH_ED.mhd", noise(patient))
        save_mhd(folder / f"patient{patient:04d}_2CH_ED_gt.mhd", heart())
    specs = load_registry()
    data = open_dataset(specs["camus-structures"], tmp_path)
    assert data.structures == ("endocardium", "epicardium", "atrium")
    for sample in data.samples:
        np.testing.assert_array_equal(sample.structures, [heart() == 1, (heart() == 1) | (heart() == 2), heart() == 3])
        np.testing.assert_array_equal(sample.mask, heart() > 0)
    one = open_dataset(specs["camus"], tmp_path)
    assert one.samples[0].structures is None
    np.testing.assert_array_equal(one.samples[0].mask, heart() == 1)
    assert one.content_hash != data.content_hash
    facts = verify_dataset(specs["camus-structures"], tmp_path).facts
    assert facts["images with each structure"] == {"endocardium": 3, "epicardium": 3, "atrium": 3}
    assert facts["images with structures that overlap"] == 3


def test_psfhs_is_read_as_symphysis_and_head(tmp_path):
    levels = np.zeros(SHAPE, np.uint8)
    levels[1:3, 1:4], levels[5:10, 5:12] = 1, 2
    for i in range(3):
        for folder, content in (("image_mha", noise(i)), ("label_mha", levels)):
            path = tmp_path / "PSFHS" / folder / f"{i:05d}.mha"
            path.parent.mkdir(parents=True, exist_ok=True)
            header = (
                f"NDims = 2\nDimSize = {SHAPE[1]} {SHAPE[0]}\nElementType = MET_UCHAR\nElementSpacing = 1 1\n"
                "ElementDataFile = LOCAL\n"
            )
            path.write_bytes(header.encode() + content.tobytes())
    data = open_dataset(load_registry()["psfhs-structures"], tmp_path)
    assert data.structures == ("pubic symphysis", "fetal head")
    np.testing.assert_array_equal(data.samples[0].structures, [levels == 1, levels == 2])
    one = open_dataset(load_registry()["psfhs"], tmp_path)
    np.testing.assert_array_equal(one.samples[0].mask, levels == 2)


FILES = """
mine:
  version: 1
  title: mine
  tasks: [segmentation]
  organ: breast
  layout: masks
  path: mine
  structures: [head, symphysis]
  options:
    images: "images/{id}.png"
    masks: ["head/{id}.png", "symphysis/{id}.png"]
    values: {structures: {head: {files: "head/{id}.png"}, symphysis: {files: "symphysis/{id}.png"}}}
"""


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path)


def folders(tmp_path, *, cases=3):
    for i in range(cases):
        save(tmp_path / "mine" / "images" / f"{i}.png", noise(i))
        save(tmp_path / "mine" / "head" / f"{i}.png", box(0, 4 + i, 0, 4).astype(np.uint8) * 255)
        save(tmp_path / "mine" / "symphysis" / f"{i}.png", box(2, 8, 2, 10).astype(np.uint8) * 255)


def test_a_file_a_structure(tmp_path):
    folders(tmp_path)
    data = open_dataset(registry(tmp_path, FILES)["mine"], tmp_path)
    for i, sample in enumerate(data.samples):
        np.testing.assert_array_equal(sample.structures, [box(0, 4 + i, 0, 4), box(2, 8, 2, 10)])


def test_a_structure_without_its_file_is_a_fault_or_not_there(tmp_path):
    folders(tmp_path)
    (tmp_path / "mine" / "symphysis" / "1.png").unlink()
    with pytest.raises(DataError, match=r"images/1\.png: has no mask file of 'symphysis' \(`symphysis/\{id\}\.png`\)"):
        open_dataset(registry(tmp_path, FILES)["mine"], tmp_path)
    spec = registry(tmp_path, FILES + "    no_mask: empty\n")["mine"]
    shown = [sample.structures.any(axis=(1, 2)).tolist() for sample in open_dataset(spec, tmp_path).samples]
    assert shown == [[True, True], [True, False], [True, True]]


def test_colours_and_digits_tell_structures_apart(tmp_path):
    pixels = np.zeros((*SHAPE, 3), np.uint8)
    pixels[:4, :4], pixels[6:8, 6:10] = (255, 0, 0), (0, 255, 0)
    save(tmp_path / "colours.png", pixels)
    told = {"head": {"colours": {"red": [255, 0, 0]}}, "symphysis": {"colours": {"green": [0, 255, 0]}}}
    # A colour is the nearest of those that an entry names, so that each structure names all.
    red = {"head": {"equals": [76]}, "symphysis": {"equals": [150]}}
    masks = read_mask((tmp_path / "colours.png",), SHAPE, Structures(structures=red))
    np.testing.assert_array_equal(masks, [box(0, 4, 0, 4), box(6, 8, 6, 10)])
    assert Structures(structures=told).structures.keys() == red.keys()
    levels = box(0, 6, 0, 6) * np.uint8(1) + box(2, 8, 2, 8) * np.uint8(2)
    save(tmp_path / "digits.png", levels)
    bits = Structures(structures={"head": {"bit": 0}, "symphysis": {"bit": 1}})
    np.testing.assert_array_equal(
        read_mask((tmp_path / "digits.png",), SHAPE, bits), [box(0, 6, 0, 6), box(2, 8, 2, 8)]
    )
    larger = (2 * SHAPE[0], 2 * SHAPE[1])
    assert read_mask((tmp_path / "digits.png",), larger, bits).sum() == 4 * (36 + 36)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("structures: [head, symphysis]", "structures: [head]"), "structures: names one structure"),
        (("structures: [head, symphysis]", "structures: [head, head]"), "head is there twice"),
        (("structures: [head, symphysis]", "structures: [head, 'a[b]']"), "is no name of a structure"),
        (("structures: [head, symphysis]", "structures: [heads, symphysis]"), "'head' is none of the entry's.*'heads'"),
        (("structures: [head, symphysis]", "structures: [symphysis, head]"), "in the order of `structures`"),
        (("  structures: [head, symphysis]\n", ""), "'head' is none of the entry's `structures` \\(none\\)"),
        (("    values:", "    #"), "do not say which pixels are 'head'"),
    ],
)
def test_names_that_do_not_agree_are_said(tmp_path, change, said):
    folders(tmp_path)
    assert change[0] in FILES
    with pytest.raises(BenchError, match=re.compile(said, re.DOTALL)):
        open_dataset(registry(tmp_path, FILES.replace(*change))["mine"], tmp_path)


def test_a_layout_of_one_mask_refuses_structures(tmp_path):
    text = """
    mine:
      extends: phantom-lesion
      structures: [lesion, calyx]
    """
    with pytest.raises(DataError, match=r"structures: 'calyx' is not simulated.*lesion, shadow"):
        open_dataset(registry(tmp_path, text)["mine"], tmp_path)
    save(tmp_path / "mine" / "a.png", noise(0))
    save(tmp_path / "mine" / "benign" / "benign (1).png", noise(1))
    save(tmp_path / "mine" / "benign" / "benign (1)_mask.png", box(0, 4, 0, 4).astype(np.uint8) * 255)
    text = "mine: {extends: busi, path: mine, structures: [lesion, shadow], classes: [benign], groups: null}"
    with pytest.raises(DataError, match="the layout 'busi' reads one mask an image, and the entry names 2"):
        open_dataset(registry(tmp_path, text)["mine"], tmp_path)


def test_structures_come_back_from_the_cache_and_from_an_exported_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path / "cache"))
    folders(tmp_path)
    spec = registry(tmp_path, FILES)["mine"]
    first = open_dataset(spec, tmp_path)
    cases = find_cases(spec, open_reader(spec, tmp_path))
    known, _ = image_cache(spec, tmp_path / spec.path, cases).load(cases)
    for sample in first.samples:
        np.testing.assert_array_equal(known[sample.case.case_id].structures, sample.structures)
        np.testing.assert_array_equal(known[sample.case.case_id].mask, sample.mask)
    assert open_dataset(spec, tmp_path).content_hash == first.content_hash

    export_dataset(first, 16, tmp_path / "copy.tar")
    with tarfile.open(tmp_path / "copy.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    copy = open_dataset(load_registry(tmp_path / "mine-16px" / "datasets.yaml")["mine-16px"], tmp_path)
    assert copy.structures == first.structures
    for sample, other in zip(first.samples, copy.samples, strict=True):
        np.testing.assert_array_equal(sample.structures, other.structures)


# ---- end to end, without training ----

TWO = """
tiny-structures:
  extends: phantom-structures
  options: {n: 24, size: 64}
"""


def invented(seed, data):
    rng = np.random.default_rng(seed)
    references = tuple(sample.structures for sample in data.samples)
    moved = [np.roll(masks, tuple(rng.integers(-4, 5, size=2)), axis=(1, 2)) for masks in references]
    moved[0] = np.zeros_like(moved[0])
    ids = tuple(sample.case.case_id for sample in data.samples)
    grid = np.zeros((len(data), 2, 8, 8), bool)
    spacings = tuple(sample.spacing for sample in data.samples)
    return SegmentationPredictions(ids, tuple(moved), references, grid, spacings, data.structures)


@pytest.fixture
def store(tmp_path, monkeypatch):
    import invented as of_tests

    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    monkeypatch.setattr(of_tests, "invent_predictions", lambda spec, data: invented([spec.seed, len(spec.model)], data))
    return of_tests.invent_store(tmp_path, path, of_tests.ALL[:2], ("tiny-structures",), seeds=2)


def test_a_network_trains_on_structures_and_its_trial_is_reported_and_guarded(tmp_path):
    specs = registry(tmp_path, TWO)
    trials = plan_suite(
        load_suite("demo"), specs, models=["usfm-micro-scratch"], datasets=["tiny-structures"], seeds=[0]
    )
    training = trials[0].training.model_copy(update={"epochs": 1, "image_size": 32})
    spec = trials[0].model_copy(update={"training": training})
    store = Store(tmp_path / "runs")
    record = run_one(spec, open_dataset(spec.dataset, tmp_path), store)
    assert record.definitions["DSC"] == "dsc.native.mean@1"
    assert record.spec.dataset.structures == ("lesion", "shadow")
    assert record.spec.hash == read_record(store.folder(spec) / "record.json").spec_hash
    kept = load_predictions(store.folder(spec) / "predictions.npz")
    assert [mask.shape for mask in kept.grid_predictions] == [(2, 32, 32)] * record.n_test
    check_new_images(store.folder(spec), kept, open_dataset(spec.dataset, tmp_path), tmp_path)
    others = [name for name in ("phantom-lesion", "tiny-structures") if name in specs]
    with pytest.raises(
        BenchError, match="'phantom-lesion' shows one structure, these trials were trained on lesion, s"
    ):
        plan_jobs([(store.folder(spec), record)], others, [], specs)
    baseline, _ = make_baseline(store, "demo", "smoke")
    assert [m.definition for m in baseline.entries[0].metrics] == ["dsc.native.mean@1", "hd95.pooled.native.px.mean@1"]


def check_new_images(folder, kept, data, tmp_path):
    """`predict` gives the masks that the trial's own test cases got, as levels."""
    case = kept.case_ids[0]
    image = next(sample.image for sample in data.samples if sample.case.case_id == case)
    cv2.imwrite(str(tmp_path / "new.png"), image)
    files, out = find_new_images([tmp_path / "new.png"], tmp_path / "out").files, tmp_path / "out"
    out.mkdir()
    assert [ended.fault for ended in predict_files(open_trained(folder, "cpu"), files, out, lambda _: None)] == [None]
    lesion, shadow = kept.predictions[0]
    levels = cv2.imread(str(out / "new.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(levels, lesion + 2 * shadow.astype(np.uint8))


def test_masks_that_overlap_are_told_by_binary_digits():
    masks = np.zeros((9, 2, 2), bool)
    masks[0, 0], masks[1, :, 0], masks[8, 1, 1] = True, True, True
    levels = binary_digits(masks)
    assert (levels.dtype, levels.tolist()) == (np.uint16, [[3, 1], [2, 256]])
    assert (binary_digits(masks[:8]).dtype, binary_digits(masks[:8]).tolist()) == (np.uint8, [[3, 1], [2, 0]])


def test_predictions_of_structures_come_back(tmp_path):
    data = open_dataset(registry(tmp_path, TWO)["tiny-structures"], tmp_path)
    kept = invented(0, data)
    save_predictions(tmp_path / "predictions.npz", kept)
    again = load_predictions(tmp_path / "predictions.npz")
    assert again.structures == ("lesion", "shadow")
    assert [m.shape for m in again.grid_predictions] == [m.shape for m in kept.grid_predictions]
    for name in ("predictions", "references"):
        for mask, other in zip(getattr(kept, name), getattr(again, name), strict=True):
            np.testing.assert_array_equal(mask, other)


def test_a_report_has_the_mean_in_its_tables_and_a_row_a_structure(store):
    report = build_report(store, "demo")
    whole = [row for row in report.rows if row.source == "measured" and row.label is None]
    of_dsc = {(row.model, row.label): row for row in report.rows if row.metric == "DSC" and row.source == "measured"}
    results = report.results[0]
    model = results.first.spec.model
    assert of_dsc[model, None].definition == "dsc.native.mean@1"
    assert of_dsc[model, "shadow"].definition == "dsc.native[shadow]@1"
    cases = results.cases
    assert of_dsc[model, None].mean == pytest.approx(cases["DSC"].mean())
    shadows = cases[cases["lesion[shadow]"]]
    assert of_dsc[model, "shadow"].mean == pytest.approx(shadows["DSC[shadow]"].mean())
    assert of_dsc[model, "shadow"].n_cases == len(shadows) // 2 == 8
    assert of_dsc[model, "lesion"].n_missed == cases["missed[lesion]"].sum() == 2
    assert of_dsc[model, None].n_missed == cases["missed"].sum()
    assert {c.definition for c in report.comparisons} == {"dsc.native.mean@1", "hd95.pooled.native.px.mean@1"}
    assert len({(row.model, row.metric, row.unit) for row in whole}) == len(whole)
    text = render([report], "markdown")
    assert "By structure." in render([report], "markdown", ["classes"])
    assert "a case's value is the mean over the structures that its reference has (lesion, shadow)" in text
    labels = [row["label"] for row in json.loads(render([report], "json"))["class_rows"]]
    assert set(labels) == {"lesion", "shadow"}
    assert "By structure." in render([report], "latex", ["classes"])


def test_leaving_missed_structures_out_is_what_the_definition_says(store):
    row = next(r for r in build_report(store, "demo", missed="exclude").rows if r.metric == "HD95" and r.unit == "px")
    assert row.definition == "hd95.pooled.native.px.exclude.mean@1"
    results, _ = rescore(find_trials(store.root), find_definitions(["hd95.pooled.native.px.exclude.mean"]))
    values = next(r for r in results if r.first.spec.model == row.model).cases[row.definition]
    assert row.n_cases == values.groupby(results[0].cases["case_id"]).count().eq(2).sum()
    assert row.mean == pytest.approx(values.dropna().mean())


def test_kept_predictions_score_again_as_they_did(store):
    results, faults = rescore(find_trials(store.root))
    assert faults == []
    assert "DSC[shadow]" in results[0].cases


def test_a_sheet_draws_each_structure_in_its_colour():
    reference = np.stack([box(0, 6, 0, 6), box(6, 10, 6, 12)])
    figure = sheet([Shown("c", "best", 0.5, reference, [reference])], looks_of(["m"])["m"], 180, NAMES)
    colours = [line.get_edgecolor()[0] for line in figure.axes[0].collections]
    wanted = [tuple(int(hue[i : i + 2], 16) / 255 for i in (1, 3, 5)) for hue in HUES[:2]]
    np.testing.assert_allclose([c[:3] for c in colours], [wanted[0], wanted[0], wanted[1], wanted[1]])
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert words == ["reference", "prediction, one line a seed", *NAMES]


def test_the_page_has_the_figures_colours_and_a_path_a_structure(store, tmp_path):
    from usfm_bench.reporting.writers.html.page import write_html

    page = write_html(store.root, ["demo"], tmp_path / "page").read_text()
    for i, hue in enumerate(HUES):
        assert f".outline.s{i} {{ stroke: {hue}; }}" in page
    assert f"const HUES = {len(HUES)};" in page
    head, first = (json.loads(re.search(rf'id="s0-cases-0-{part}">(.*?)</script>', page)[1]) for part in ("head", "0"))
    assert head["structures"] == ["lesion", "shadow"]
    assert [m["name"] for m in head["metrics"][:3]] == ["DSC", "DSC lesion", "DSC shadow"]
    assert [len(first[0]["reference"]), len(first[0]["predictions"][0])] == [2, 2]
    assert first[0]["predictions"][0] == ["", ""]


def test_of_structure_and_mean_are_of_the_same_metric():
    for definition in TASKS["segmentation"].primary():
        assert of_structure(definition, "x").column == f"{definition.column}[x]"
        assert over_structures(definition).column == definition.column
