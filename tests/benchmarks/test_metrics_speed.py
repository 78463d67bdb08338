"""HD95 of native-size BUSI lesions against shifted copies with a false-positive blob: this package beside medpy."""

import numpy as np
import pytest
from medpy.metric.binary import hd95 as medpy_hd95

from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.spec import load_registry
from usfm_bench.metrics import hd95, score_segmentation

N = 60


@pytest.fixture(scope="module")
def pairs(busi_root):
    rng = np.random.default_rng(0)
    samples = open_dataset(load_registry()["busi-lesion"], busi_root).samples[:N]
    found = []
    for sample in samples:
        shifted = np.roll(sample.mask, tuple(rng.integers(-12, 13, size=2)), axis=(0, 1))
        y, x = (int(rng.integers(0, side - 8)) for side in shifted.shape)
        shifted[y : y + 8, x : x + 8] = True
        found.append((shifted, sample.mask))
    return found


def test_hd95_here(benchmark, pairs):
    benchmark(lambda: [hd95(pred, target) for pred, target in pairs])


def test_hd95_of_medpy(benchmark, pairs):
    benchmark.pedantic(lambda: [medpy_hd95(pred, target) for pred, target in pairs], rounds=3)


def test_all_segmentation_metrics_here(benchmark, pairs):
    preds, targets = zip(*pairs, strict=True)
    benchmark(lambda: score_segmentation(preds, targets))
