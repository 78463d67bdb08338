"""The parts of training: schedule, seeds, validation, resizing, augmentation, prediction."""

import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from usfm_bench.data.dataset import Dataset
from usfm_bench.data.loaders import network_data
from usfm_bench.data.resize import resize_image, resize_mask
from usfm_bench.data.sample import Case, Sample, Spacing
from usfm_bench.data.transforms import Normalise, build_augmentation
from usfm_bench.metrics import dice
from usfm_bench.models import build_model
from usfm_bench.specs.dataset import DatasetSpec
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.tasks.segmentation import mean_dice, overlap_counts, to_native
from usfm_bench.training.optim import build_optimizer, build_schedule, lr_factor
from usfm_bench.training.predict import predict, predict_logits, validate
from usfm_bench.training.seeding import Stream, generator, torch_seeded

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
STEPS = 5


def recipe(**settings):
    plain = {"image_size": 32, "epochs": 4, "batch_size": 2, "lr": 1e-3, "warmup_lr": 1e-4, "min_lr": 1e-5}
    return TrainingSpec(**plain | settings)


class Toy(nn.Linear):
    """A model with two parameter groups."""

    def __init__(self):
        super().__init__(2, 2)

    def param_groups(self, *, weight_decay, layer_decay):
        return [
            {"params": [self.weight], "weight_decay": weight_decay, "lr_scale": layer_decay},
            {"params": [self.bias], "weight_decay": 0.0},
        ]


def rates_at(step, spec, model=None):
    """Learning rate of each group at one step."""
    optimizer = build_optimizer(model or Toy(), spec)
    build_schedule(optimizer, spec, STEPS).step_update(step)
    return [group["lr"] for group in optimizer.param_groups]


def cosine(step, lr=1e-3, end=1e-5, total=4 * STEPS):
    return end + (lr - end) * (1 + math.cos(math.pi * step / total)) / 2


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1e-4),
        (2, 1e-4 + 2 / 5 * (1e-3 - 1e-4)),
        (4, 1e-4 + 4 / 5 * (1e-3 - 1e-4)),
        (5, cosine(5)),
        (10, 1e-5 + (1e-3 - 1e-5) / 2),
        (19, cosine(19)),
    ],
)
def test_the_rate_warms_up_in_a_line_and_falls_along_a_cosine(step, expected):
    assert rates_at(step, recipe(warmup_epochs=1)) == [pytest.approx(expected)] * 2


def test_without_warm_up_the_first_step_has_the_full_rate():
    assert rates_at(0, recipe()) == [1e-3, 1e-3]


def test_a_warm_up_may_last_part_of_an_epoch():
    assert rates_at(1, recipe(warmup_epochs=0.4))[0] == pytest.approx((1e-4 + 1e-3) / 2)
    assert rates_at(2, recipe(warmup_epochs=0.4))[0] == pytest.approx(cosine(2))


@pytest.mark.parametrize("step", [0, 3, 5, 12, 19])
def test_every_rate_scales_with_the_batch_where_the_recipe_asks(step):
    plain, scaled = recipe(warmup_epochs=1), recipe(warmup_epochs=1, batch_size=24, lr_scale_batch=8)
    assert lr_factor(scaled) == 3
    assert rates_at(step, scaled) == pytest.approx([3 * rate for rate in rates_at(step, plain)])


def test_without_a_reference_batch_the_rates_are_taken_as_they_are():
    assert lr_factor(recipe(batch_size=64)) == 1


def test_the_optimizer_takes_betas_eps_and_decay_from_the_recipe():
    optimizer = build_optimizer(Toy(), recipe(betas=(0.8, 0.9), eps=1e-6, weight_decay=0.3))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]
    assert all((group["betas"], group["eps"]) == ((0.8, 0.9), 1e-6) for group in optimizer.param_groups)


@pytest.mark.parametrize("step", [0, 3, 5, 19])
def test_layer_decay_multiplies_a_groups_rate_once(step):
    decayed, full = rates_at(step, recipe(warmup_epochs=1, layer_decay=0.5))
    assert decayed == pytest.approx(0.5 * full)


def test_layer_decay_applies_to_real_backbones():
    spec = recipe(warmup_epochs=1, layer_decay=0.65)
    with torch_seeded(0, Stream.INITIALISATION):
        model = build_model(
            "usfm-micro-scratch",
            TASKS["classification"],
            SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2), structures=()),
            spec,
        )
    rates = sorted(set(rates_at(10, spec, model)))
    middle = 1e-5 + (1e-3 - 1e-5) / 2
    assert rates == pytest.approx([0.65**layer * middle for layer in (4, 3, 2, 1, 0)])


def draws(seed=0, stream=Stream.EPOCH, step=0):
    with torch_seeded(seed, stream, step):
        return torch.rand(4)


def test_torch_seeded_gives_the_same_draws_and_puts_the_generator_back():
    torch.rand(3)
    before = torch.get_rng_state()
    assert torch.equal(draws(), draws())
    assert torch.equal(torch.get_rng_state(), before)


def test_torch_seeded_puts_the_generator_back_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), torch_seeded(0, Stream.EPOCH):
        torch.rand(3) / (1 // 0)
    assert torch.equal(torch.get_rng_state(), before)


KEYS = [(seed, stream, step) for seed in (0, 1) for stream in Stream for step in (0, 1)]


def test_torch_draws_differ_between_seeds_streams_and_steps():
    assert len({tuple(draws(*key).tolist()) for key in KEYS}) == len(KEYS)


def test_numpy_draws_differ_between_seeds_streams_and_steps_and_repeat():
    first, second = ([tuple(generator(*key).random(3)) for key in KEYS] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(KEYS)


SPEC = DatasetSpec(
    name="toy",
    version=1,
    title="",
    tasks=("segmentation", "classification"),
    organ="",
    layout="busi",
    classes=("a", "b"),
)


def dataset(*labels, shape=(40, 50), masks=None, classes=("a", "b")):
    """Dark images with a bright lesion, one a label."""
    masks = masks or [rectangle(shape, 8, 24, 10 + i, 40) for i in range(len(labels))]
    samples = [
        Sample(Case(f"case {i}", label), np.where(mask, 220, 20).astype(np.uint8), mask, Spacing(0.1, 0.2))
        for i, (label, mask) in enumerate(zip(labels, masks, strict=True))
    ]
    return Dataset(SPEC.model_copy(update={"classes": classes}), tuple(samples))


def rectangle(shape, top, bottom, left, right):
    mask = np.zeros(shape, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_to_native_keeps_edges_where_they_are():
    left = np.zeros((16, 16), np.float32)
    left[:, :8] = 1
    np.testing.assert_array_equal(to_native(left, (10, 32)), rectangle((10, 32), 0, 10, 0, 16))
    np.testing.assert_array_equal(to_native(left.T, (33, 5)), rectangle((33, 5), 0, 16, 0, 5))


@pytest.mark.parametrize(("probability", "lesion"), [(0.49, False), (0.5, False), (0.51, True)])
def test_a_native_pixel_is_lesion_above_one_half(probability, lesion):
    assert (to_native(np.full((4, 4), probability, np.float32), (7, 9)) == lesion).all()


def test_resized_masks_keep_pixels_that_are_at_least_half_covered():
    mask = rectangle((8, 8), 0, 4, 0, 3)  # covers columns 0 and half of 1 of a 4x4 grid, in rows 0 and 1
    np.testing.assert_array_equal(resize_mask(mask, 4), rectangle((4, 4), 0, 2, 0, 2))
    np.testing.assert_array_equal(resize_mask(rectangle((8, 8), 0, 1, 0, 1), 4), np.zeros((4, 4), bool))
    np.testing.assert_array_equal(resize_mask(mask, 8), mask)


@pytest.mark.parametrize("shape", [(64, 48), (20, 90), (10, 12)])
def test_a_masks_share_of_the_image_survives_resizing(shape):
    mask = rectangle(shape, shape[0] // 4, shape[0] // 2, 0, shape[1] // 2)
    assert resize_mask(mask, 32).mean() == pytest.approx(mask.mean(), abs=0.02)
    native = to_native(resize_mask(mask, 32).astype(np.float32), shape)
    assert dice(native, mask) > 0.9


@pytest.mark.parametrize("shape", [(64, 48), (20, 90), (10, 12)])
def test_resized_images_keep_their_brightness_in_place(shape):
    image = np.where(rectangle(shape, 0, shape[0], 0, shape[1] // 2), 200, 40).astype(np.uint8)
    resized = resize_image(image, 32)
    assert (resized.shape, resized.dtype) == ((32, 32), np.uint8)
    np.testing.assert_allclose(resized[:, :12], 200, atol=3)
    np.testing.assert_allclose(resized[:, 20:], 40, atol=3)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.tile(np.array([0, 200], np.uint8), (64, 32))
    np.testing.assert_allclose(resize_image(stripes, 32), 100, atol=1)


@pytest.mark.parametrize(
    ("task", "shape", "dtype"), [("segmentation", (3, 1, 32, 32), torch.uint8), ("classification", (3,), torch.int64)]
)
def test_network_data_has_images_and_targets_of_the_task(task, shape, dtype):
    data = network_data(dataset("a", "b", "a"), TASKS[task], 32)
    assert (data.images.shape, data.images.dtype) == ((3, 1, 32, 32), torch.uint8)
    assert (data.targets.shape, data.targets.dtype) == (shape, dtype)
    if task == "classification":
        assert data.targets.tolist() == [0, 1, 0]


def test_batches_follow_the_given_order_and_the_last_may_be_smaller():
    data = network_data(dataset("a", "b", "a", "b", "b"), TASKS["classification"], 32)
    batches = list(data.batches(2, CPU, np.array([4, 0, 1, 3, 2])))
    assert [targets.tolist() for _, targets in batches] == [[1, 0], [1, 1], [0]]
    images = torch.cat([images for images, _ in batches])
    torch.testing.assert_close(images * 255, data.images[[4, 0, 1, 3, 2]].float())


def test_normalise_makes_three_channels_with_the_models_mean_and_spread():
    grey = torch.tensor([[[[0.0, 0.5], [0.75, 1.0]]]])
    colour = Normalise((0.5, 0.0, 0.25), (0.5, 1.0, 0.25))(grey)
    expected = torch.stack([grey[0, 0] * 2 - 1, grey[0, 0], grey[0, 0] * 4 - 1])[None]
    torch.testing.assert_close(colour, expected, check_stride=False)


def bright_squares(n=64, size=64):
    """Images and masks of a bright square that is nowhere symmetric."""
    masks = torch.zeros(n, 1, size, size)
    masks[:, :, 12:26, 30:52] = 1
    return 0.1 + 0.8 * masks, masks


def augmented(*names, seed=0, with_masks=True):
    images, masks = bright_squares()
    augment = build_augmentation(names, "mask" if with_masks else None)
    with torch_seeded(seed, Stream.EPOCH):
        return augment(images, masks) if with_masks else augment(images)


def changed(after, before):
    return (after != before).flatten(1).any(1).float().mean()


@pytest.mark.parametrize("name", ["hflip", "vflip", "rot90", "affine"])
def test_geometric_changes_move_image_and_mask_together(name):
    images, masks = augmented(name)
    bright, lesion = images > 0.5, masks > 0.5
    assert (bright == lesion).float().mean() > 0.998
    assert 0.3 < changed(lesion, bright_squares()[1] > 0.5) < 0.7  # about half of the images


def test_all_changes_together_keep_image_and_mask_aligned():
    images, masks = augmented("hflip", "vflip", "rot90", "affine", "intensity")
    overlap = ((images > 0.5) & (masks > 0.5)).sum() / ((images > 0.5) | (masks > 0.5)).sum()
    assert overlap > 0.95
    assert images.min() >= 0
    assert images.max() <= 1


def test_intensity_changes_the_image_and_leaves_the_mask():
    images, masks = augmented("intensity")
    before_images, before_masks = bright_squares()
    assert torch.equal(masks, before_masks)
    assert 0.5 < changed(images, before_images) < 1
    assert (images.min() >= 0) & (images.max() <= 1)


def test_quarter_turns_in_every_direction_occur():
    _, masks = augmented("rot90")
    turned = [torch.rot90(bright_squares(1)[1], k, (2, 3)) for k in range(4)]
    seen = [sum(bool(((mask > 0.5) == (t[0] > 0.5)).all()) for mask in masks) for t in turned]
    assert sum(seen) == len(masks)
    assert all(seen)


def test_flips_mirror_along_the_axis_that_they_name():
    before = bright_squares()[1]
    for name, axis in (("hflip", 3), ("vflip", 2)):
        masks = augmented(name)[1]
        moved = (masks != before).flatten(1).any(1)
        assert moved.any()
        assert torch.equal(masks[moved], before[moved].flip(axis))


def test_augmentation_repeats_with_its_seed_and_differs_without():
    one, same, other = (augmented("affine", "intensity", seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_images_without_masks_are_augmented_alone():
    images = augmented("hflip", "affine", with_masks=False)
    assert images.shape == (64, 1, 64, 64)
    assert changed(images, bright_squares()[0]) > 0.5


def test_no_names_mean_no_augmentation():
    assert build_augmentation((), "mask") is None


class Bright(nn.Module):
    """Says lesion where the image is bright, or class 1 where it is bright on the whole."""

    def __init__(self, task):
        super().__init__()
        self.task = task
        self.norm = nn.BatchNorm2d(3, affine=False)  # would see the batch if it were left in training mode

    def forward(self, images):
        logits = 20 * self.norm(images)[:, :1]
        return logits if self.task == "segmentation" else logits.mean((2, 3)) * torch.tensor([[-1.0, 1.0]])


HALF_GREY = Normalise((0.5,) * 3, (0.5,) * 3)


def predicted(task, data, val=None):
    return predict(Bright(task), HALF_GREY, data, network_data(data, TASKS[task], 32), 2, CPU, val=val)


def test_predicted_masks_lie_where_the_lesions_are_at_native_size():
    data = dataset("a", "b", masks=[rectangle((60, 100), 10, 40, 20, 80), rectangle((90, 30), 30, 75, 5, 25)])
    found = predicted("segmentation", data)
    assert found.case_ids == ("case 0", "case 1")
    assert found.spacings == (Spacing(0.1, 0.2),) * 2
    assert [mask.shape for mask in found.grid_predictions] == [(32, 32)] * 2
    for prediction, reference, sample in zip(found.predictions, found.references, data.samples, strict=True):
        np.testing.assert_array_equal(reference, sample.mask)
        assert dice(prediction, reference) > 0.95


def test_predicted_classes_come_with_labels_and_names():
    data = dataset("a", "b", "b", masks=[rectangle((32, 32), 0, n, 0, 32) for n in (4, 30, 6)])
    found = predicted("classification", data)
    assert found.labels.tolist() == [0, 1, 1]
    assert found.logits.argmax(axis=1).tolist() == [0, 1, 0]
    assert found.classes == ("a", "b")
    assert (found.val_logits, found.val_labels) == (None, None)
    val = network_data(data.subset([1, 0]), TASKS["classification"], 32)
    tuned = predicted("classification", data, val=val)
    np.testing.assert_array_equal(tuned.val_logits, found.logits[[1, 0]])
    assert tuned.val_labels.tolist() == [1, 0]
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_logits_do_not_depend_on_the_size_of_the_batch():
    data = network_data(dataset(*"ababa"), TASKS["segmentation"], 32)
    one, three = (predict_logits(Bright("segmentation").train(), HALF_GREY, data, size, CPU) for size in (1, 3))
    assert one.shape == (5, 1, 32, 32)
    assert torch.equal(one, three)


def grid(*rows):
    return torch.tensor(rows, dtype=torch.float32)[:, None, None, :]  # (N, 1, 1, S)


def validation_dice(logits, masks):
    return mean_dice(overlap_counts(logits, masks.byte()))


def test_validation_dice_is_a_mean_over_the_images_with_a_lesion():
    logits = grid([1, 1, -1, -1], [-1, -1, -1, -1], [1, 1, 1, 1])
    masks = grid([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0])
    assert validation_dice(logits, masks) == pytest.approx((2 * 1 / (2 + 1) + 0) / 2)


def test_validation_without_any_lesion_counts_false_alarms():
    assert validation_dice(grid([-1, -1], [1, -1]), grid([0, 0], [0, 0])) == pytest.approx((1 + 0) / 2)


def test_pixels_in_both_masks_and_in_each_are_counted_for_every_image():
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(5, 1, 8, 8)), rng.random((5, 1, 8, 8)) < 0.3
    logits[0, 0, 0] = 0  # a probability of one half is no lesion
    logits[1], masks[2] = -1, False
    said = logits > 0
    expected = np.stack([(said & masks).sum((1, 2, 3)), said.sum((1, 2, 3)), masks.sum((1, 2, 3))], axis=1)
    counts = overlap_counts(torch.from_numpy(logits), torch.from_numpy(masks).byte())
    np.testing.assert_array_equal(counts.numpy(), expected)


def validated(task, batch_size):
    """What validation says, with targets that lie beside the lesions, or are another case's; and the data."""
    data = network_data(dataset(*"ababa"), TASKS[task], 32)
    data = replace(data, targets=data.targets.roll(3, -1))
    return validate(Bright(task).train(), HALF_GREY, data, batch_size, CPU), data


def test_validation_of_masks_is_the_dice_of_what_the_model_says():
    score, data = validated("segmentation", 5)
    said = predict_logits(Bright("segmentation"), HALF_GREY, data, 5, CPU) > 0
    pairs = zip(said.numpy()[:, 0], data.targets.bool().numpy()[:, 0], strict=True)
    assert score == pytest.approx(np.mean([dice(*pair) for pair in pairs]))
    assert 0.7 < score < 0.95


def test_validation_of_classes_is_the_mean_recall_of_those_present():
    squares = [rectangle((32, 32), 0, n, 0, 32) for n in (30, 4, 6, 4)]  # said to be b, a, a, a
    data = dataset("a", "a", "a", "c", masks=squares, classes=("a", "b", "c"))  # b is absent, and said once
    score = validate(Bright("classification"), HALF_GREY, network_data(data, TASKS["classification"], 32), 4, CPU)
    assert score == pytest.approx((2 / 3 + 0 / 1) / 2)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_validation_does_not_depend_on_the_size_of_the_batch(task):
    assert len({validated(task, batch_size)[0] for batch_size in (1, 2, 3, 5, 8)}) == 1


def test_streams_keep_their_numbers():
    numbers = {"INITIALISATION": 0, "ORDER": 1, "EPOCH": 2, "SAMPLING": 3, "MASKS": 4, "STEP": 5}
    assert {s.name: int(s) for s in Stream} == numbers


def test_the_rate_only_falls_after_the_warm_up():
    rates = [rates_at(step, recipe(warmup_epochs=1))[0] for step in range(5, 20)]
    assert all(later < earlier for earlier, later in pairwise(rates))
