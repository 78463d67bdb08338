"""What decoders read of a plain transformer: outputs of blocks as published, or with standardised channels."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from usfm_bench.models import build_model
from usfm_bench.models.features import Standardised
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.suites.recipes import PROFILES, load_profile

pytestmark = pytest.mark.usefixtures("one_thread")
CASES = SimpleNamespace(classes=("a", "b"), class_counts=np.array([1, 1]), structures=())
DECODERS = ("segvit", "upernet")


def build(taps, decoder, name="usfm-micro-scratch"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        recipe = TrainingSpec(image_size=32, epochs=1, batch_size=2, lr=1e-3, decoder=decoder, taps=taps)
        return build_model(name, TASKS["segmentation"], CASES, recipe)


def images(n=4):
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Rescaled(torch.nn.Module):
    """An encoder whose channels have other sizes and means."""

    def __init__(self, features):
        super().__init__()
        self.features = features
        generator = torch.Generator().manual_seed(2)
        self.scale = 1 + 9 * torch.rand(96, 1, 1, generator=generator)
        self.shift = 20 * torch.randn(96, 1, 1, generator=generator)

    def forward(self, images):
        return [m * self.scale + self.shift for m in self.features(images)]


def test_each_channel_has_mean_0_and_variance_1_over_batch_and_pixels():
    maps = [7 + 3 * torch.randn(8, c, 4, 4, generator=torch.Generator().manual_seed(c)) for c in (5, 2)]
    for before, after in zip(maps, Standardised([5, 2])(maps), strict=True):
        mean, var = before.mean((0, 2, 3), keepdim=True), before.var((0, 2, 3), unbiased=False, keepdim=True)
        torch.testing.assert_close(after, (before - mean) / (var + 1e-5).sqrt())


@pytest.mark.parametrize("decoder", DECODERS)
def test_published_taps_are_the_network_of_before_and_decoders_start_alike(decoder):
    published, standardised = (build(taps, decoder).state_dict() for taps in ("published", "standardised"))
    assert not any("running_mean" in key for key in published if "taps" in key or key.startswith("pyramid.0"))
    rename = {key.replace("pyramid.1.", "pyramid."): key for key in standardised}
    assert published.keys() <= rename.keys()
    assert all(torch.equal(published[key], standardised[rename[key]]) for key in published)


@pytest.mark.parametrize("decoder", DECODERS)
def test_size_and_mean_of_an_encoders_channels_no_longer_matter(decoder):
    for taps, alike in (("standardised", True), ("published", False)):
        network = build(taps, decoder).train()
        other = copy.deepcopy(network)
        other.features = Rescaled(other.features)
        with torch.no_grad():
            difference = (network(images()) - other(images())).abs().max()
        assert (float(difference) < 5e-3) is alike


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_frozen_encoders_maps_are_measured_too_and_in_use_one_image_does_not_change_another(decoder):
    network = build("standardised", decoder, "usfm-micro-scratch@frozen").train()
    taps = next(module for module in network.modules() if isinstance(module, Standardised))
    before = copy.deepcopy(taps.state_dict())
    network.loss(images(), torch.zeros(4, 1, 32, 32)).backward()
    assert not torch.equal(before["norms.0.running_mean"], taps.norms[0].running_mean)
    assert all(p.grad is None for p in network.encoder.parameters())
    network.eval()
    with torch.no_grad():
        assert torch.allclose(network(images())[:1], network(images()[:1]), atol=1e-4)


def test_records_of_before_keep_their_hash_and_the_published_recipe_its_taps():
    plain = TrainingSpec(image_size=32, epochs=1, batch_size=2, lr=1e-3, decoder="segvit")
    assert "taps" not in plain.model_dump(mode="json")
    assert TrainingSpec.model_validate(plain.model_dump(mode="json")).taps == "published"
    assert "taps" in plain.model_copy(update={"taps": "standardised"}).model_dump(mode="json")
    assert {name: load_profile(name).recipe("classification").taps for name in PROFILES} == dict.fromkeys(
        PROFILES, "published"
    )
    assert load_profile("paper").recipe("segmentation").taps == "published"
