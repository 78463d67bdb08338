"""Features of a data set for a probe, beside a bare loop over the same encoder, and once more when they are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.models import build_model
from usfm_bench.models.known_features import KnownFeatures
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training.probe import probe_features

IMAGES, SIZE, BATCH = 128, 224, 32
RECIPE = TrainingSpec(image_size=SIZE, epochs=1, batch_size=BATCH, lr=1e-3)
CPU = SimpleNamespace(device=torch.device("cpu"))


@pytest.fixture(scope="module")
def probe():
    classes = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
    return build_model("timm:deit_tiny_patch16_224@scratch@linear", TASKS["classification"], classes, RECIPE).eval()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 1, SIZE, SIZE), dtype=np.uint8)
    return NetworkData(torch.from_numpy(images), torch.from_numpy(np.arange(IMAGES) % 2), TASKS["classification"])


def ours(probe, data, known):
    with torch.inference_mode():
        return probe_features(probe, data, known, RECIPE, CPU, Normalise(probe.mean, probe.std))


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    monkeypatch.setenv("USFM_BENCH_CACHE", "none")


@torch.inference_mode()
def bare(probe, data):
    """What a user writes: normalise, the encoder, pool, on three channels."""
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (probe.mean, probe.std))
    rows = []
    for images in data.images.split(BATCH):
        tokens = probe.features.forward_features((images.float() / 255 - mean) / std)
        rows.append(
            torch.cat([probe.features.forward_head(tokens, pre_logits=True), tokens[:, 0], tokens[:, 1:].mean(1)], 1)
        )
    return torch.cat(rows)


def test_a_bare_loop(benchmark, probe, data):
    benchmark.pedantic(lambda: bare(probe, data), rounds=5, warmup_rounds=1)


def test_features_for_a_probe(benchmark, probe, data):
    torch.testing.assert_close(ours(probe, data, KnownFeatures("x")), bare(probe, data))
    benchmark.pedantic(lambda: ours(probe, data, KnownFeatures("x")), rounds=5, warmup_rounds=1)


def test_features_that_are_known(benchmark, probe, data):
    known = KnownFeatures("x")
    ours(probe, data, known)
    benchmark.pedantic(lambda: ours(probe, data, known), rounds=5)
