"""Kept weights, and `usfm-bench evaluate`: what is read back is what was trained, and nothing seen passes for new."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch

import usfm_bench.models  # noqa: F401 - registers architectures
from usfm_bench.cli import app as cli
from usfm_bench.core.errors import WeightsError
from usfm_bench.data.dataset import open_dataset
from usfm_bench.execution import evaluation_cases
from usfm_bench.execution.evaluation_jobs import Job, plan_jobs
from usfm_bench.models.build import build_model
from usfm_bench.models.kept import keep_weights, own_state, restore_network, stand_in
from usfm_bench.models.size import weight_bytes
from usfm_bench.reporting import build_report
from usfm_bench.results.predictions import load_predictions
from usfm_bench.results.rescore import find_trials
from usfm_bench.results.store import Store, read_record
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.suites.plan import load_suite, plan_suite

MODEL = "timm:test_resnet@scratch"
RECIPE = TrainingSpec(image_size=32, epochs=1, batch_size=4, lr=1e-3, decoder="upernet")


@pytest.fixture
def runs(trained_runs, tmp_path) -> Path:
    """The trained trials, to be changed."""
    return Path(shutil.copytree(trained_runs, tmp_path / "runs"))


@pytest.fixture
def folders(runs) -> dict[str, Path]:
    """Data set -> folder of its trial."""
    return {record.spec.dataset.name: folder for folder, record in find_trials(runs)}


@pytest.fixture
def evaluate(runs, tmp_path, tiny_registry, monkeypatch, capsys):
    """Runs the command; gives (exit code, stdout, stderr). `more`: further registry entries."""

    def call(*arguments: str, more: str = "", data_root: Path = tmp_path) -> tuple[int, str, str]:
        registry = tmp_path / "registry.yaml"
        registry.write_text(tiny_registry.read_text() + more)
        line = ["evaluate", "--suite", "demo", "--runs", str(runs), "--registry", str(registry), "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["usfm-bench", *line, "--data-root", str(data_root), *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


OTHER = "other: {extends: phantom, tasks: [classification], options: {n: 24, size: 64, seed: 5}}\n"
OTHER_LESION = "other-lesion: {extends: phantom-lesion, tasks: [segmentation], options: {n: 24, size: 64, seed: 5}}\n"


def write_images(
    folder: Path, registry: Path, ending: str, labels: dict[str, str] | None = None, names: list[str] | None = None
) -> str:
    """The images of `tiny`, or some of them, as files, one folder a class; gives the entry of a data set `files`."""
    dataset = open_dataset(load_registry(registry)["tiny"], folder)
    for sample in dataset.samples:
        if names is not None and sample.case.case_id not in names:
            continue
        label = (labels or {}).get(str(sample.case.label), str(sample.case.label))
        path = folder / "files" / label / f"{sample.case.case_id}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), sample.image)
    return "files: {version: 1, title: x, tasks: [classification], organ: x, layout: imagefolder, path: files}\n"


# ---- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "task"),
    [
        ("usfm-micro-scratch", "segmentation"),  # whose backbone is held twice, by the network and by its features
        ("usfm-micro-scratch", "classification"),
        ("unet-resnet18-scratch", "segmentation"),
        (MODEL, "segmentation"),
        (MODEL, "classification"),
        ("usfm:FILE", "segmentation"),
        ("usfm:FILE", "classification"),
        ("usfm:FILE@frozen", "segmentation"),
        ("usfm:FILE@lora", "segmentation"),
        ("usfm:FILE@lora", "classification"),
    ],
)
@pytest.mark.parametrize("reading", [None, "own-norm", "renamed"])
def test_a_kept_network_says_the_same_when_its_first_weights_are_gone(model, task, reading, tmp_path, one_thread):
    if reading and "FILE" not in model:
        pytest.skip("only a weight file can be read in several ways")
    first = tmp_path / "first.pth"
    encoder = timm.create_model("usfm_micro_patch16_224", img_size=32, num_classes=0)
    state = {key.replace("fc_norm", "norm") if reading else key: value for key, value in encoder.state_dict().items()}
    torch.save(state, first)
    recipe = RECIPE.model_copy(update={"reading": reading, "decoder": "upernet" if task == "segmentation" else None})
    dataset = load_registry()["phantom"]
    name = model.replace("FILE", str(first))
    network = build_model(name, TASKS[task], stand_in(dataset, dataset.classes), recipe).eval()
    network.mean, network.std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    keep_weights(tmp_path / "kept.safetensors", network, tmp_path / "shared")
    first.unlink()
    again = restore_network(
        tmp_path / "kept.safetensors", name, TASKS[task], recipe, dataset, tuple(dataset.classes)
    ).eval()
    assert list(again.mean), list(again.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    assert own_state(again).keys() == own_state(network).keys()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(again(images), network.to(memory_format=torch.channels_last)(images), rtol=0, atol=0)


def test_the_size_that_a_dry_run_says_is_about_the_size_on_disk(trained_runs, tiny_registry):
    for folder, record in find_trials(trained_runs):
        size = (folder / "weights.safetensors").stat().st_size
        assert record.weights is not None
        assert record.weights.size == size
        [said] = weight_bytes([record.spec])
        assert said is not None
        assert (said.own, said.frozen) == (4 * record.cost.parameters, 0)
        assert abs(said.own - size) < 0.05 * size


def test_a_dry_run_says_the_disk_that_kept_weights_take(monkeypatch, capsys, tmp_path, tiny_registry):
    common = ["--suite", "demo", "--registry", tiny_registry, "--datasets", "tiny-lesion", "--runs", tmp_path / "none"]
    line = ["run", *common, "--models", "unet-resnet18-scratch,usfm:none.pth", "--seeds", "2", "--dry-run"]

    def said(*more: str) -> str:
        monkeypatch.setattr(sys, "argv", ["usfm-bench", *map(str, line), *more])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr().err

    [spec] = plan_suite(
        load_suite("demo"),
        load_registry(tiny_registry),
        datasets=["tiny-lesion"],
        models=["unet-resnet18-scratch"],
        seeds=[0],
    )
    [one] = weight_bytes([spec])
    assert one is not None
    assert (
        f"Kept weights will take about {2 * one.own / 1e6:.0f} MB, without those of usfm:none.pth, whose size" in said()
    )
    assert "Kept weights" not in said("--no-keep-weights")


def test_weights_change_neither_the_hash_nor_the_identity(trained_runs):
    for _, record in find_trials(trained_runs):
        assert '"weights"' not in json.dumps(record.spec.identity)
        assert record.spec.hash == record.spec_hash


def test_a_record_of_an_earlier_version_opens_and_says_that_nothing_was_kept(folders, evaluate):
    path = folders["tiny"] / "record.json"
    content = json.loads(path.read_text())
    del content["weights"]
    path.write_text(json.dumps(content))
    assert read_record(path).weights is None
    code, out, err = evaluate()
    assert code == 1
    assert "tiny-lesion@test" in out
    assert "its trained weights were not kept (--no-keep-weights, or an earlier version)" in err
    assert "--fresh" in err


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def pickled(path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, path)


def without_facts(path: Path) -> None:
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))


def strange_facts(path: Path) -> None:
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}, {"usfm_bench": "[1]"}))


def other_shape(path: Path) -> None:
    state = safetensors.torch.load_file(path)
    name = next(name for name, value in state.items() if value.ndim == 4)
    rewrite(path, {**state, name: torch.zeros(1, 2, 3, 4)})


def one_less(path: Path) -> None:
    state = safetensors.torch.load_file(path)
    rewrite(path, dict(list(state.items())[1:]))


def other_numbers(path: Path) -> None:
    state = safetensors.torch.load_file(path)
    rewrite(path, {name: value * 0 for name, value in state.items()})


def rewrite(path: Path, state: dict[str, torch.Tensor]) -> None:
    with safetensors.safe_open(path, "pt") as file:
        facts = file.metadata()
    path.write_bytes(safetensors.torch.save(state, facts))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (damage, "damaged, or not a file of kept weights"),
        (empty, "damaged, or not a file of kept weights"),
        (pickled, "damaged, or not a file of kept weights"),
        (without_facts, "damaged, or not a file of kept weights"),
        (strange_facts, "damaged, or not a file of kept weights"),
        (other_shape, "1 of another shape: "),
        (one_less, "holds the weights of another network. 1 missing: "),
        (other_numbers, "these are other weights than those that were scored"),
        (Path.unlink, "is not there"),
    ],
)
def test_weights_that_are_not_those_of_the_trial_are_said(folders, evaluate, spoil, message):
    spoil(folders["tiny"] / "weights.safetensors")
    code, out, err = evaluate()
    assert code == 1
    assert "tiny-lesion@test" in out
    assert f"{folders['tiny'] / 'weights.safetensors'}" in err
    assert message in err
    assert "Traceback" not in err


# ---- evaluate --------------------------------------------------------------------------------------------------------


def test_own_test_cases_score_as_they_did(folders, evaluate):
    code, out, err = evaluate()
    assert (code, "2 evaluated, 0 kept from before." in err) == (0, True)
    assert "tiny@test (synthetic)" in out
    for name, folder in folders.items():
        again = folder / "evaluations" / f"{name}%40test"
        assert {path.name for path in again.iterdir()} == {"record.json", "cases.parquet", "predictions.npz"}
        assert (again / "cases.parquet").read_bytes() == (folder / "cases.parquet").read_bytes()
    before = (again / "record.json").read_bytes()
    code, _, err = evaluate()
    assert (code, "0 evaluated, 2 kept from before." in err) == (0, True)
    assert (again / "record.json").read_bytes() == before


def test_other_cases_are_all_scored_and_the_record_says_of_what(folders, evaluate):
    code, out, err = evaluate("--on", "other,other-lesion", more=OTHER + OTHER_LESION)
    assert code == 0, err
    folder = folders["tiny"] / "evaluations" / "other"
    record, trial = json.loads((folder / "record.json").read_text()), read_record(folders["tiny"] / "record.json")
    cases = pd.read_parquet(folder / "cases.parquet")
    assert (len(cases), record["n_test"]) == (24, 24)
    assert record["spec_hash"] == trial.spec_hash
    assert record["weights"] == trial.weights.sha256
    assert record["seen"] | {"near_duplicates": 0} == {
        **{"n": 24, "same_dataset": False, "pixels": 0, "groups": 0, "near_duplicates": 0}
    }
    masks = pd.read_parquet(folders["tiny-lesion"] / "evaluations" / "other-lesion" / "cases.parquet")
    assert masks["DSC"].notna().all()
    assert not (folders["tiny"] / "evaluations" / "other-lesion").exists()
    assert f"{100 * cases['ACC'].mean():.1f}" in out
    assert "SEEN" not in out + err


def test_a_data_set_of_both_tasks_is_scored_by_the_trials_of_both(evaluate):
    both = "both: {extends: phantom, options: {n: 24, size: 64, seed: 5}}\n"
    code, out, err = evaluate("--on", "both", "--format", "json", more=both)
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert {row["dataset"] for row in rows} == {"both"}
    assert {row["model"] for row in rows} == {f"{MODEL} (trained on {name})" for name in ("tiny", "tiny-lesion")}


def test_classes_are_mapped_by_name_and_the_others_left_out(folders, evaluate, tmp_path, tiny_registry):
    # Folders come in another order than the model's classes, one class is new, and one is lacking.
    entry = write_images(tmp_path, tiny_registry, ".png", {"normal": "zebra"})
    for path in (tmp_path / "files").rglob("*.png"):
        cv2.imwrite(str(path), np.random.default_rng(len(path.name)).integers(0, 255, (50, 40), dtype=np.uint8))
    code, out, err = evaluate("--on", "files", "--allow-seen", more=entry)
    assert code == 0, err
    cases = pd.read_parquet(folders["tiny"] / "evaluations" / "files" / "cases.parquet")
    classes = read_record(folders["tiny"] / "record.json").classes
    assert set(cases["class"]) == {"benign", "malignant"}
    assert [classes[label] for label in cases["label"]] == cases["class"].tolist()
    assert f"{36 - len(cases)} of class 'zebra'" in out


def test_a_data_set_without_a_class_that_the_model_knows_is_refused(evaluate, tmp_path, tiny_registry):
    labels = {"normal": "Normal", "benign": "cat", "malignant": "dog"}
    entry = write_images(tmp_path, tiny_registry, ".png", labels)
    code, _, err = evaluate("--on", "files", more=entry)
    assert code == 2
    assert "has no class that the model knows: it has Normal, cat, dog, the model normal, benign, malignant" in err
    assert "'Normal' and 'normal' are written differently" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--on", "other2"], "Unknown dataset 'other2'. Did you mean 'other'?"),
        (["--models", "timm:test_resnt@scratch"], f"Did you mean '{MODEL}'?"),
        (["--on", "tiny@10%"], "'tiny@10%' is a part of a training side"),
        (["--on", "other-lesion", "--models", MODEL, "--profile", "none"], "no finished trial of profile 'none'"),
    ],
)
def test_what_cannot_be_evaluated_is_said_before_anything_is_computed(evaluate, folders, arguments, message):
    code, out, err = evaluate(*arguments, more=OTHER + OTHER_LESION)
    assert (code, out) == (2, "")
    assert message in err
    assert not (folders["tiny"] / "evaluations").exists()


def test_a_data_set_of_another_task_is_refused(evaluate, runs):
    shutil.rmtree(runs / "demo" / "tiny")
    code, _, err = evaluate("--on", "other", more=OTHER)
    assert code == 2
    assert "Dataset 'other' is for classification, these trials are of segmentation." in err


def test_the_data_set_that_was_trained_on_is_refused_unless_allowed_and_marked_then(evaluate, folders):
    code, _, err = evaluate("--on", "tiny")
    assert code == 2
    assert "'tiny' is not new to this model: it is the data set that the model was trained on" in err
    assert "--allow-seen" in err
    code, out, _ = evaluate("--on", "tiny", "--allow-seen")
    assert code == 0
    record = json.loads((folders["tiny"] / "evaluations" / "tiny" / "record.json").read_text())
    trial = read_record(folders["tiny"] / "record.json")
    assert record["seen"]["same_dataset"]
    assert record["seen"]["pixels"] == trial.n_train + trial.n_val
    assert "SEEN IN TRAINING (--allow-seen)" in out
    assert evaluate("--on", "tiny")[0] == 2  # though it lies there


@pytest.mark.parametrize(("ending", "counted"), [(".png", "pixels"), (".jpg", "near_duplicates")])
def test_a_copy_under_another_name_is_seen(evaluate, folders, tmp_path, tiny_registry, ending, counted):
    entry = write_images(tmp_path, tiny_registry, ending)
    code, _, err = evaluate("--on", "files", more=entry)
    assert code == 2
    assert "'files' is not new to this model" in err
    code, _, err = evaluate("--on", "files", "--allow-seen", more=entry)
    assert code == 0, err
    seen = json.loads((folders["tiny"] / "evaluations" / "files" / "record.json").read_text())["seen"]
    trial = read_record(folders["tiny"] / "record.json")
    assert seen[counted] >= trial.n_train + trial.n_val
    assert not seen["same_dataset"]


def test_a_few_pictures_that_the_source_shows_too_are_left_out_and_counted(evaluate, folders, tmp_path, tiny_registry):
    known = open_dataset(load_registry(tiny_registry)["tiny"], tmp_path).samples[:4]
    entry = write_images(tmp_path, tiny_registry, ".png", names=[s.case.case_id for s in known])
    rng = np.random.default_rng(0)
    for i in range(20):
        path = tmp_path / "files" / "benign" / f"new{i}.png"
        cv2.imwrite(str(path), rng.integers(0, 255, (50, 40), dtype=np.uint8))
    code, out, err = evaluate("--on", "files", more=entry)
    assert code == 0, err
    record = json.loads((folders["tiny"] / "evaluations" / "files" / "record.json").read_text())
    assert (record["known_left_out"], record["n_test"], record["seen_scored"]) == (4, 20, False)
    assert "files: left out, as the same or nearly the same picture, or of its group: 4 that tiny shows too." in out
    assert "files: no case of class normal, malignant, which the model knows." in out
    code, out, _ = evaluate("--on", "files", "--allow-seen", "--fresh", more=entry)
    record = json.loads((folders["tiny"] / "evaluations" / "files" / "record.json").read_text())
    assert (record["known_left_out"], record["n_test"], record["seen_scored"]) == (0, 24, True)
    assert "files: SEEN IN TRAINING (--allow-seen): of 24 cases" in out


def test_a_class_that_the_models_data_set_renames_is_renamed_in_others(trained_runs, tiny_registry):
    [(folder, record)] = [each for each in find_trials(trained_runs) if each[1].spec.dataset.name == "tiny"]
    dataset = record.spec.dataset.model_copy(
        update={"classes": ("not malignant", "malignant"), "relabel": {"benign": "not malignant"}}
    )
    binary = record.model_copy(
        update={"spec": record.spec.model_copy(update={"dataset": dataset}), "classes": dataset.classes}
    )
    other = load_registry()["phantom"].model_copy(update={"name": "other", "options": {"n": 24, "size": 64, "seed": 5}})
    sources = evaluation_cases.Sources(load_registry(tiny_registry), folder, lambda text: None)
    cases = evaluation_cases.Cases(Job(folder, binary, other), sources, allow_seen=True)
    before = [s.case.label for s in cases.whole.samples if s.case.label != "normal"]
    assert [s.case.label for s in cases.scored.samples] == [
        "malignant" if label == "malignant" else "not malignant" for label in before
    ]
    assert cases.left_out == {"normal": 24 - len(before)}


def test_where_the_trained_images_are_gone_it_is_said_that_nobody_knows(evaluate, folders):
    changed = "tiny: {extends: phantom, tasks: [classification], path: gone, layout: imagefolder, options: {}}\n"
    record = json.loads((folders["tiny"] / "record.json").read_text())
    record["data_hash"] = "0" * 64
    (folders["tiny"] / "record.json").write_text(json.dumps(record))
    code, out, err = evaluate("--on", "other", more=OTHER)
    assert changed
    assert code == 0, err
    assert json.loads((folders["tiny"] / "evaluations" / "other" / "record.json").read_text())["seen"] is None
    assert "is not known: Dataset 'tiny' has changed since the trial was run (data_hash)" in err
    assert "whether the models were trained on these cases is not known" in out
    code, _, err = evaluate(more=OTHER)
    assert code == 1
    assert "Dataset 'tiny' has changed since the trial was run (data_hash)" in err


def test_an_evaluation_of_other_cases_is_neither_reused_nor_overwritten(evaluate, folders):
    assert evaluate("--on", "other", more=OTHER)[0] == 0
    place = folders["tiny"] / "evaluations"
    before = (place / "other" / "record.json").read_bytes()
    changed = OTHER.replace("n: 24", "n: 27")
    code, _, err = evaluate("--on", "other", more=changed)
    assert code == 2
    assert "data_hash: " in err
    assert (place / "other" / "record.json").read_bytes() == before
    assert evaluate("--on", "other", "--fresh", more=changed)[0] == 0
    [aside] = place.glob("other.stale-*")
    assert (aside / "record.json").read_bytes() == before
    assert len(pd.read_parquet(place / "other" / "cases.parquet")) == 27


def test_an_evaluation_without_its_record_is_made_again(evaluate, folders):
    assert evaluate()[0] == 0
    own = folders["tiny"] / "evaluations" / "tiny%40test"
    (own / "record.json").unlink()
    (own / ".cases.parquet.half").write_text("")
    code, _, err = evaluate()
    assert (code, "1 evaluated, 1 kept from before." in err) == (0, True)
    assert {path.name for path in own.iterdir()} == {"record.json", "cases.parquet", "predictions.npz"}
    (own / "record.json").write_text("{}")
    code, _, err = evaluate()
    assert code == 1
    assert "schema_version is None" in err


def test_evaluations_are_no_trials(evaluate, folders, runs):
    more = OTHER.replace("other:", "seed-1:")
    assert evaluate("--on", "seed-1", more=more)[0] == 0
    assert (folders["tiny"] / "evaluations" / "seed-1" / "record.json").exists()
    assert [folder for folder, _ in find_trials(runs)] == sorted(folders.values())


def test_each_folds_network_counts_as_a_draw_of_the_training_on_other_cases(trained_runs):
    from usfm_bench.results.evaluation import Evaluation, Seen
    from usfm_bench.specs.split import SplitSpec

    [record] = [record for _, record in find_trials(trained_runs) if record.spec.dataset.name == "tiny"]
    dataset = load_registry()["phantom-clinical"]
    new = {"seen_in_pretraining": None, "grouped_by": "simulated", "groups": "", "notes": ()}
    seen = Seen(n=9, same_dataset=False, pixels=0, groups=0, near_duplicates=0)
    evaluation = Evaluation(
        **{"name": "phantom-clinical", "trial": "", "spec_hash": "", "weights": "", "dataset": dataset},
        **{"data_hash": "d", "own_test": False, "seen": seen, "n_test": 9, "n_test_groups": 9},
        **{**new, "definitions": {}, "scores": {}},
    )
    split = SplitSpec(kind="kfold", folds=5)
    seeds = []
    for seed in (0, 1):
        for fold in range(5):
            spec = record.spec.model_copy(update={"split": split, "seed": seed, "fold": fold})
            shown = evaluation.as_trial(record.model_copy(update={"spec": spec})).spec
            seeds.append(shown.seed)
            assert (shown.fold, shown.split.folds, shown.dataset.name) == (0, 1, "phantom-clinical")
    assert seeds == list(range(10))


def test_jobs_are_trials_times_data_sets_of_their_task(trained_runs, tiny_registry):
    jobs = plan_jobs(find_trials(trained_runs), ["tiny-clinical", "phantom"], [], load_registry(tiny_registry))
    assert sorted((job.record.spec.dataset.name, job.name) for job in jobs) == [
        ("tiny", "phantom"),
        ("tiny", "tiny-clinical"),
        ("tiny-lesion", "phantom"),
    ]


def test_weights_error_is_the_users(tmp_path):
    with pytest.raises(WeightsError, match="is not there"):
        restore_network(tmp_path / "none", MODEL, TASKS["classification"], RECIPE, load_registry()["phantom"], ("a",))


# ---- under corruptions -----------------------------------------------------------------------------------------------


def shown_pixels(monkeypatch) -> dict[str, np.ndarray]:
    """Filled with the images that each condition shows."""
    seen: dict[str, np.ndarray] = {}
    real = evaluation_cases.corrupt_sample

    def spy(sample, name, severity):
        found = real(sample, name=name, severity=severity)
        seen[f"{name}-{severity} {sample.case.case_id}"] = found.image
        return found

    monkeypatch.setattr(evaluation_cases, "corrupt_sample", spy)
    return seen


def test_conditions_are_evaluated_once_on_the_same_pixels_and_kept(evaluate, folders, monkeypatch):
    seen = shown_pixels(monkeypatch)
    code, out, err = evaluate("--conditions", "gain,flip", "--severities", "1,5")
    assert (code, "8 evaluated, 0 kept from before." in err) == (0, True), err
    first = dict(seen)
    assert {name.partition(" ")[0] for name in first} == {"gain-1", "gain-5", "flip-1", "flip-5"}
    folder = folders["tiny-lesion"] / "evaluations" / "tiny-lesion%40test.gain-5"
    record = json.loads((folder / "record.json").read_text())
    assert record["condition"] == {"corruption": "gain", "severity": 5, "version": 1}
    assert (
        record["data_hash"]
        == json.loads((folder.parent / "tiny-lesion%40test.gain-1" / "record.json").read_text())["data_hash"]
    )
    assert "What corrupted images cost" in out
    code, _, err = evaluate("--conditions", "gain,flip,jpeg", "--severities", "5")
    assert (code, "2 evaluated, 4 kept from before." in err) == (0, True)
    seen.clear()
    evaluate("--conditions", "gain,flip", "--severities", "1,5", "--fresh")
    assert all(np.array_equal(seen[name], image) for name, image in first.items())


def test_masks_go_where_the_image_goes(evaluate, folders):
    code, _, err = evaluate("--conditions", "flip,gain", "--severities", "1")
    assert code == 0, err
    place = folders["tiny-lesion"] / "evaluations"
    clean = load_predictions(folders["tiny-lesion"] / "predictions.npz")
    turned, same = (
        load_predictions(place / f"tiny-lesion%40test.{name}-1" / "predictions.npz") for name in ("flip", "gain")
    )
    for before, after, still in zip(clean.references, turned.references, same.references, strict=True):
        np.testing.assert_array_equal(after, before[:, ::-1])
        np.testing.assert_array_equal(still, before)


def test_losses_are_those_of_the_cases_and_paired(evaluate, folders, runs):
    conditions = ["gain", "shadow", "medmnistc-bright"]
    code, out, err = evaluate("--conditions", ",".join(conditions), "--severities", "2,4")
    assert code == 0, err
    report = build_report(Store(runs), "demo")
    tables = {
        (name, level): pd.read_parquet(
            folders["tiny-lesion"] / "evaluations" / f"tiny-lesion%40test.{name}-{level}" / "cases.parquet"
        )
        for name in conditions
        for level in (2, 4)
    }
    clean = pd.read_parquet(folders["tiny-lesion"] / "cases.parquet")["DSC"]
    losses = {(x.corruption, x.severity): x for x in report.losses if (x.dataset, x.metric) == ("tiny-lesion", "DSC")}
    assert len(losses) == 1 + 2 + 3 + 6
    one = losses["gain", 4]
    assert one.corrupted == pytest.approx(tables["gain", 4]["DSC"].mean())
    assert one.loss.point == pytest.approx((clean - tables["gain", 4]["DSC"]).mean())
    whole = losses[None, None]
    mean = pd.concat(tables.values()).groupby("case_id")["DSC"].mean().mean()
    assert (whole.n_conditions, whole.corrupted) == (6, pytest.approx(mean))
    assert whole.relative.point == pytest.approx(1 - mean / clean.mean())
    assert whole.loss.kind == "cases"  # one seed
    classes = {x.metric for x in report.losses if x.dataset == "tiny"}
    assert classes == {"ACC", "F1"}
    lines = [line for line in out.splitlines() if line.startswith("| tiny-lesion") and "DSC" in line]
    assert f"{100 * whole.clean:.1f}" in lines[0]


def test_a_report_leaves_out_evaluations_of_other_weights_and_names_damaged_ones(evaluate, folders, runs):
    evaluate("--conditions", "gain,flip", "--severities", "1")
    place = folders["tiny"] / "evaluations"
    path = place / "tiny%40test.gain-1" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "0" * 64}))
    assert {x.corruption for x in build_report(Store(runs), "demo").losses if x.dataset == "tiny"} == {None, "flip"}
    (place / "tiny%40test.flip-1" / "record.json").write_text("{")
    report = build_report(Store(runs), "demo")
    assert not [x for x in report.losses if x.dataset == "tiny"]
    assert [note for note in report.notes if "Evaluations left out" in note and "cannot be read" in note]


def test_other_data_sets_are_scored_clean_and_corrupted(evaluate, folders):
    code, out, err = evaluate("--on", "other", "--conditions", "jpeg", "--severities", "3", more=OTHER)
    assert code == 0, err
    assert {path.name for path in (folders["tiny"] / "evaluations").iterdir()} == {"other", "other.jpeg-3"}
    assert "other.jpeg-3" in out


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            ["--conditions", "gian,shdow"],
            ["Did you mean 'gain'?", "Did you mean 'shadow'?", "Groups: all, medmnistc, ultrasound."],
        ),
        (["--conditions", "gain", "--severities", "0,6,x"], ["'0' is none of 1 to 5", "'6'", "'x'"]),
        (["--severities", "1"], ["--severities needs --conditions"]),
    ],
)
def test_unknown_conditions_are_all_said_before_anything_is_computed(evaluate, folders, arguments, messages):
    code, out, err = evaluate(*arguments)
    assert (code, out) == (2, "")
    assert all(message in err for message in messages)
    assert not (folders["tiny"] / "evaluations").exists()
