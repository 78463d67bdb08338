"""Training against unbalanced classes: the losses, balanced sampling, and which options go together."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.loaders import NetworkData
from usfm_bench.models.objectives import ClassificationLoss
from usfm_bench.pipeline import run_one
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.training.sampling import balanced_order, epoch_order
from usfm_bench.training.seeding import Stream, generator

pytestmark = pytest.mark.usefixtures("one_thread")
COUNTS = np.array([6, 3, 1])
LABELS = np.array([0, 0, 1, 2])


def recipe(**changes):
    return TrainingSpec(**{"image_size": 32, "epochs": 2, "batch_size": 4, "lr": 1e-3} | changes)


def logits(seed=0, n=4, classes=3):
    return np.random.default_rng(seed).normal(scale=2, size=(n, classes)).astype(np.float32)


def loss(z, labels, counts=COUNTS, **changes):
    objective = ClassificationLoss(counts, recipe(**changes))
    return objective(torch.from_numpy(z), torch.from_numpy(labels)).item()


def log_p(z):
    """(N, C) log softmax, in NumPy and float64."""
    z = z.astype(np.float64)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def of_label(z, labels=LABELS):
    return log_p(z)[np.arange(len(labels)), labels]


# ---- losses ----------------------------------------------------------------------------------------------------------


def test_class_weights_are_n_over_classes_times_class_size():
    objective = ClassificationLoss(COUNTS, recipe(class_weights="balanced"))
    assert objective.weights.tolist() == pytest.approx([10 / (3 * 6), 10 / (3 * 3), 10 / (3 * 1)])
    w = objective.weights.double().numpy()[LABELS]
    z = logits()
    assert loss(z, LABELS, class_weights="balanced") == pytest.approx(-(w * of_label(z)).sum() / w.sum(), rel=1e-5)


def test_a_class_without_training_images_counts_as_one_image():
    objective = ClassificationLoss(np.array([2, 0, 0]), recipe(class_weights="balanced"))
    assert objective.weights.tolist() == pytest.approx([2 / (3 * 2), 2 / 3, 2 / 3])
    adjusted = ClassificationLoss(np.array([2, 0, 0]), recipe(logit_adjustment=1))
    assert adjusted.adjustment.tolist() == pytest.approx(np.log([2 / 2, 1 / 2, 1 / 2]))


def test_without_options_the_loss_is_the_mean_cross_entropy():
    objective = ClassificationLoss(COUNTS, recipe())
    assert (objective.weights, objective.adjustment) == (None, None)
    assert loss(logits(), LABELS) == pytest.approx(-of_label(logits()).mean(), rel=1e-5)


def test_label_smoothing_shares_a_part_among_all_classes():
    smooth = 0.9 * np.eye(3)[LABELS] + 0.1 / 3
    assert loss(logits(), LABELS, label_smoothing=0.1) == pytest.approx(-(smooth * log_p(logits())).sum() / 4, rel=1e-5)


def test_the_focal_loss_by_hand():
    z = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]], np.float32))
    labels = np.array([0, 2])
    expected = (0.3**2 * -np.log(0.7) + 0.9**2 * -np.log(0.1)) / 2
    assert loss(z, labels, loss="focal") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_the_focal_loss_takes_class_weights_as_alpha(gamma):
    z, w = logits(), (10 / (3 * COUNTS))[LABELS]
    expected = (w * (1 - np.exp(of_label(z))) ** gamma * -of_label(z)).sum() / w.sum()
    assert loss(z, LABELS, loss="focal", focal_gamma=gamma, class_weights="balanced") == pytest.approx(
        expected, rel=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["none", "balanced"]))
def test_the_focal_loss_goes_to_the_cross_entropy_as_gamma_goes_to_0(seed, class_weights):
    options = {"class_weights": class_weights}
    near = loss(logits(seed), LABELS, loss="focal", focal_gamma=1e-7, **options)
    assert near == pytest.approx(loss(logits(seed), LABELS, **options), rel=1e-4)


def test_a_certain_prediction_gives_the_focal_loss_a_finite_gradient():
    z = torch.tensor([[200.0, 0.0], [0.0, 1.0]], requires_grad=True)
    ClassificationLoss(np.array([1, 1]), recipe(loss="focal", focal_gamma=0.5))(z, torch.tensor([0, 1])).backward()
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_logit_adjustment_is_the_closed_form(tau):
    # Eq. (10): log(1 + sum over other classes of (prior' / prior)^tau exp(z' - z))
    z, prior = logits().astype(np.float64), COUNTS / COUNTS.sum()
    expected = [
        np.log(1 + sum((prior[c] / prior[y]) ** tau * np.exp(row[c] - row[y]) for c in range(3) if c != y))
        for row, y in zip(z, LABELS, strict=True)
    ]
    assert loss(logits(), LABELS, logit_adjustment=tau) == pytest.approx(np.mean(expected), rel=1e-5)


def test_adjusted_logits_that_fit_the_data_say_probabilities_of_a_balanced_prior():
    # One feature value, classes 6:3:1. Whatever is learned from it, its likelihood is the same for every class.
    z = torch.zeros(1, 3, requires_grad=True)
    objective = ClassificationLoss(COUNTS, recipe(logit_adjustment=1))
    labels = torch.from_numpy(np.repeat([0, 1, 2], COUNTS))
    (gradient,) = torch.autograd.grad(objective(z.expand(10, 3), labels), z)
    assert gradient.numpy() == pytest.approx(0, abs=1e-6)  # the softmax of z, 1/3 each, is the optimum


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sampling": "balanced", "class_weights": "balanced"}, "class_weights: balanced and sampling: balanced"),
        ({"sampling": "balanced", "logit_adjustment": 1}, "sampling: balanced and logit_adjustment: 1.0"),
        (
            {"class_weights": "balanced", "logit_adjustment": 0.5},
            "class_weights: none and logit_adjustment: 0.0 are off",
        ),
        ({"loss": "focal", "label_smoothing": 0.1}, "set label_smoothing: 0"),
        ({"focal_gamma": 1}, "focal_gamma is a setting of loss: focal"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(ValidationError) as refusal:
        recipe(**options)
    assert said in str(refusal.value)


def test_options_that_are_off_do_not_change_the_hash_of_a_recipe():
    off = recipe(sampling="shuffle", loss="cross_entropy", focal_gamma=2, logit_adjustment=0)
    assert off.model_dump() == recipe().model_dump()
    assert not {"sampling", "loss", "focal_gamma", "logit_adjustment"} & off.model_dump().keys()


# ---- sampling --------------------------------------------------------------------------------------------------------


def data_of(*counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return NetworkData(
        torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8), torch.from_numpy(labels), TASKS["classification"]
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=4).filter(any), st.integers(1, 20), st.integers(0, 5))
def test_balanced_sampling_draws_as_many_of_each_class(counts, batch_size, epoch):
    data, spec = data_of(*counts), recipe(sampling="balanced", batch_size=batch_size)
    order, again = (epoch_order(data, spec, generator(3, Stream.ORDER, epoch)) for _ in range(2))
    plain = epoch_order(data, recipe(batch_size=batch_size), generator(3, Stream.ORDER, epoch))
    assert len(order) == len(plain)
    np.testing.assert_array_equal(order, again)
    drawn = np.bincount(data.targets.numpy()[order], minlength=len(counts))[np.array(counts) > 0]
    assert drawn.max() - drawn.min() <= 1


def test_balanced_sampling_repeats_the_rare_and_mixes_all():
    labels = np.repeat([0, 1], [18, 2])
    order = balanced_order(labels, 20, np.random.default_rng(0))
    assert np.bincount(labels[order]).tolist() == [10, 10]
    assert set(order[labels[order] == 1]) == {18, 19}
    assert 0 < labels[order][:10].sum() < 10
    assert not np.array_equal(order, balanced_order(labels, 20, np.random.default_rng(1)))


@pytest.mark.parametrize(("n", "batch_size"), [(20, 6), (3, 8), (16, 4)])
def test_shuffling_is_the_permutation_that_it_always_was(n, batch_size):
    steps = max(1, n // batch_size)
    expected = generator(1, Stream.ORDER, 4).permutation(n)[: steps * batch_size]
    got = epoch_order(data_of(n), recipe(batch_size=batch_size), generator(1, Stream.ORDER, 4))
    np.testing.assert_array_equal(got, expected)


# ---- a trial ---------------------------------------------------------------------------------------------------------

RARE = """
rare:
  extends: phantom
  tasks: [classification]
  classes: [normal, malignant]
  options: {n: 60, size: 48, prevalence: [0.9, 0.0, 0.1]}
"""


def test_a_trial_with_balanced_sampling_gives_the_same_bits_twice(tmp_path):
    (tmp_path / "rare.yaml").write_text(RARE)
    entry = load_registry(tmp_path / "rare.yaml")["rare"]
    dataset = open_dataset(entry, tmp_path)
    assert dataset.class_counts.tolist() == [54, 6]
    tables = []
    for name in ("shuffle", "balanced", "balanced again"):
        spec = TrialSpec(
            suite="demo",
            task="classification",
            dataset=entry,
            model="timm:test_resnet@scratch",
            profile="mine",
            training=recipe(sampling=name.split()[0], epochs=2, batch_size=8, threads=1),
            split=SplitSpec(),
            seed=0,
        )
        store = Store(tmp_path / name)
        run_one(spec, dataset, store)
        (folder,) = store.root.glob("*/*/*/mine/fold-0/seed-0")
        tables.append(pd.read_parquet(folder / "cases.parquet"))
        written = json.loads((folder / "record.json").read_text())["spec"]["training"]
        assert written.get("sampling", "shuffle") == spec.training.sampling
    plain, first, second = tables
    pd.testing.assert_frame_equal(first, second, check_exact=True)
    assert not np.array_equal(plain["p_malignant"], first["p_malignant"])
