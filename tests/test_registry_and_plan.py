"""Names and what they stand for: data sets, models, suites, profiles, and the grid of trials that they span."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from usfm_bench.core.errors import BenchError, DataError, did_you_mean
from usfm_bench.core.registry import Registry
from usfm_bench.core.resources import load_yaml
from usfm_bench.core.settings import content_hash
from usfm_bench.data.dataset import open_reader
from usfm_bench.data.groups import near_duplicate_groups
from usfm_bench.data.readers import READERS
from usfm_bench.specs.dataset import DatasetSpec, find_dataset, load_registry
from usfm_bench.specs.model import MODELS, resolve
from usfm_bench.specs.split import SplitSpec
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.suites.plan import load_suite, plan_suite, suite_names
from usfm_bench.suites.recipes import PROFILES, load_profile

SHIPPED = load_registry()
MINE = "{version: 1, title: mine, tasks: [classification], organ: breast, layout: imagefolder, path: mine}"


def load(folder: Path, text: str) -> dict[str, DatasetSpec]:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return load_registry(folder / "mine.yaml")


def faults_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(BenchError) as error:
        load(folder, text)
    return str(error.value).splitlines()


# ---- any registry ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shapes() -> Registry[int]:
    registry: Registry[int] = Registry("shape")
    for name, corners in (("triangle", 3), ("square", 4)):
        registry.register(name)(corners)
    return registry


def test_a_registry_lists_its_names_in_order(shapes):
    assert (list(shapes), len(shapes), "square" in shapes) == (["square", "triangle"], 2, True)


def test_a_second_use_of_a_name_raises(shapes):
    with pytest.raises(ValueError, match="shape 'square' is registered twice"):
        shapes.register("square")(5)
    assert shapes["square"] == 4


def test_an_unknown_name_suggests_the_nearest(shapes):
    with pytest.raises(
        BenchError, match=r"^Unknown shape 'squre'\. Did you mean 'square'\? Known: square, triangle\.$"
    ):
        shapes["squre"]


def test_nothing_is_suggested_when_nothing_is_near():
    assert did_you_mean("xyzzy", ["square", "triangle"]) == ""


# ---- datasets.yaml ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_entry_can_be_opened_where_its_data_are(name, tmp_path):
    spec = SHIPPED[name]
    assert spec.layout in READERS
    assert spec.synthetic or spec.source.startswith("https://")
    assert set(spec.exclude) <= {case_id for case_id in spec.exclude if case_id.split(" (")[0] in spec.classes_on_disk}
    assert open_reader(spec, tmp_path)
    assert all(len(h) == 16 for h in near_duplicate_groups(spec))


def test_an_entry_takes_from_the_one_that_it_extends_what_it_does_not_state():
    whole, part = SHIPPED["busi"], SHIPPED["busi-lesion"]
    assert (part.path, part.exclude, part.groups) == (whole.path, whole.exclude, whole.groups)
    assert (part.classes, whole.classes) == (("benign", "malignant"), ("benign", "malignant", "normal"))


def test_options_are_merged_one_by_one(tmp_path):
    mine = load(tmp_path, "mine: {extends: phantom-clinical, options: {n: 30}}")["mine"]
    assert mine.options == {"seed": 1, "n": 30, "size": 128, "prevalence": [0.72, 0.2, 0.08], "probe": "clinical"}


def test_an_entry_may_extend_one_that_comes_after_it(tmp_path):
    assert load(tmp_path, f"a: {{extends: b, title: first}}\nb: {MINE}")["a"].path == "mine"


def test_a_registry_file_adds_to_the_shipped_entries(tmp_path):
    assert set(load(tmp_path, f"mine: {MINE}")) == {*SHIPPED, "mine"}


def test_an_entry_of_ones_own_replaces_a_shipped_one(tmp_path):
    assert load(tmp_path, f"busi: {MINE}")["busi"].title == "mine"


def test_a_datasets_yaml_in_the_users_folder_is_read_unasked(tmp_path, monkeypatch):
    (tmp_path / "datasets.yaml").write_text(f"mine: {MINE}")
    monkeypatch.chdir(tmp_path)
    assert set(load_registry()) == {*SHIPPED, "mine"}


def test_entries_that_extend_each_other_are_both_named(tmp_path):
    assert faults_of(tmp_path, "a: {extends: b}\nb: {extends: a}") == [
        "mine.yaml: a: extends itself: a -> b -> a",
        "mine.yaml: b: extends itself: b -> a -> b",
    ]


def test_extending_an_unknown_entry_suggests_the_nearest(tmp_path):
    (fault,) = faults_of(tmp_path, "a: {extends: phantm}")
    assert fault.startswith("mine.yaml: a: Unknown dataset 'phantm'. Did you mean 'phantom'?")


def test_an_unknown_key_is_named_by_file_entry_and_key(tmp_path):
    faults = faults_of(tmp_path, "mine: {extends: phantom, tilte: x}")
    assert faults == ["mine.yaml: mine.tilte: unknown key. Did you mean 'title'?"]


def test_every_fault_of_a_registry_file_is_in_one_message(tmp_path):
    faults = faults_of(tmp_path, "a: {extends: phantom, synthetic: perhaps}\nb: {extends: busi, version: 0, tilte: x}")
    assert [fault.split(": ")[1] for fault in faults] == ["a.synthetic", "b.version", "b.tilte"]


def test_an_empty_entry_lacks_every_required_key(tmp_path):
    missing = {"version", "title", "tasks", "organ", "layout"}
    assert set(faults_of(tmp_path, "mine:")) == {f"mine.yaml: mine.{key}: is missing" for key in missing}


@pytest.mark.parametrize(
    "text",
    [
        "mine: [1, 2]",
        "mine: 5",
        "mine: folder/of/images",
        "mine: {extends: phantom, name: other}",
        "mine: {extends: phantom, 1: x}",
        "mine: {extends: [phantom]}",
        "mine: {extends: phantom, options: }",
        "mine: {extends: phantom, options: [n]}",
    ],
)
def test_an_entry_of_the_wrong_form_is_the_users_fault_and_named(tmp_path, text):
    assert all(fault.startswith("mine.yaml: mine") for fault in faults_of(tmp_path, text))


@pytest.mark.parametrize("text", ["", "- a list", "just text"])
def test_a_registry_file_that_is_no_mapping_is_refused(tmp_path, text):
    (fault,) = faults_of(tmp_path, text)
    assert fault.endswith("mine.yaml: expected a mapping of data set names to entries")


def test_a_registry_file_that_is_no_yaml_is_named_with_the_line(tmp_path):
    message = "\n".join(faults_of(tmp_path, "mine:\n  title: {"))
    assert "mine.yaml: not valid YAML" in message
    assert "line 2" in message


def test_a_registry_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"Registry file '.*nowhere\.yaml' does not exist"):
        load_registry(tmp_path / "nowhere.yaml")


def test_a_yaml_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(BenchError, match=r"nowhere\.yaml: no such file"):
        load_yaml(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("path", ["../elsewhere", "inside/../../elsewhere"])
def test_a_path_that_leaves_the_data_root_is_refused(tmp_path, path):
    (tmp_path / "elsewhere").mkdir()
    spec = SHIPPED["busi"].model_copy(update={"path": path})
    with pytest.raises(DataError, match=f"'busi': path '{path}' leaves the data root"):
        open_reader(spec, tmp_path / "root")


def test_a_path_may_be_absolute(tmp_path):
    (tmp_path / "elsewhere" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere" / "a" / "1.png").touch()
    spec = load(tmp_path, f"mine: {MINE}")["mine"].model_copy(update={"path": str(tmp_path / "elsewhere")})
    assert [case.case_id for case in open_reader(spec, tmp_path / "root").cases()] == ["a/1.png"]


def test_an_unknown_layout_suggests_the_nearest(tmp_path):
    spec = SHIPPED["busi"].model_copy(update={"layout": "imagefoldr"})
    with pytest.raises(BenchError, match=r"Unknown layout 'imagefoldr'\. Did you mean 'imagefolder'\?"):
        open_reader(spec, tmp_path)


# ---- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "folds"), [("holdout", 5), ("kfold", 1)])
def test_a_split_has_the_folds_of_its_kind(kind, folds):
    with pytest.raises(ValueError, match="a holdout has 1 fold, kfold has 2 or more"):
        SplitSpec(kind=kind, folds=folds)


def test_a_content_hash_does_not_depend_on_the_order_of_keys():
    assert (
        content_hash({"a": 1, "b": [2, 3]})
        == content_hash({"b": [2, 3], "a": 1})
        != content_hash({"a": 1, "b": [3, 2]})
    )


DATASET = {"name": "a", "title": "A", "version": 1, "tasks": ["classification"], "organ": "breast", "layout": "busi"}
RECIPE = {"image_size": 64, "epochs": 2, "batch_size": 4, "lr": 0.001}
LATER_IN_DATASET = {
    "relabel": {"x": "y"},
    "positive": "y",
    "grouped_by": "videos",
    "groups_note": "n",
    "subsample": {"label": "y", "prevalence": 0.2},
    "split": {"kind": "drawn"},
    "training": {"fraction": 0.1, "lot": "trial"},
}
LATER_IN_RECIPE = {
    "loss": "focal",
    "focal_gamma": 1.5,
    "sampling": "balanced",
    "reading": "own-norm",
    "cudnn_attention": True,
    "taps": "standardised",
}


@pytest.mark.parametrize(
    ("dataset", "recipe", "sha256"),
    [
        ({}, {}, "491deba351191e64de405091b6d0673b46d55a915b7e704710656c163e595ff7"),
        (LATER_IN_DATASET, {}, "e55d62dfc88d269937586b7fc4fa5e9eb62152d964f96552e5d4ce754e7c7123"),
        ({}, LATER_IN_RECIPE, "62549aa53b131d7c8e9009faf3a9eb17496d4f8847d3260994bcc345461f70df"),
    ],
)
def test_the_hash_of_settings_is_that_of_earlier_versions(dataset, recipe, sha256):
    # As the code gave them when each field still stated by itself when it is left out.
    settings = {"suite": "s", "task": "classification", "model": "m", "profile": "p", "split": {}, "seed": 0}
    dataset = DATASET | {"classes": ["x", "y"]} | dataset
    spec = TrialSpec.model_validate(settings | {"dataset": dataset, "training": RECIPE | recipe})
    assert spec.hash == sha256
    assert TrialSpec.model_validate_json(spec.model_dump_json()) == spec


def test_trials_recorded_by_earlier_versions_keep_their_hashes():
    paths = sorted((Path(__file__).parents[1] / "reports" / "measured").rglob("record.json"))
    records = [json.loads(path.read_text()) for path in paths]
    assert len(records) >= 18
    assert [TrialSpec.model_validate(r["spec"]).hash for r in records] == [r["spec_hash"] for r in records]


def trial(**changes) -> TrialSpec:
    return plan_suite(load_suite("busi-cls"), SHIPPED, models=["usfm-tiny"], seeds=[0])[0].model_copy(update=changes)


def dataset_of_trial(**changes) -> TrialSpec:
    return trial(dataset=trial().dataset.model_copy(update=changes))


def test_words_about_a_data_set_do_not_make_another_trial():
    described = dataset_of_trial(title="other", citation="other", path="other", licence="other", n_images=1)
    assert described.hash == trial(table="1").hash == trial().hash


def test_settings_that_decide_the_result_make_another_trial():
    others = [
        trial(seed=1),
        trial(fold=1),
        trial(model="usfm-small"),
        trial(split=SplitSpec(seed=1)),
        dataset_of_trial(version=99),
        dataset_of_trial(classes=("benign", "malignant")),
        dataset_of_trial(exclude={}),
        dataset_of_trial(groups=None),
        dataset_of_trial(options={"a": 1}),
    ]
    assert len({spec.hash for spec in [trial(), *others]}) == 1 + len(others)


# ---- suites and plans ------------------------------------------------------------------------------------------------


def grid(suite: str, **choices) -> list[TrialSpec]:
    return plan_suite(load_suite(suite), SHIPPED, **choices)


def of(trials: list[TrialSpec], field: str) -> list:
    """The values of a field, each once, in the order of the trials."""
    return list(dict.fromkeys(str(t.dataset.name if field == "dataset" else getattr(t, field)) for t in trials))


def refusal(suite: str, **choices) -> str:
    with pytest.raises(BenchError) as error:
        grid(suite, **choices)
    return str(error.value)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", suite_names())
def test_every_suite_resolves_every_model_of_every_profile(name, profile):
    for part in load_suite(name).parts:
        assert load_profile(profile).recipe(part.task, part.training).epochs >= 1
        assert part.models[profile]
        assert all(part.task in resolve(model).tasks for model in part.models[profile])


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_names_registered_data_sets_of_its_task(name):
    for part in load_suite(name).parts:
        known = [find_dataset(data, SHIPPED) for data in part.datasets if data != "clinical"]
        assert all(part.task in spec.tasks for spec in known)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_has_as_many_trials_as_its_grid(name):
    suite = load_suite(name)
    registry = SHIPPED | {"clinical": SHIPPED["phantom-clinical"]}
    cells = sum(len(p.datasets) * len(p.models[suite.default_profile]) for p in suite.parts)
    trials = plan_suite(suite, registry)
    assert len({t.hash for t in trials}) == len(trials) == cells * suite.seeds * suite.split.folds


def test_seeds_change_the_trial_and_never_the_split():
    trials = grid("demo", seeds=[0, 3, 7])
    assert of(trials, "seed") == ["0", "3", "7"]
    assert {t.split for t in trials} == {load_suite("demo").split}


def test_a_suite_has_its_own_number_of_seeds_unless_told():
    assert of(grid("paper"), "seed") == ["0", "1", "2", "3", "4"]


def test_every_seed_of_a_suite_runs_on_every_fold():
    suite = load_suite("busi-cls").model_copy(update={"split": SplitSpec(kind="kfold", folds=5, seed=0)})
    trials = plan_suite(suite, SHIPPED, models=["usfm-tiny"], seeds=[0, 1])
    assert [(t.seed, t.fold) for t in trials] == [(seed, fold) for seed in (0, 1) for fold in range(5)]


def test_models_replace_those_of_the_suite_where_their_task_fits():
    trials = grid("demo", models=["usfm-micro-scratch", "unet-resnet18-scratch"], seeds=[0])
    assert [(t.task, t.model) for t in trials if t.dataset.name != "phantom"] == [
        ("segmentation", "usfm-micro-scratch"),
        ("segmentation", "unet-resnet18-scratch"),
        ("classification", "usfm-micro-scratch"),
    ]


def test_datasets_replace_those_of_the_suite():
    assert of(grid("busi-cls", datasets=["phantom", "phantom-clinical"]), "dataset") == ["phantom", "phantom-clinical"]


def test_a_data_set_of_two_tasks_goes_through_the_part_that_lists_it():
    assert of(grid("demo", datasets=["phantom"]), "task") == ["classification"]
    assert of(grid("demo", datasets=["phantom-lesion"]), "task") == ["segmentation"]


def test_a_data_set_of_two_tasks_that_no_part_lists_is_refused():
    assert refusal("demo", datasets=["busi"]).startswith("Dataset 'busi' fits 2 tasks of suite 'demo'.")


def test_a_data_set_that_fits_no_task_of_the_suite_is_refused():
    registry = SHIPPED | {"masks": SHIPPED["phantom"].model_copy(update={"tasks": ("segmentation",)})}
    with pytest.raises(BenchError, match="'masks' is for segmentation, suite 'busi-cls' for classification"):
        plan_suite(load_suite("busi-cls"), registry, datasets=["masks"])


def test_a_model_that_fits_no_task_of_the_suite_is_refused():
    message = refusal("busi-cls", models=["unet-resnet18-scratch"])
    assert (
        message
        == "Model 'unet-resnet18-scratch' is for enhancement and segmentation, suite 'busi-cls' for classification."
    )


def test_all_unknown_names_are_in_one_message():
    lines = refusal("demo", models=["usfm-tny", "unet"], datasets=["busy"]).splitlines()
    assert [line.split(".")[0] for line in lines] == [
        "Unknown dataset 'busy'",
        "Unknown model 'usfm-tny'",
        "Unknown model 'unet'",
    ]


def test_the_clinical_suite_without_own_data_names_the_simulated_stand_in():
    message = refusal("clinical-cls")
    assert "--datasets phantom-clinical" in message
    assert of(grid("clinical-cls", datasets=["phantom-clinical"]), "dataset") == ["phantom-clinical"]


def test_the_hint_about_own_data_names_no_other_suite_than_the_one_asked_for():
    assert "Suite 'clinical-cls'" not in refusal("demo", datasets=["clinical"])


def test_the_clinical_suite_runs_on_an_entry_called_clinical(tmp_path):
    registry = load(tmp_path, f"clinical: {MINE}")
    assert of(plan_suite(load_suite("clinical-cls"), registry), "dataset") == ["clinical"]


@pytest.mark.parametrize(
    ("look_up", "message"),
    [
        (lambda: load_suite("busi-sgs"), "Unknown suite 'busi-sgs'. Did you mean 'busi-seg'?"),
        (lambda: grid("demo", profile="quik"), "Unknown profile 'quik'. Did you mean 'quick'?"),
        (lambda: find_dataset("busi-lesions", SHIPPED), "Unknown dataset 'busi-lesions'. Did you mean 'busi-lesion'?"),
        (lambda: resolve("usfm-tny"), "Unknown model 'usfm-tny'. Did you mean 'usfm-tiny'?"),
        pytest.param(
            lambda: resolve("timm:resnet19"),
            "Unknown timm model 'resnet19'. Did you mean 'resnet18'?",
            marks=pytest.mark.skipif(find_spec("timm") is None, reason="timm knows its own names"),
        ),
        (lambda: resolve("timm:resnet18@scrtch"), "Did you mean 'timm:resnet18@scratch'?"),
        (lambda: resolve("usfm:"), "Unknown model 'usfm:'. Did you mean 'usfm'?"),
    ],
)
def test_an_unknown_name_of_any_kind_suggests_the_nearest(look_up, message):
    with pytest.raises(BenchError) as error:
        look_up()
    assert message in str(error.value)


def test_a_model_name_says_truthfully_what_the_weights_are():
    promised = {
        "usfm": "file",
        "usfm:some/file.pth": "file",
        "timm:resnet18": "hub",
        "timm:resnet18@scratch": "scratch",
    }
    assert {name: resolve(name).weights for name in promised} == promised
    filters = {name for name in MODELS if resolve(name).gives == ("image",)}  # without weights of any kind
    assert {name for name in MODELS if resolve(name).weights == "scratch"} - filters == {
        n for n in MODELS if n.endswith("-scratch")
    }
