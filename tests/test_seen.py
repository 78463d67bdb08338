"""What models saw in training: what the registry states, and its closure."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from invented import invent_store
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.reporting import build_report, render
from usfm_bench.reporting.registry import with_seen
from usfm_bench.reporting.subgroups import with_subgroups
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import find_dataset, load_registry
from usfm_bench.specs.model import MODELS, ModelEntry
from usfm_bench.specs.seen import collections, seen_by

PROJECT = Path(__file__).parents[1]
REGISTRY = load_registry(PROJECT / "datasets.yaml")


def model(**fields):
    return ModelEntry("m", "mae", "", "M", weights="file", seen_in_pretraining=None, **fields)


def verdict(entry, dataset, registry=REGISTRY):
    return seen_by(entry, find_dataset(dataset, registry), registry).verdict


@pytest.mark.parametrize("dataset", ["busi", "busi-lesion", "busi-binary", "like-medmnist", "busi@10%"])
def test_who_saw_a_collection_saw_its_data_sets_under_all_their_names(dataset):
    entry = model(saw={"bus-cot": True}, saw_source="its paper")
    assert verdict(entry, dataset) is True
    assert "trained on bus-cot, which holds" in seen_by(entry, find_dataset(dataset, REGISTRY)).why
    assert "(its paper)" in seen_by(entry, find_dataset(dataset, REGISTRY)).why
    assert verdict(entry, "bus-bra") is True
    assert verdict(entry, "udiat") is None


def test_a_data_set_that_holds_a_seen_one_is_seen_in_part_and_one_that_holds_an_unseen_one_is_not_cleared():
    whole = REGISTRY["udiat"].model_copy(update={"name": "both", "path": "both", "contains": ("busi", "udiat")})
    registry = {**REGISTRY, "both": whole}
    assert verdict(model(saw={"busi": True}), "both", registry) is True
    assert verdict(model(saw={"both": True}), "busi-lesion", registry) is True
    assert verdict(model(saw={"busi": False}), "both", registry) is None
    assert verdict(model(saw={"both": False}), "busi-lesion", registry) is False


def test_a_model_that_was_adapted_from_another_saw_what_that_saw(monkeypatch):
    parent = replace(model(saw={"busi": True}), name="parent")
    unknown = replace(model(), name="unknown", adapted_from="clean")
    clean = replace(model(), name="clean", seen_in_pretraining=False, adapted_from="unknown")  # a circle
    monkeypatch.setattr("usfm_bench.specs.seen.MODELS", {"parent": parent, "unknown": unknown, "clean": clean})
    child = replace(model(adapted_from="parent"), seen_in_pretraining=False)
    assert verdict(child, "busi") is True
    assert "adapted from parent" in seen_by(child, REGISTRY["busi"]).why
    assert verdict(child, "udiat") is None  # of the parent nothing is known there
    assert verdict(clean, "udiat") is None
    assert verdict(replace(child, adapted_from="nobody"), "udiat") is False


def test_random_weights_saw_nothing_and_unknown_stays_unknown():
    assert verdict(replace(model(saw={"busi": True}), weights="scratch"), "busi") is False
    assert verdict(model(), "phantom") is None
    assert verdict(model(saw={"phantom": True}), "phantom") is True
    assert verdict(model(), "busi") is None
    assert verdict(replace(model(saw={"hc18": None}), seen_in_pretraining=False), "hc18") is None


def test_the_shipped_registry_names_data_sets_and_models_that_there_are():
    known = {*REGISTRY, *collections()}
    for entry in MODELS.values():
        assert set(entry.saw) <= known, entry.name
        assert entry.adapted_from in {"", *MODELS}, entry.name
    assert {name for parts in collections().values() for name in parts} <= set(REGISTRY)
    assert verdict(MODELS["ultrasam"], "busi") is True
    assert verdict(MODELS["usfmae"], "mmotu") is False
    assert verdict(MODELS["fetalclip"], "hc18") is None  # foetal images: of other organs it is known
    assert verdict(MODELS["fetalclip"], "busi") is False


def test_the_command_prints_the_matrix_and_its_reasons():
    shown = CliRunner().invoke(app, ["models", "seen", "ultra*", "--datasets", "busi,bus-bra"])
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["model", "busi", "bus-bra"],
        ["ultrafedfm", "unknown", "unknown"],
        ["ultrasam", "yes", "unknown"],
    ]
    found = json.loads(CliRunner().invoke(app, ["models", "seen", "ultrasam", "--format", "json"]).stdout)
    assert found["ultrasam"]["busi"]["seen"] is True
    assert "us-43d" in found["ultrasam"]["busi"]["why"]
    with pytest.raises(BenchError, match="Did you mean 'busi'"):
        CliRunner().invoke(app, ["models", "seen", "--datasets", "bsui"], catch_exceptions=False)


def test_the_docs_have_the_matrix():
    text = (PROJECT / "docs" / "seen.md").read_text(encoding="utf-8")
    assert with_seen(text, REGISTRY) == text


def test_every_table_marks_a_model_that_saw_test_images(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, ["usfm-micro-scratch", "unet-resnet18-scratch"])
    report = build_report(store, "demo")
    marked = replace(
        report,
        rows=tuple(replace(row, seen_in_pretraining=row.model.startswith("unet")) for row in report.rows),
    )
    assert "(SEEN)" not in render([report], "markdown", ["all"])
    for form in ("markdown", "latex"):
        text = render([marked], form, ["tables", "metrics"])
        lines = [line for line in text.splitlines() if "unet-resnet18-scratch" in line and "[" in line]
        assert lines
        assert all("(SEEN)" in line for line in lines)
        assert not any("(SEEN)" in line for line in text.splitlines() if "usfm-micro-scratch" in line)


def test_scores_of_seen_and_unseen_cases_stand_beside_each_other(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, ["usfm-micro-scratch"])
    for folder, _ in store.finished("demo", None):
        table = pd.read_parquet(folder / "cases.parquet")
        table.assign(seen=np.arange(len(table)) % 2 == 0).to_parquet(folder / "cases.parquet", index=False)
    report = with_subgroups(build_report(store, "demo"), ["seen"], REGISTRY, tmp_path)
    [dsc] = [{r.value: r for r in report.subgroups.rows if r.metric == "DSC"}]
    assert set(dsc) == {"seen", "not seen"}
    [full] = [r for r in report.rows if r.metric == "DSC" and r.source == "measured"]
    n = {value: row.n_cases for value, row in dsc.items()}
    assert full.mean == pytest.approx(sum(n[v] * row.mean for v, row in dsc.items()) / sum(n.values()))
    assert "seen" in render([report], "markdown", ["subgroups"])


def test_a_trial_of_weights_with_a_card_says_which_cases_they_saw(tmp_path, tiny_registry):
    weights, registry = tmp_path / "m.pth", ["--registry", str(tiny_registry)]
    small = ["image_size=64", "all_images=true", *(f"masking.{k}" for k in ("patch_size=16", "base_bandwidth=2"))]
    what = ["--model", "usfm_micro_patch16_224", "--datasets", "tiny-lesion", "--steps", "1", "--out", str(weights)]
    changes = [part for setting in [*small, "masking.protected=1"] for part in ("--set", setting)]
    made = CliRunner().invoke(app, ["pretrain", *what, *changes, *registry])
    assert made.exit_code == 0, made.output
    what = ["--models", f"usfm:{weights}", "--datasets", "tiny-lesion", "--seeds", "1", "--no-keep-weights"]
    ran = CliRunner().invoke(app, ["run", "--suite", "demo", *what, *registry, "--runs", str(tmp_path / "runs")])
    assert ran.exit_code == 0, ran.output
    [(folder, record)] = Store(tmp_path / "runs").finished("demo", None)
    assert record.seen_in_pretraining is True
    assert pd.read_parquet(folder / "cases.parquet")["seen"].all()
