"""Intervals, a report of a million case rows, and a check: `make bench`."""

import json
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from invented import invent_store
from usfm_bench.specs.task import TASKS
from usfm_bench.stats import classification_interval, compare, crossed_interval

MODELS, DATASETS, SEEDS, CASES = 20, 10, 5, 1000
ALL_METRICS_S = 0.5  # of processor, for all metrics of 5 seeds and 1000 cases
by_processor = pytest.mark.benchmark(timer=time.process_time)
REPORT = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from usfm_bench.reporting import build_report
from usfm_bench.reporting.writers.csv import to_frame
from usfm_bench.results.store import Store
report = build_report(Store(Path(sys.argv[1])), "demo")
rows = len(to_frame(report))
print(json.dumps({"rows": rows, "cases": sum(len(r.cases) for r in report.results),
                  "s": time.perf_counter() - start,
                  "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


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


@pytest.fixture(scope="module")
def million(tmp_path_factory, tiny_registry):
    """Cases of 20 models x 10 data sets x 5 seeds x 1000 cases, copied from one invented trial."""
    made = invent_store(tmp_path_factory.mktemp("one"), tiny_registry, ["unet-resnet18-scratch"], seeds=1)
    [(folder, record)] = made.finished("demo")
    content, rng = json.loads(record.model_dump_json()), np.random.default_rng(0)
    cases = pd.concat([pd.read_parquet(folder / "cases.parquet")] * 42, ignore_index=True)[:CASES]
    cases["case_id"], cases["group_id"] = [f"c{i:04}" for i in range(CASES)], [f"g{i // 2}" for i in range(CASES)]
    cases["lesion"] = True
    root = tmp_path_factory.mktemp("million")
    for dataset in range(DATASETS):
        for model in range(MODELS):
            for seed in range(SEEDS):
                target = root / "demo" / f"d{dataset}" / f"m{model}" / "smoke" / "fold-0" / f"seed-{seed}"
                target.mkdir(parents=True)
                scored = cases.assign(DSC=rng.uniform(size=CASES), HD95=rng.gamma(2, 10, CASES))
                scored.to_parquet(target / "cases.parquet", index=False)
                content["spec"] |= {"model": f"m{model}", "seed": seed}
                content["spec"]["dataset"]["name"] = f"d{dataset}"
                (target / "record.json").write_text(json.dumps(content))
    return root


def test_a_report_of_a_million_case_rows(benchmark, million):
    def report():
        done = subprocess.run([sys.executable, "-c", REPORT, million], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    found = benchmark.pedantic(report, rounds=3)
    assert found["cases"] == 1_000_000
    print(f"\n{found}")
    benchmark.extra_info.update(found)


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
