"""Networks that were trained on good images, asked about enhanced ones: `evaluate --by`."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.results.predictions import load_predictions

OPTIONS = "{seed: 11, n: 40, size: 48, prevalence: [0.2, 0.4, 0.4]"
REGISTRY = f"""
pairs: {{extends: phantom-enhance, options: {OPTIONS}, low_probe: cheap}}}}
good: {{extends: phantom-good, options: {OPTIONS}}}}}
other: {{extends: phantom-good, options: {OPTIONS}}}}}
"""
JUDGES = """
title: Judges
default_profile: smoke
seeds: 2
split: {kind: holdout, seed: SPLIT}
parts:
  - {task: segmentation, datasets: [good], models: {smoke: [usfm-micro-scratch], quick: [], paper: []}}
  - {task: classification, datasets: [good], models: {smoke: ["timm:test_resnet@scratch"], quick: [], paper: []}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judges")
    (folder / "datasets.yaml").write_text(REGISTRY)
    for name, split in (("judges", 0), ("elsewhere", 1)):
        (folder / f"{name}.yaml").write_text(JUDGES.replace("SPLIT", str(split)))
    (folder / "short.yaml").write_text(
        "extends: smoke\nsegmentation: {image_size: 32, epochs: 2}\nclassification: {image_size: 32, epochs: 2}\n"
    )
    done = call(folder, "run", "enhance-phantom", "--datasets", "pairs", "--models", "identity,median")
    assert done.exit_code == 0, done.output
    for name in ("judges", "elsewhere"):
        done = call(folder, "run", folder / f"{name}.yaml", "--profile", folder / "short.yaml")
        assert done.exit_code == 0, done.output
    return folder


def call(folder, command, suite, *words):
    where = ["--suite", suite, "--runs", folder / "runs", "--registry", folder / "datasets.yaml", "--device", "cpu"]
    where += ["--seeds", 2] if command == "run" else []
    return CliRunner().invoke(app, [command, *map(str, [*where, *words])])


def judged(folder):
    done = call(folder, "evaluate", "enhance-phantom", "--by", folder / "judges.yaml", "--format", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["rows"]


def test_judges_see_the_input_each_models_images_and_the_target(place):
    rows = judged(place)
    assert list(dict.fromkeys(row["images"] for row in rows)) == [
        "low-quality input",
        "identity",
        "median",
        "good images",
    ]
    assert {row["metric"] for row in rows} == {"DSC", "HD95", "ACC", "F1"}
    by = {(row["images"], row["metric"]): row for row in rows}
    for metric in ("DSC", "HD95", "ACC"):  # F1 is undefined without one of the few cases of a class
        low, same, good = (by[shown, metric] for shown in ("low-quality input", "identity", "good images"))
        assert same["mean"] == low["mean"]
        assert (same["difference"], same["p_value"]) == (0, None)
        assert low["difference"] is None
        assert good["difference"] == pytest.approx(good["mean"] - low["mean"], abs=1e-9)
        assert good["n_seeds"] == 2
    # On the good images it is the score that the judge's own trial has.
    own = [
        pd.read_parquet(path) for path in (place / "runs").glob("judges/good/usfm-micro-scratch/*/*/*/cases.parquet")
    ]
    scores = [frame.loc[frame["target_px"] > 0, "DSC"].mean() for frame in own]
    assert by["good images", "DSC"]["mean"] == pytest.approx(np.mean(scores))


def test_it_goes_on_where_it_stopped_and_never_overwrites_other_images(place):
    before = {path: path.stat().st_mtime_ns for path in (place / "runs" / "judges").rglob("evaluations/*/record.json")}
    assert len(before) == 2 * 2 * 4  # two judges of two seeds
    judged(place)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    [file] = (place / "runs" / "enhance-phantom").glob("pairs/median/*/*/seed-0/predictions.npz")
    kept = file.read_bytes()
    arrays = dict(np.load(file))
    np.savez(file, **(arrays | {"output": np.zeros_like(arrays["output"])}))
    assert all(not image.any() for image in load_predictions(file).outputs)
    done = call(place, "evaluate", "enhance-phantom", "--by", place / "judges.yaml")
    assert isinstance(done.exception, BenchError)
    assert "--fresh sets it aside" in str(done.exception)
    file.write_bytes(kept)


@pytest.mark.parametrize(
    ("suite", "words", "message"),
    [
        ("enhance-phantom", ["--by", "elsewhere"], "cases that were enhanced"),
        ("enhance-phantom", ["--by", "enhance-phantom"], "enhances images itself; judges are of another task"),
        ("enhance-phantom", ["--by", "judges", "--on", "good"], "--by asks about enhanced images alone"),
        ("enhance-phantom", ["--by", "judges", "--models", "medan"], "Did you mean 'median'?"),
        ("judges", ["--by", "judges"], "its predictions are no images"),
    ],
)
def test_what_cannot_be_judged_is_refused(place, suite, words, message):
    named = {"elsewhere": place / "elsewhere.yaml", "judges": place / "judges.yaml"}
    done = call(place, "evaluate", named.get(suite, suite), *(named.get(word, word) for word in words))
    assert isinstance(done.exception, BenchError)
    assert message in str(done.exception)
