"""A user's own suite is a file, held to the schema of the shipped ones; all of its faults are told at once."""

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite, suite_name

MINE = """
title: Mine
default_profile: smoke
seeds: 2
split: {kind: kfold, folds: 3, seed: 1}
parts:
  - task: classification
    datasets: [phantom]
    models: {smoke: [usfm-micro-scratch]}
    training: {epochs: 3}
"""


def write(folder: Path, text: str = MINE, name: str = "mine.yaml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def faults_of(call, *arguments, **named) -> list[str]:
    with pytest.raises(BenchError) as error:
        call(*arguments, **named)
    return str(error.value).splitlines()


def test_it_is_called_as_its_file_is_and_plans_as_a_shipped_one(tmp_path):
    suite = load_suite(write(tmp_path, name="my-2.yml"))
    trials = plan_suite(suite, load_registry())
    assert len(trials) == 2 * 3
    assert {(t.suite, t.profile, t.training.epochs, t.split.folds) for t in trials} == {("my-2", "smoke", 3, 3)}
    assert suite_name(str(tmp_path / "my-2.yml")) == "my-2"
    assert suite_name("anything") == "anything"


def test_all_faults_are_told_at_once_with_the_nearest_key(tmp_path):
    text = MINE.replace("seeds: 2", "sedes: 2").replace("task: classification", "task: classificatoin")
    path = write(tmp_path, text.replace("folds: 3", "folds: 1").replace("title: Mine", "title: [Mine]") + "name: x\n")
    faults = faults_of(load_suite, path)
    assert all(fault.startswith(f"{path}: ") for fault in faults)
    for said in (
        "sedes: unknown key. Did you mean 'seeds'?",
        "seeds: is missing",
        "unknown task 'classificatoin'. Did you mean 'classification'?",
        "split",
        "title: expected text",
        "name: a suite is called as its file is",
    ):
        assert sum(said in fault for fault in faults) >= 1, said


def test_a_profile_that_does_not_exist_is_told(tmp_path):
    faults = faults_of(load_suite, write(tmp_path, MINE.replace("smoke: [", "smok: [")))
    assert any("smok" in fault and "'paper', 'quick' or 'smoke'" in fault for fault in faults)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("demo.yaml", "'demo' is a shipped suite; give the file another name"),
        ("My Suite.yaml", "'My Suite' names the folder of its results"),
        ("..yaml", "names the folder of its results"),
    ],
)
def test_a_name_that_is_taken_or_unsafe(tmp_path, name, said):
    assert any(said in fault for fault in faults_of(load_suite, write(tmp_path, name=name)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a mapping with the keys title, default_profile, seeds, split, parts."),
        ("- a\n", "expected a mapping with the keys"),
        ("a: [\n", "not valid YAML"),
        ("[" * 10_000, "not valid YAML: nested too deeply."),
        ("{1: 2}\n", "mine.yaml: 1: "),
    ],
)
def test_a_file_that_is_no_suite(tmp_path, text, said):
    assert any(said in fault for fault in faults_of(load_suite, write(tmp_path, text)))


def test_names_and_training_settings_are_told_in_one_pass(tmp_path):
    models = "[usfm-mcro-scratch, unet-resnet18-scratch]"
    text = MINE.replace("[phantom]", "[phantm, hc18]").replace("epochs: 3", "epoch: 3")
    suite = load_suite(write(tmp_path, text.replace("[usfm-micro-scratch]", models)))
    faults = "\n".join(faults_of(plan_suite, suite, load_registry()))
    for said in (
        "Unknown dataset 'phantm'. Did you mean 'phantom'?",
        "Dataset 'hc18' is for segmentation, suite 'mine' for classification.",
        "Unknown model 'usfm-mcro-scratch'. Did you mean 'usfm-micro-scratch'?",
        "Model 'unet-resnet18-scratch' is for enhancement and segmentation, suite 'mine' for classification.",
        "mine.yaml: parts.0.training.epoch: unknown key. Did you mean 'epochs'?",
    ):
        assert said in faults, said


def test_a_profile_that_it_has_no_models_for(tmp_path):
    suite = load_suite(write(tmp_path))
    [fault] = faults_of(plan_suite, suite, load_registry(), profile="quick")
    assert fault.startswith("Suite 'mine' names models for smoke and not for 'quick'")
    assert plan_suite(suite, load_registry(), profile="quick", models=["usfm-micro-scratch"])


def test_run_report_and_baseline_take_it(tmp_path):
    path = write(tmp_path)
    call = CliRunner().invoke
    planned = call(app, ["run", "--suite", path, "--dry-run", "--runs", str(tmp_path / "runs")])
    assert (planned.exit_code, planned.stdout.count("to do")) == (0, 6)
    for command in (["report"], ["baseline", "--out", str(tmp_path / "b.json")]):
        bad = call(app, [*command, "--suite", write(tmp_path, "[]", "bad.yaml"), "--runs", str(tmp_path / "runs")])
        assert "expected a mapping" in str(bad.exception)
        none = call(app, [*command, "--suite", path, "--runs", str(tmp_path / "runs")])
        assert "`usfm-bench run --suite FILE.yaml`" in str(none.exception)


def test_an_unknown_suite_says_how_an_own_one_is_named():
    [fault] = faults_of(load_suite, "mine")
    assert "--suite mine.yaml" in fault


def test_every_command_that_takes_a_suite_takes_its_file(tmp_path):
    commands = {
        name: command
        for name, command in get_command(app).commands.items()
        if any("--suite" in parameter.opts for parameter in command.params)
    }
    assert commands.keys() == {"run", "report", "baseline", "evaluate", "submit"}
    needs_more = {"baseline": [], "submit": ["--models", "m", "--contact", "c"]}
    for name in commands:
        more = ["--out", str(tmp_path / "new.json"), *needs_more[name]] if name in needs_more else []
        ended = CliRunner().invoke(app, [name, "--suite", "nowhere.yaml", "--runs", str(tmp_path), *more])
        assert str(ended.exception) == "nowhere.yaml: no such file.", name
