"""A training step stays within tests/gpu_budgets.py: counted without a GPU, on a CUDA device that computes nothing."""

import json
from pathlib import Path

import pytest

from gpu_budgets import BUDGETS, FP32_PRODUCTS, SYNCHRONISATIONS

pytestmark = pytest.mark.slow
STEP = str(Path(__file__).with_name("nullcuda_budget.py"))


@pytest.fixture
def step(null_device):
    """Counts of a step by kind, and the allocator's peak in MiB."""

    def call(name, **changes):
        done = null_device("-W", "ignore", STEP, name, json.dumps(changes))
        assert done.returncode == 0, done.stderr[-2000:]
        found = json.loads(done.stdout.splitlines()[-1])
        return found["counts"], found["peak_mb"]

    return call


def total(counts, *starts):
    return sum(count for kind, count in counts.items() if kind.startswith(starts))


@pytest.mark.parametrize("name", BUDGETS)
def test_a_step_stays_within_its_budget(step, name):
    counts, peak = step(name)
    budget = BUDGETS[name]
    assert total(counts, "gemm fp32") <= FP32_PRODUCTS
    assert total(counts, "sync") <= SYNCHRONISATIONS
    assert total(counts, "H2D") <= budget.copies
    assert total(counts, "H2D pageable") == 0
    assert 0 < total(counts, "kernel", "gemm", "conv") <= budget.launches
    assert 0 < peak <= budget.peak_mb


@pytest.mark.parametrize("name", BUDGETS)
def test_every_network_trains_with_deterministic_algorithms(step, name):
    # torch raises where an operation has none.
    step(name, deterministic=True, batch_size=2, image_size=64)


def test_torchs_own_pooling_is_what_deterministic_training_cannot_have(step, null_device):
    changes = {"deterministic": True, "batch_size": 2, "image_size": 64}
    done = null_device("-W", "ignore", STEP, "UPerNet, ViT-B 512", json.dumps(changes), "own-pooling")
    assert "adaptive_avg_pool2d" in done.stderr
