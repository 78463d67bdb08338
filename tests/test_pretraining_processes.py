"""Several processes learn what one learns, by every method: one pair of processes is started for all of them."""

import csv
from functools import partial

import numpy as np
import pytest
import torch

from small_pretrainings import small_images, small_options, small_recipe, train_all
from usfm_bench.models.checkpoint import read_tensors
from usfm_bench.pretraining.card import read_card
from usfm_bench.specs.method import METHODS
from usfm_bench.training.device import device_fabric

pytest.importorskip("lightly")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
ONE, TWO, TWO_AFTER_ONE, ONE_AFTER_TWO = "one", "two", "two-after-one", "one-after-two"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of files of every method, each trained by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    recipes = {name: small_recipe(name) for name in METHODS}
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


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", [TWO, TWO_AFTER_ONE, ONE_AFTER_TWO])
def test_two_processes_learn_what_one_learns(trained, name, kind):
    # Sums are in another order; AdamW makes steps of a weight without a true gradient out of that.
    np.testing.assert_allclose(losses(trained, name, kind), losses(trained, name, ONE), rtol=1e-4)
    one, two = (read_tensors(small_options(trained, name, what).out) for what in (ONE, kind))
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-4, rtol=1e-3, msg=lambda said, key=key: f"{key}: {said}")


@pytest.mark.parametrize("name", METHODS)
def test_its_operations_are_counted_alike(trained, name):
    one, two = (read_card(small_options(trained, name, kind).out) for kind in (ONE, TWO))
    assert two.environment["devices"] == 2
    assert two.flops_per_image == pytest.approx(one.flops_per_image, rel=0.01)
