"""Families of models, the files that name models, and how a model is adapted."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, WeightsError
from usfm_bench.models import build_model, embed, load_backbone
from usfm_bench.models.weights import inspect_checkpoint
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.model import MODELS, file_sha256, load_recipe, resolve
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.suites.plan import load_suite, plan_suite

PROJECT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def torch_as_it_was():
    with torch.random.fork_rng():
        yield


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A user's folder, with weights beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("USFM_BENCH_PRETRAINED", str(tmp_path))
    return tmp_path


def build(name, task, size=64, **settings):
    torch.manual_seed(0)
    recipe = TrainingSpec(
        **{"image_size": size, "epochs": 1, "batch_size": 2, "lr": 1e-3, "decoder": "upernet"} | settings
    )
    return build_model(
        name, TASKS[task], SimpleNamespace(classes=("a", "b"), class_counts=np.array([2, 1]), structures=()), recipe
    )


def batch(task, size=64):
    images = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(1))
    return images, torch.tensor([0, 1, 1, 0]) if task == "classification" else (images[:, :1] > 0.5).float()


# Adaptation


EVERY = ["usfm-micro-scratch", "timm:vit_tiny_patch16_224@scratch", "timm:resnet18@scratch", "unet-resnet18-scratch"]


@pytest.mark.parametrize(
    ("name", "task", "decoder"),
    [
        (name, task, decoder)
        for name in EVERY
        for task, decoder in [("classification", None), ("segmentation", "segvit"), ("segmentation", "upernet")]
        if task in resolve(name).tasks and not (decoder == "segvit" and "resnet" in name)
    ],
)
def test_a_frozen_encoder_keeps_its_weights_and_statistics_and_the_rest_learns(name, task, decoder):
    network, (images, targets) = build(f"{name}@frozen", task, decoder=decoder), batch(task)
    heads = {id(p) for head in network.heads() for p in head.parameters()}
    encoder = {id(p) for p in network.encoder.parameters()} - heads
    trained = {id(p) for group in network.param_groups(weight_decay=0.05, layer_decay=0.65) for p in group["params"]}
    assert trained == {id(p) for p in network.parameters()} - encoder
    before = {key: value.clone() for key, value in network.state_dict().items()}
    network.eval()
    network.train()
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network.loss(images, targets).backward()
    optimiser.step()
    own = {id(t): key for key, t in network.state_dict(keep_vars=True).items()}
    kept = {own[id(t)] for t in network.encoder.state_dict(keep_vars=True).values()} - {own[i] for i in heads}
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert kept
    assert changed
    assert not changed & kept


def test_without_frozen_the_encoders_statistics_follow_the_images():
    network, (images, targets) = build("unet-resnet18-scratch", "segmentation"), batch("segmentation")
    before = network.encoder.bn1.running_mean.clone()
    network.train().loss(images, targets)
    assert not torch.equal(network.encoder.bn1.running_mean, before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("usfm@frozn", "Unknown adaptation 'frozn'. Did you mean 'frozen'?"),
        ("usfm@linaer", "Did you mean 'linear'? Of 'usfm' there are: full, frozen, linear, knn, lora."),
        ("unet-resnet18-scratch@adapter", "Of 'unet-resnet18-scratch' there are: full, frozen, linear, knn, lora."),
        ("usfm@frozen@full", "names two adaptations"),
        ("timm:resnet18@frozn", "Did you mean 'timm:resnet18@frozen'?"),
        ("timm:resnet18@scratch@kn", "Did you mean 'timm:resnet18@scratch'?"),
        ("tim:resnet18@scratch", "Did you mean 'timm:resnet18@scratch'?"),
        ("unet:resnet18", "Unknown model 'unet:resnet18'. Did you mean 'unet-resnet18-scratch'?"),
    ],
)
def test_an_unknown_adaptation_or_family_is_named_with_what_there_is(name, words):
    with pytest.raises(BenchError) as error:
        resolve(name)
    assert words in str(error.value)


def test_a_path_with_an_unknown_adaptation_behind_it_is_told_from_a_missing_file(tmp_path):
    path = tmp_path / "a@b.pth"
    path.write_bytes(b"")
    assert resolve(f"usfm:{path}").weight_file == path
    assert resolve(f"usfm:{path}@frozen").weight_file == path
    with pytest.raises(BenchError, match=r"Unknown adaptation 'frozn'\. Did you mean 'frozen'\?"):
        resolve(f"usfm:{path}@frozn")


def test_full_is_the_model_itself_and_not_a_second_one(tiny_registry):
    trials = plan_suite(
        load_suite("demo"),
        load_registry(tiny_registry),
        datasets=["tiny"],
        models=["usfm-micro-scratch@full", "usfm-micro-scratch", "timm:test_resnet@scratch@frozen"],
        seeds=[0],
    )
    assert [trial.model for trial in trials] == ["usfm-micro-scratch", "timm:test_resnet@scratch@frozen"]


# Files that name models


def test_a_users_file_adds_models_and_replaces_shipped_ones(here, monkeypatch):
    assert "ours" not in MODELS
    Path("models.yaml").write_text(
        "ours: {family: usfm, file: ours.pth, licence: MIT, size: 2 MB, trained_on: phantoms, "
        "seen_in_pretraining: true}\n"
        "usfm: {family: usfm, file: copy.pth, title: our copy}\n"
        "unet-resnet34: {family: unet, architecture: resnet34, weights: scratch}\n"
    )
    assert {"ours", "unet-resnet34", "usfm-tiny"} <= set(MODELS)
    assert (MODELS["usfm"].weight_file, MODELS["usfm"].sha256) == (here / "copy.pth", None)
    assert (MODELS["ours"].seen_in_pretraining, MODELS["ours"].trained_on) == (True, "phantoms")
    assert build("unet-resnet34", "segmentation").encoder is not None
    out = CliRunner().invoke(app, ["models", "list", "*ours"]).output
    assert all(
        words in out for words in ("ours  usfm", "2 MB  MIT      yes", f"missing, expected at {here / 'ours.pth'}")
    )
    other = here / "other.yaml"
    other.write_text("theirs: {family: usfm, file: /weights/theirs.pth}")
    monkeypatch.setenv("USFM_BENCH_MODELS", str(other))
    assert "ours" not in MODELS
    assert MODELS["theirs"].weight_file == Path("/weights/theirs.pth")
    monkeypatch.setenv("USFM_BENCH_MODELS", "absent.yaml")
    with pytest.raises(BenchError, match=r"USFM_BENCH_MODELS names 'absent\.yaml', and there is no such file"):
        resolve("usfm")


def test_all_faults_of_a_users_file_are_told_at_once(here):
    Path("models.yaml").write_text(
        """
a: {familyx: usfm, file: a.pth}
b: {family: usfmm, file: b.pth, sha256: 12}
c: {family: usfm, sha256: XYZ, seen_in_pretraining: maybe, mean: [0.5, 0.5]}
d: {family: timm, architecture: resnet19, file: d.pth, weights: fil}
e: {family: unet, architecture: resnet18, file: e.pth}
f: {family: timm, file: f.pth}
g: {family: timm, weights: scratch, file: g.pth}
h: {family: usfm, architecture: usfm_tiny_patch16_224, file: h.pth, recipe: {stepz: 3, model: usfm_base_patch16_224}}
i: []
"j@k": {family: usfm, file: j.pth}
l: {family: usfm, file: l.pth, std: [0, 1, 1]}
"""
    )
    with pytest.raises(BenchError) as error:
        resolve("usfm-tiny")
    lines = str(error.value).splitlines()
    expected = (
        "models.yaml: a.familyx: unknown key. Did you mean 'family'?",
        "models.yaml: a.family: is missing",
        "models.yaml: b.family: unknown model family 'usfmm'. Did you mean 'usfm'?",
        "models.yaml: b.sha256: expected text",
        "models.yaml: c.file: is missing",
        "models.yaml: c.sha256: expected text of another form",
        "models.yaml: c.seen_in_pretraining: expected true or false",
        "models.yaml: c.mean",
        "models.yaml: d.architecture: Unknown timm model 'resnet19'. Did you mean 'resnet18'?",
        "models.yaml: d.weights: expected 'file', 'hub' or 'scratch', not 'fil'. Did you mean 'file'?",
        "models.yaml: e.weights: family 'unet' has no weight files",
        "models.yaml: f.architecture: is missing",
        "models.yaml: g.file: is for models with a weight file",
        "models.yaml: g.architecture: is missing",
        "models.yaml: h.recipe.stepz: unknown key. Did you mean 'steps'?",
        "models.yaml: h.recipe.model: is 'usfm_base_patch16_224', and `architecture` is 'usfm_tiny_patch16_224'",
        "models.yaml: i: expected a mapping",
        "models.yaml: j@k: a name is of letters",
        "models.yaml: l.std.0: must be above 0",
    )
    assert [words for words in expected if not any(line.startswith(words) for line in lines)] == [], lines


@pytest.mark.parametrize("text", ["- a", "a: [", "usfm: 3"])
def test_a_users_file_of_another_form_is_an_error_in_words(here, text):
    Path("models.yaml").write_text(text)
    with pytest.raises(BenchError, match=r"models\.yaml"):
        resolve("usfm")


def test_the_hash_of_every_entry_is_checked(here):
    model = timm.create_model("vit_tiny_patch16_224", img_size=64)
    save_file(model.state_dict(), here / "vit.safetensors")
    entry = "ours: {family: timm, architecture: vit_tiny_patch16_224, file: vit.safetensors, sha256: '%s'}"
    Path("models.yaml").write_text(entry % ("0" * 64))
    for load in (
        load_backbone,
        lambda name: embed(name, torch.rand(1, 3, 64, 64)),
        lambda name: build(name, "segmentation"),
    ):
        with pytest.raises(WeightsError, match=r"the registry says 0{64}.*or use it as timm:|--allow-hash"):
            load("ours")
    Path("models.yaml").write_text(entry % file_sha256(here / "vit.safetensors") + "  # right")
    assert torch.equal(load_backbone("ours", image_size=64).blocks[0].mlp.fc1.weight, model.blocks[0].mlp.fc1.weight)


def test_a_recipe_in_a_users_file_is_used(here):
    Path("models.yaml").write_text(
        "mine: {family: usfm, architecture: usfm_micro_patch16_224, file: mine.pth, "
        "recipe: {model: usfm_micro_patch16_224, datasets: [tiny], steps: 2, masking: {patch_size: 16}}}"
    )
    assert load_recipe("mine").steps == 2
    with pytest.raises(BenchError, match="states no `recipe` for 'usfm'"):
        load_recipe("usfm")


def test_run_pretrains_on_the_data_sets_of_the_registry_that_it_was_given(here, tiny_registry):
    Path("models.yaml").write_text(
        "mine: {family: usfm, architecture: usfm_micro_patch16_224, file: mine.pth, "
        "recipe: {model: usfm_micro_patch16_224, datasets: [tiny-clinical], "
        "steps: 2, image_size: 32, batch_size: 2, threads: 1, masking: {patch_size: 16}}}"
    )
    line = [
        "run",
        "--suite",
        "busi-cls",
        "--profile",
        "smoke",
        "--datasets",
        "tiny",
        "--models",
        "mine",
        "--seeds",
        "1",
    ]
    result = CliRunner().invoke(app, [*line, "--device", "cpu", "--registry", str(tiny_registry)])
    assert result.exit_code == 0, result.output
    assert (here / "mine.pth").is_file()


# Weight files of timm's models


def trained(architecture, **settings):
    """A model with weights and statistics that are not those of a new one."""
    torch.manual_seed(5)
    model = timm.create_model(architecture, **settings)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value) * 0.01)
    return model.eval()


@pytest.mark.parametrize("architecture", ["resnet18", "vit_tiny_patch16_224"])
def test_an_entry_of_timms_family_loads_a_state_dict_whole(here, architecture):
    model = trained(architecture)
    torch.save({"state_dict": model.state_dict()}, here / "ours.pth")
    Path("models.yaml").write_text(
        f"ours: {{family: timm, architecture: {architecture}, file: ours.pth, "
        "mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}"
    )
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features((images - 0.5) / 0.5), pre_logits=True)
        torch.testing.assert_close(embed("ours", images), expected, atol=1e-4, rtol=1e-4)
    for task in TASKS:
        network = build("ours", task)
        assert network.weight_hash == file_sha256(here / "ours.pth")
        assert tuple(network.mean) == (0.5, 0.5, 0.5)
    if architecture == "resnet18":
        maps = timm.create_model(architecture, features_only=True).eval()
        found = network.encoder.features.eval()
        maps.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("fc.")})
        with torch.inference_mode():
            torch.testing.assert_close(found(images)[-1], maps(images)[-1])


def test_a_file_that_does_not_cover_a_timm_model_names_the_keys(here):
    state = timm.create_model("resnet18").state_dict()
    lost = {key: value for key, value in state.items() if key != "layer4.1.conv2.weight"} | {"extra": torch.zeros(2)}
    torch.save(lost, here / "ours.pth")
    Path("models.yaml").write_text("ours: {family: timm, architecture: resnet18, file: ours.pth}")
    for task in TASKS:
        with pytest.raises(WeightsError, match=r"1 missing: layer4\.1\.conv2\.weight; 1 unexpected: extra"):
            build("ours", task)


# A family of one's own


@pytest.fixture
def lab():
    """The example of docs/adding.md."""
    text = (PROJECT / "docs" / "adding.md").read_text(encoding="utf-8")
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "FAMILIES.register" in c)
    exec(code, {"__name__": "lab"})
    yield FAMILIES["lab"]
    del FAMILIES._entries["lab"]


def test_the_family_that_the_docs_show_loads_whole_or_names_the_keys(lab, here):
    model = trained("vit_tiny_patch16_224", num_classes=0)
    state = {f"encoder.{key}": value for key, value in model.state_dict().items()} | {
        "projection.weight": torch.ones(2, 2)
    }
    torch.save(state, here / "lab.pth")
    found = inspect_checkpoint(here / "lab.pth")
    assert (found["family"], found["architecture"]) == ("lab", "vit_tiny_patch16_224")
    assert found["not part of the encoder"] == ["projection.weight"]
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        expected = model((images - 0.45) / 0.225)
    for name in (here / "lab.pth", "lab:lab.pth", "lab:lab.pth@frozen"):
        torch.testing.assert_close(embed(name, images), expected, atol=1e-4, rtol=1e-4)
    assert load_backbone("lab:lab.pth", image_size=64).pos_embed.shape == (1, 17, 192)
    for task in TASKS:
        assert build("lab:lab.pth", task).weight_hash == file_sha256(here / "lab.pth")
    with pytest.raises(BenchError, match="50 is not a multiple of its patch, 16"):
        build("lab:lab.pth", "classification", size=50)
    del state["encoder.blocks.3.attn.qkv.bias"]
    torch.save(state, here / "lab.pth")
    with pytest.raises(WeightsError, match=r"does not cover the lab's encoder. 1 missing: blocks\.3\.attn\.qkv\.bias"):
        load_backbone("lab:lab.pth")
    with pytest.raises(WeightsError, match="1 missing"):
        inspect_checkpoint(here / "lab.pth")
    torch.save({"other": torch.ones(2)}, here / "lab.pth")
    with pytest.raises(
        WeightsError, match=r"names of no family of models. Say which it is: FAMILY:\S+, of .*lab, .*usfm"
    ):
        load_backbone(here / "lab.pth")
    assert "lab:PATH" in CliRunner().invoke(app, ["models", "list"]).output


def test_every_family_says_what_the_seam_promises():
    for name, family in FAMILIES.items():
        assert family.name == name
        assert family.title
        assert len(family.mean) == len(family.std) == 3
        assert family.gives
        assert any(entry.family == name for entry in MODELS.values()) or family.usage


@pytest.mark.slow
def test_lists_and_plans_need_neither_torch_nor_timm_and_the_encoders_are_registered_once_timm_is_there():
    code = """
import sys
import usfm_bench.models
from usfm_bench.specs.model import MODELS, resolve
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.specs.dataset import load_registry
models = [name for name in MODELS if "segmentation" in resolve(name).tasks]
models += ["timm:resnet50", "timm:vit_tiny_patch16_224@scratch@frozen"]
plan_suite(load_suite("busi-seg"), load_registry(), models=models)
assert not {"torch", "timm"} & set(sys.modules), sorted(sys.modules)
import timm
assert timm.is_model("usfm_tiny_patch16_224")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
