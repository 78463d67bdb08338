"""Several processes learn what one learns, by every method: one pair of processes is started for all of them."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from small_pretrainings import small_images, small_options, small_recipe, third_step, train_all
from usfm_bench.pretraining import shares
from usfm_bench.pretraining.card import read_card
from usfm_bench.specs.method import METHODS
from usfm_bench.training.device import device_fabric

pytest.importorskip("lightly")
ONE, TWO, TWO_AFTER_ONE, ONE_AFTER_TWO = "one", "two", "two-after-one", "one-after-two"
every = pytest.mark.parametrize("name", METHODS)


def recipe_of(name):
    """Small steps and heads: batch norms of a few images would make large differences out of rounding."""
    heads = {"head_width": 64} if "head_width" in METHODS[name].settings.model_fields else {}
    return small_recipe(name, lr=1e-4, **heads)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of files of every method, each trained by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    recipes = {name: recipe_of(name) for name in METHODS}
    threads = torch.get_num_threads()
    train = partial(train_all, recipes=recipes, data=small_images(recipes["usfm"], folder), folder=folder)
    train(device_fabric("fp32", 1, "cpu"), kinds={ONE: TWO_AFTER_ONE})
    device_fabric("fp32", 1, "cpu", devices=2).launch(partial(train, kinds={TWO: ONE_AFTER_TWO, TWO_AFTER_ONE: None}))
    train(device_fabric("fp32", 1, "cpu"), kinds={ONE_AFTER_TWO: None})
    torch.set_num_threads(threads)
    return folder


def losses(folder, name, kind):
    with small_options(folder, name, kind).out.with_suffix(".csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


@pytest.mark.slow
@every
@pytest.mark.parametrize("kind", [TWO, TWO_AFTER_ONE, ONE_AFTER_TWO])
def test_two_processes_have_the_losses_of_one(trained, name, kind):
    np.testing.assert_allclose(losses(trained, name, kind), losses(trained, name, ONE), rtol=1e-4)


@pytest.mark.slow
@every
def test_two_processes_have_the_gradients_of_one_and_keep_the_same_state(trained, name):
    one, two = (torch.load(third_step(trained, name, kind), weights_only=True) for kind in (ONE, TWO))
    # AdamW's running means of gradients; its steps are of one size, also for a weight whose gradient is rounding alone.
    gradients = [[s["exp_avg"] for s in state["optimizer"]["state"].values()] for state in (one, two)]
    largest = max(float(gradient.abs().max()) for gradient in gradients[0])
    assert len(gradients[0]) > 20
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(second, first, atol=1e-3 * largest, rtol=0)
    with torch.random.fork_rng():
        trained_ones = {key for key, p in METHODS[name](recipe_of(name)).network.named_parameters() if p.requires_grad}
    assert one["model"].keys() == two["model"].keys()
    for key in one["model"].keys() - trained_ones:  # statistics, centres, momentum encoders
        torch.testing.assert_close(
            two["model"][key], one["model"][key], atol=1e-4, rtol=1e-3, msg=lambda said, key=key: f"{key}: {said}"
        )


@pytest.mark.slow
@every
def test_operations_are_counted_alike(trained, name):
    one, two = (read_card(small_options(trained, name, kind).out) for kind in (ONE, TWO))
    assert two.environment["devices"] == 2
    assert two.flops_per_image == pytest.approx(one.flops_per_image, rel=1e-3)


@pytest.mark.parametrize(("device", "kind"), [("cuda", nn.SyncBatchNorm), ("cpu", nn.BatchNorm1d)])
def test_batch_norms_are_shared_by_processes_and_left_alone_without(monkeypatch, device, kind):
    network = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.BatchNorm1d(4), nn.ReLU()))
    weight = network[1][0].weight
    shares.share_batch_norms(network, device)
    assert type(network[1][0]) is nn.BatchNorm1d
    assert not network[1][0]._forward_hooks
    monkeypatch.setattr(shares, "world", lambda: 2)
    shares.share_batch_norms(network, device)
    assert type(network[1][0]) is kind
    assert network[1][0].weight is weight  # which the optimiser knows
    assert bool(network[1][0]._forward_hooks) == (device == "cpu")


def test_without_processes_a_share_is_the_whole():
    rows = torch.rand(3, 2)
    assert shares.whole_batch(rows) is rows
    assert shares.own_places(3, rows.device).tolist() == [0, 1, 2]
