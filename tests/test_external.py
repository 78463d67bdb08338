"""Models on other data sets, in reports: the drop is of the same networks, and of the classes that both have."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from invented import invent_evaluations, invent_store
from usfm_bench.core.errors import BenchError
from usfm_bench.execution.evaluation_jobs import plan_conditions, plan_suite_jobs
from usfm_bench.reporting import build_report, render
from usfm_bench.results.evaluation import evaluation_folder, read_evaluation
from usfm_bench.specs.dataset import load_registry
from usfm_bench.stats.unpaired import unpaired
from usfm_bench.suites.plan import load_suite


def other(task: str, classes: tuple[str, ...] = ("normal", "benign", "malignant"), **fields):
    base = load_registry()["phantom" if task == "classification" else "phantom-lesion"]
    options = {"n": 30, "size": 64, "seed": 5}
    relabel = {"name": f"other-{task}", "tasks": (task,), "options": options}
    return base.model_copy(update=relabel | fields)


@pytest.fixture(scope="module")
def store(tmp_path_factory, tiny_registry):
    folder = tmp_path_factory.mktemp("external")
    store = invent_store(folder, tiny_registry, datasets=("tiny-lesion", "tiny"), seeds=3)
    for task in ("segmentation", "classification"):
        invent_evaluations(store, other(task), folder, known_left_out=2, left_out={"cyst": 3})
    return store


@pytest.fixture(scope="module")
def report(store):
    return build_report(store, "demo")


def read(store, name, model):
    """(trial's cases, the same of the evaluation) by seed."""
    found = {}
    for folder, record in store.finished("demo"):
        if (record.spec.dataset.name, record.spec.model) == (name, model):
            target = evaluation_folder(folder, f"other-{record.spec.task}")
            found[record.spec.seed] = [pd.read_parquet(place / "cases.parquet") for place in (folder, target)]
    return [found[seed] for seed in sorted(found)]


def test_the_drop_of_a_mean_is_that_of_the_cases(store, report):
    [drop] = [d for d in report.drops if d.metric == "DSC" and d.model == "unet-resnet18-scratch"]
    pairs = read(store, "tiny-lesion", drop.model)
    a, b = (np.array([p[i].sort_values("case_id")["DSC"][lambda s: s.notna()] for p in pairs]) for i in range(2))
    lesion = [p.sort_values("case_id")["lesion"].to_numpy() > 0 for p in pairs[0]]
    a, b = a[:, lesion[0]], b[:, lesion[1]]
    groups = [p.sort_values("case_id")["group_id"].to_numpy()[own] for p, own in zip(pairs[0], lesion, strict=True)]
    found = unpaired(a, b, groups_a=groups[0], groups_b=groups[1])
    assert drop.drop == pytest.approx(found.interval())
    assert (drop.internal.point, drop.external.point) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
    assert (drop.n_seeds, drop.known_left_out, drop.left_out, drop.seen) == (3, 2, 3, False)


def test_a_distance_falls_in_millimetres_too_where_both_have_a_spacing(store, report):
    drops = {
        d.unit: d for d in report.drops if d.definition.startswith("hd95.pooled") and d.model == report.drops[0].model
    }
    assert drops.keys() == {"px", "mm"}
    column = next(c for c, ident in store_definitions(store).items() if ident == drops["mm"].definition)
    means = []
    for own, there in read(store, "tiny-lesion", drops["mm"].model):
        means.append([part.loc[part["lesion"], column].mean() for part in (own, there)])
    internal, external = np.mean(means, axis=0)
    assert drops["mm"].internal.point == pytest.approx(internal)
    assert drops["mm"].external.point == pytest.approx(external)


def store_definitions(store):
    return next(record.definitions for _, record in store.finished("demo") if record.spec.task == "segmentation")


def test_an_absent_class_is_left_out_of_the_internal_score_too(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, datasets=("tiny",), seeds=2)
    invent_evaluations(store, other("classification", classes=("benign", "malignant")), tmp_path)
    for folder, _ in store.finished("demo"):  # take one class out of the target
        place = evaluation_folder(folder, "other-classification") / "cases.parquet"
        cases = pd.read_parquet(place)
        cases[cases["class"] != "normal"].to_parquet(place, index=False)
    report = build_report(store, "demo")
    [drop] = [d for d in report.drops if d.metric == "F1" and d.model == "unet-resnet18-scratch"] or [
        next(d for d in report.drops if d.metric == "F1")
    ]
    assert drop.absent == ("normal",)
    scores = []
    for own, _ in read(store, "tiny", drop.model):
        rows = own[own["class"] != "normal"]
        scores.append(f1_score(rows["label"], rows["predicted"], labels=[1, 2], average="macro"))
    assert drop.internal.point == pytest.approx(np.mean(scores))
    assert "no case of class normal there" in render([report], "markdown", ["external"])


def test_the_sections_say_it_and_json_has_it(report):
    text = render([report], "markdown", ["external"])
    for words in (
        "External validation",
        "other-classification",
        "Whether the order of models stays",
        "2 cases left out",
    ):
        assert words in text
    data = json.loads(render([report], "json", []))
    assert {row["target"] for row in data["external"]} == {"other-classification", "other-segmentation"}
    taus = [row["tau"]["point"] for row in data["external_order"]]
    assert len(taus) == 4
    assert all(tau is None or -1 <= tau <= 1 for tau in taus)  # None: two models with the same score


def test_an_evaluation_by_other_weights_is_not_shown_and_a_damaged_one_is_named(tmp_path, tiny_registry):
    store = invent_store(tmp_path, tiny_registry, datasets=("tiny",), seeds=1)
    invent_evaluations(store, other("classification"), tmp_path)
    first, *rest = [folder for folder, _ in store.finished("demo")]
    place = evaluation_folder(first, "other-classification") / "record.json"
    evaluation = read_evaluation(place.parent)
    assert evaluation is not None
    place.write_text(evaluation.model_copy(update={"weights": "of another training"}).model_dump_json())
    assert len({d.model for d in build_report(store, "demo").drops}) == len(rest)
    place.write_text("{")
    report = build_report(store, "demo")
    assert len({d.model for d in report.drops}) == len(rest)
    assert any(note.startswith("Evaluations left out: ") for note in report.notes)


def test_without_evaluations_the_section_says_how_to_make_them(make_store):
    report = build_report(make_store(), "demo")
    assert report.drops == ()
    assert "usfm-bench evaluate --suite NAME --on DATASET" in render([report], "markdown", ["external"])


def test_a_suite_says_what_its_trials_are_asked(make_store, tiny_registry, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        """
title: Mine
default_profile: smoke
seeds: 1
split: {kind: holdout, seed: 0}
parts:
  - task: classification
    datasets: [tiny]
    models: {smoke: [usfm-micro-scratch]}
    evaluate: {datasets: [tiny, phantom]}
  - task: segmentation
    datasets: [tiny-lesion]
    models: {smoke: [usfm-micro-scratch]}
    evaluate: {conditions: [gain], severities: [1, 3]}
"""
    )
    trials = list(make_store(datasets=("tiny-lesion", "tiny"), seeds=1).finished("demo"))
    jobs = plan_suite_jobs(trials, load_suite(str(mine)), ["usfm-micro-scratch"], load_registry(tiny_registry))
    assert sorted(job.name for job in jobs) == ["phantom", "tiny-lesion@test.gain-1", "tiny-lesion@test.gain-3"]
    mine.write_text(mine.read_text().replace("severities: [1, 3]", "severities: [6]"))
    with pytest.raises(BenchError, match="severities"):
        load_suite(str(mine))


@pytest.mark.parametrize("name", ["transfer", "transfer-cls", "robustness"])
def test_the_shipped_suites_name_data_sets_and_corruptions_that_there_are(name):
    suite, registry = load_suite(name), load_registry()
    for part in suite.parts:
        assert part.evaluate is not None
        assert not [d for d in (*part.datasets, *part.evaluate.datasets) if part.task not in registry[d].tasks]
        assert part.evaluate.datasets or plan_conditions(part.evaluate.conditions, [])
