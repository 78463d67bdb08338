"""Recipes: shipped profiles, what a suite changes, and a user's own profile file."""

import sys

import pytest

from usfm_bench.cli import app as cli
from usfm_bench.core.errors import BenchError
from usfm_bench.specs.dataset import load_registry
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.suites.recipes import load_profile

SHIPPED = load_registry()


@pytest.fixture
def own(tmp_path):
    """Writes a profile file; gives its path."""

    def write(text, name="mine.yaml"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def faults_of(call, *arguments, **named):
    with pytest.raises(BenchError) as refusal:
        call(*arguments, **named)
    return str(refusal.value).splitlines()


def suite_with(name="busi-cls", **training):
    suite = load_suite(name)
    return suite.model_copy(update={"parts": tuple(p.model_copy(update={"training": training}) for p in suite.parts)})


def test_an_own_profile_changes_the_keys_that_it_names(own):
    profile = load_profile(
        own("{extends: quick, classification: {class_weights: none, sampling: balanced, epochs: 3}}")
    )
    plain, mine = load_profile("quick"), profile.recipe("classification")
    assert (profile.name, profile.extends) == ("mine", "quick")
    assert mine == plain.recipe("classification").model_copy(
        update={"class_weights": "none", "sampling": "balanced", "epochs": 3}
    )
    assert profile.recipe("segmentation") == plain.recipe("segmentation")


def test_all_faults_of_an_own_profile_are_told_at_once_with_the_nearest_key(own):
    path = own("extends: smoke\nsegmentation: {epochs: 0, loss: focal}\nclassification: {samplng: balanced, lr: fast}")
    assert faults_of(load_profile, path) == [
        f"{path}: segmentation.loss: is a setting of classification alone",
        f"{path}: segmentation.epochs: must be at least 1, not 0",
        f"{path}: classification.lr: expected a number, not 'fast'",
        f"{path}: classification.samplng: unknown key. Did you mean 'sampling'?",
    ]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (
            "quick",
            [
                "expected `extends: quick` and the keys to change, below `classification:` or `enhancement:` or "
                "`segmentation:`"
            ],
        ),
        ("{}", ["extends: expected one of paper, quick, smoke."]),
        (
            "{extends: quik, classify: {}, segmentation: [lr]}",
            [
                "extends: expected one of paper, quick, smoke. Did you mean 'quick'?",
                "classify: unknown key. Did you mean 'classification'?",
                "segmentation: expected a mapping of keys to values",
            ],
        ),
        ("{extends: quick, classification: {1: 2}}", ["classification.1: unknown key"]),
        ("{extends: [quick]}", ["extends: expected one of paper, quick, smoke."]),
    ],
)
def test_a_profile_file_of_another_form_is_refused(own, text, faults):
    path = own(text)
    found = faults_of(load_profile, path)
    assert [fault.removeprefix(f"{path}: ") for fault in found] == faults


@pytest.mark.parametrize("name", ["Mine.yaml", "my profile.yaml", "-x.yaml", "quick.yaml"])
def test_a_profile_file_may_not_have_any_name(own, name):
    (fault,) = faults_of(load_profile, own("extends: smoke", name))
    assert ("is a shipped profile" if name == "quick.yaml" else "names the folder of its results") in fault


def test_what_a_suite_changes_comes_before_the_keys_of_an_own_profile(own):
    suite = suite_with(class_weights="none", epochs=5)

    def recipe_of(profile):
        return plan_suite(suite, SHIPPED, profile=profile, seeds=[0])[0].training

    assert recipe_of("smoke").model_dump(include={"class_weights", "epochs"}) == {"class_weights": "none", "epochs": 5}
    mine = recipe_of(own("{extends: smoke, classification: {epochs: 6, sampling: balanced}}"))
    assert (mine.class_weights, mine.epochs, mine.sampling) == ("none", 6, "balanced")


def test_faults_name_the_file_that_they_are_in(own):
    faults = faults_of(plan_suite, suite_with("demo", class_weight="none"), SHIPPED, profile="smoke")
    said = "class_weight: unknown key. Did you mean 'class_weights'?"
    assert faults == [f"demo.yaml: parts.{part}.training.{said}" for part in (0, 1)]
    path = own("{extends: smoke, classification: {sampling: balanced}}")
    (fault,) = faults_of(plan_suite, load_suite("busi-cls"), SHIPPED, profile=path)
    assert fault == (
        f"{path}: classification: class_weights: balanced and sampling: balanced each correct the class prior, so "
        "together more than once; keep one (class_weights: none and sampling: shuffle are off)"
    )


def test_an_own_profile_runs_the_models_of_the_one_that_it_extends(own, monkeypatch, capsys):
    path = own("{extends: smoke, classification: {loss: focal}}")
    where = ["--suite", "busi-cls", "--datasets", "phantom", "--seeds", "1", "--runs", "nowhere", "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["usfm-bench", "run", *where, "--profile", path])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out.splitlines() == [
        f"phantom / {model} / fold-0 / seed-0  [mine]  to do"
        for model in ("usfm-micro-scratch", "timm:test_resnet@scratch")
    ]


def test_an_unknown_profile_suggests_a_shipped_one_and_says_that_a_file_can_be_given():
    (fault,) = faults_of(load_profile, "smok")
    assert fault == (
        "Unknown profile 'smok'. Did you mean 'smoke'? Known: paper, quick, smoke. "
        "Your own is named by its file, such as --profile smok.yaml."
    )
    assert faults_of(load_profile, "nowhere.yaml") == ["nowhere.yaml: no such file."]


def test_a_report_needs_no_profile_file(own, make_store, tmp_path, monkeypatch, capsys):
    store = make_store(seeds=1)
    for folder in store.root.glob("*/*/*/smoke"):
        (folder / "fold-0/seed-0/record.json").write_text(
            (folder / "fold-0/seed-0/record.json").read_text().replace('"profile": "smoke"', '"profile": "mine"')
        )
        folder.rename(folder.with_name("mine"))
    monkeypatch.setattr(
        sys, "argv", ["usfm-bench", "report", "--suite", "demo", "--profile", "mine", "--runs", str(store.root)]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("# demo, profile mine")
