"""Intervals, comparisons, and a check: `make bench`."""

import subprocess
import sys
import time

import numpy as np
import pytest

from invented import invent_store
from usfm_bench.specs.task import TASKS
from usfm_bench.stats import classification_interval, compare, crossed_interval

CASES = 1000
ALL_METRICS_S = 0.5  # of processor, for all metrics of 5 seeds and 1000 cases
by_processor = pytest.mark.benchmark(timer=time.process_time)


@pytest.fixture(scope="module")
def groups():
    return np.arange(CASES) // 2


@by_processor
def test_intervals_of_fifteen_means(benchmark, groups):
    scores = np.random.default_rng(0).uniform(size=(15, 5, CASES))
    benchmark(lambda: [crossed_interval(x, groups=groups, bounds=(0.0, 1.0)) for x in scores])
    assert benchmark.stats["min"] < ALL_METRICS_S


@by_processor
def test_intervals_of_all_classification_metrics(benchmark, groups):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, CASES)
    odds = np.exp(rng.normal(size=(5, CASES, 3)) + np.eye(3)[labels])
    probabilities = odds / odds.sum(axis=2, keepdims=True)
    definitions = TASKS["classification"].primary()
    benchmark(lambda: [classification_interval(d, probabilities, labels, groups=groups) for d in definitions])
    assert benchmark.stats["min"] < ALL_METRICS_S


@by_processor
def test_comparisons_of_fifteen_metrics(benchmark, groups):
    a, b = np.random.default_rng(0).uniform(size=(2, 15, 5, CASES))
    benchmark(lambda: [compare(*pair, groups=groups) for pair in zip(a, b, strict=True)])
    assert benchmark.stats["min"] < ALL_METRICS_S


def test_a_check(benchmark, tmp_path, tiny_registry):
    """The whole command, imports included, on a baseline of two models and three seeds."""
    root = invent_store(tmp_path, tiny_registry, ["unet-resnet18-scratch", "usfm-micro-scratch"], seeds=3).root
    bench = [sys.executable, "-m", "usfm_bench"]
    file = tmp_path / "baseline.json"
    subprocess.run([*bench, "baseline", "--suite", "demo", "--runs", root, "--out", file], check=True)
    benchmark.pedantic(
        lambda: subprocess.run(
            [*bench, "check", "--baseline", file, "--runs", root], check=True, stdout=subprocess.DEVNULL
        ),
        rounds=5,
    )
