"""Reports of a million case rows and of ten thousand trials, by the command: `make bench`."""

import json
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from invented import invent_store

KINDS = {  # task -> data set and model of the trial that is copied
    "segmentation": ("tiny-lesion", "unet-resnet18-scratch"),
    "classification": ("tiny-clinical", "timm:resnet18@scratch"),
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory, tiny_registry):
    """Copies of one invented trial under names of data sets and models, each with other scores."""

    def copy(task, datasets, models, seeds, cases):
        dataset, model = KINDS[task]
        made = invent_store(tmp_path_factory.mktemp("one"), tiny_registry, [model], [dataset], seeds=1)
        [(folder, record)] = made.finished("demo")
        content, rng = json.loads(record.model_dump_json()), np.random.default_rng(0)
        table = pd.read_parquet(folder / "cases.parquet")
        table = pd.concat([table] * (cases // len(table) + 1), ignore_index=True)[:cases]
        table["case_id"], table["group_id"] = [f"c{i:04}" for i in range(cases)], [f"g{i // 2}" for i in range(cases)]
        root = tmp_path_factory.mktemp("copied")
        for name in (f"d{i}" for i in range(datasets)):
            for model in (f"m{i}" for i in range(models)):
                for seed in range(seeds):
                    target = root / "demo" / name / model / "smoke" / "fold-0" / f"seed-{seed}"
                    target.mkdir(parents=True)
                    scored(task, table, rng).to_parquet(target / "cases.parquet", index=False)
                    content["spec"] |= {"model": model, "seed": seed}
                    content["spec"]["dataset"]["name"] = name
                    (target / "record.json").write_text(json.dumps(content))
        return root

    return copy


def scored(task, table, rng):
    """Other scores of the same cases."""
    n = len(table)
    if task == "segmentation":
        return table.assign(lesion=True, DSC=rng.uniform(size=n), HD95=rng.gamma(2, 10, n))
    drawn = rng.dirichlet([1, 1, 1], n)
    right = np.eye(3)[table["label"]] * rng.uniform(0, 1, (n, 1))
    columns = [name for name in table if name.startswith("p_")]
    return table.assign(**dict(zip(columns, ((drawn + right) / (1 + right.sum(axis=1, keepdims=True))).T, strict=True)))


@pytest.mark.parametrize(
    ("task", "datasets", "models", "seeds", "cases"),
    [
        ("segmentation", 10, 20, 5, 1000),
        ("classification", 10, 20, 5, 1000),
        ("segmentation", 20, 50, 10, 36),
    ],
    ids=["million-segmentation", "million-classification", "ten-thousand-trials"],
)
def test_a_report(benchmark, copied, tmp_path, task, datasets, models, seeds, cases):
    root, out = copied(task, datasets, models, seeds, cases), tmp_path / "report.json"
    command = [sys.executable, "-m", "usfm_bench", "report", "--suite", "demo", "--runs", root, "--format", "json"]

    def report():
        subprocess.run([*command, "--out", out], check=True, capture_output=True)

    benchmark.pedantic(report, rounds=1)
    pairs = datasets * models * (models - 1)  # of two headline metrics
    assert len(json.loads(out.read_text())["comparisons"]) == pairs
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    benchmark.extra_info["mb_of_the_largest_process"] = largest  # so far: of all reports up to here
