"""The published USFM file: readings of its norm, other names of its tensors, what is wrong with a file, its hash."""

import argparse
import hashlib
import json
import math
import pickle
import struct
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from published_usfm import TABLE, hugging_face, pooled_of, published_shapes, published_state, tokens_of
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, WeightsError
from usfm_bench.core.files import file_sha256
from usfm_bench.models import build_model, embed, load_backbone
from usfm_bench.models.weights import inspect_checkpoint
from usfm_bench.specs import model as catalog
from usfm_bench.specs.family import FAMILIES
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import READINGS, TrainingSpec

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # timm's own interpolation warns about what it does to torch.
    pytest.mark.filterwarnings("ignore:torch.searchsorted", "ignore:Using a non-tuple sequence"),
]
IMAGES = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
MEAN, STD = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
NORMALISED = (IMAGES - MEAN) / STD
RECIPE = {"image_size": 224, "epochs": 1, "batch_size": 1, "lr": 1e-3}


@pytest.fixture(scope="module")
def state():
    return published_state()


@pytest.fixture(scope="module")
def tokens(state):
    return tokens_of(state, NORMALISED)


@pytest.fixture
def save(tmp_path):
    def write(content, name="weights.pth"):
        path = tmp_path / name
        save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
        return path

    return write


def features(model, images=NORMALISED):
    with torch.inference_mode():
        return model.eval()(images)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def fine_tuned(state):
    """As the published code saves a fine-tuned classifier: a table in each block, `fc_norm`, a head."""
    rest = {key: value for key, value in state.items() if not key.startswith(("norm.", "rel_pos_bias", "mask_token"))}
    rest |= {f"blocks.{i}.attn.relative_position_bias_table": state[TABLE] for i in range(3)}
    rest |= {f"blocks.{i}.attn.relative_position_index": torch.zeros(197, 197, dtype=torch.long) for i in range(3)}
    rest |= {f"fc_norm.{part}": state[f"norm.{part}"] for part in ("weight", "bias")}
    return rest | {"head.weight": torch.zeros(2, 96), "head.bias": torch.zeros(2)}


@pytest.mark.parametrize("reading", READINGS)
def test_the_fixture_of_the_published_file_gives_each_readings_features(usfm_fixtures, reading):
    path = usfm_fixtures / "usfm_published_tiny.pth"
    if not path.exists():
        pytest.skip(f"{path.name} is not in {usfm_fixtures}")
    expected = np.load(path.with_name("usfm_published_tiny_expected.npz"))
    model, blocks = load_backbone(path, reading=reading).eval(), []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: blocks.append(output.numpy()))
    pooled = features(model, torch.from_numpy(expected["image"])).numpy()
    for i, output in enumerate(blocks):
        np.testing.assert_allclose(output, expected[f"block_{i}"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(pooled, expected[f"pooled_{reading.replace('-', '_')}"], atol=1e-5, rtol=0)
    if reading == "own-norm":
        with torch.inference_mode():
            class_token = model.forward_features(torch.from_numpy(expected["image"]))[:, 0]
        np.testing.assert_allclose(class_token, expected["class_token_own_norm"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("reading", READINGS)
def test_each_reading_is_what_an_independent_forward_pass_computes(save, state, tokens, reading):
    model = load_backbone(save(state), reading=reading)
    close(features(model), pooled_of(state, tokens[-1], reading))
    with torch.inference_mode():
        maps = model.forward_intermediates(NORMALISED, indices=[1, 2], intermediates_only=True, output_fmt="NLC")
    for found, expected in zip(maps, tokens[1:], strict=True):
        close(found, expected[:, 1:])  # decoders take outputs of blocks, before any last norm


def test_the_reading_is_published_unless_told(save, state, tokens):
    close(features(load_backbone(save(state))), pooled_of(state, tokens[-1], "published"))


@pytest.mark.slow
def test_a_file_of_the_published_size_loads(save):
    shapes = published_shapes(768, 12, 12)
    numbers = sum(math.prod(shape) for shape in shapes.values())
    assert (len(shapes), numbers) == (188, 85_704_937)
    full = {key: torch.full(shape, 0.01) for key, shape in shapes.items()}
    full["rel_pos_bias.relative_position_index"] = torch.zeros(197, 197, dtype=torch.long)
    path = save(full)
    with pytest.MonkeyPatch.context() as patch:
        named = replace(catalog.MODELS["usfm"], weight_file=path, sha256=None)
        patch.setitem(catalog.MODELS._entries, "usfm", named)
        model = load_backbone("usfm", reading="own-norm")
    assert sum(p.numel() for p in model.parameters()) == 85_665_360
    assert all((p == full[key]).all() for key, p in model.named_parameters())


@pytest.mark.parametrize("version", [4, 5])
def test_the_names_of_transformers_load(save, state, tokens, version):
    path = save(hugging_face(state, version), "model.safetensors")
    close(features(load_backbone(path, reading="own-norm")), pooled_of(state, tokens[-1], "own-norm"))
    # A pooler that averages patches has its norm after the mean, as `fc_norm`.
    path = save({f"beit.{key}": value for key, value in hugging_face(state, version, "fc_norm").items()})
    close(features(load_backbone(path)), pooled_of(state, tokens[-1], "renamed"))


def test_fine_tuned_files_are_loaded_as_they_are(save, state, tokens):
    for content in (fine_tuned(state), {"model": {f"module.{key}": v for key, v in fine_tuned(state).items()}}):
        close(features(load_backbone(save(content))), pooled_of(state, tokens[-1], "renamed"))


@pytest.mark.parametrize("reading", READINGS)
def test_a_file_with_fc_norm_leaves_no_choice_of_reading(save, state, reading):
    with pytest.raises(WeightsError, match=rf"reading '{reading}'.*has `fc_norm`.*Leave the reading out"):
        load_backbone(save(fine_tuned(state)), reading=reading)


def test_norm_and_fc_norm_together_and_unknown_readings_are_named(save, state):
    with pytest.raises(WeightsError, match=r"both `norm`.*and `fc_norm`"):
        load_backbone(save(state | {"fc_norm.weight": torch.ones(96), "fc_norm.bias": torch.ones(96)}))
    with pytest.raises(BenchError, match=r"Unknown reading 'own_norm'\. Did you mean 'own-norm'"):
        load_backbone(save(state), reading="own_norm")


@pytest.mark.parametrize("task", ["classification", "segmentation"])
@pytest.mark.parametrize(("suffix", "head"), [("", "published"), ("@frozen", "own-norm")])
def test_a_network_says_how_the_norm_was_read(save, state, tokens, task, suffix, head):
    name = f"usfm:{save(state)}{suffix}"
    train = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
    build = partial(build_model, name, TASKS[task], train)
    network = build(TrainingSpec(**RECIPE, decoder="segvit"))
    assert network.reading == (head if task == "classification" else "published")
    if task == "classification":
        with torch.inference_mode():
            backbone = network.eval().backbone
            found = backbone.forward_head(backbone.forward_features(NORMALISED), pre_logits=True)
        close(found, pooled_of(state, tokens[-1], head))
        assert build(TrainingSpec(**RECIPE, reading="renamed")).reading == "renamed"


def test_a_recipe_without_a_reading_keeps_its_hash():
    assert "reading" not in TrainingSpec(**RECIPE).model_dump(mode="json")
    assert TrainingSpec(**RECIPE, reading="own-norm").model_dump(mode="json")["reading"] == "own-norm"


def test_a_reading_is_a_setting_of_classification_alone(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: smoke\nsegmentation: {reading: own-norm}\n")
    result = CliRunner().invoke(app, ["run", "--suite", "demo", "--profile", str(path), "--dry-run"])
    assert "reading: is a setting of classification alone" in str(result.exception)


# What is wrong with a file


def without_blocks(state, *numbers):
    return {key: value for key, value in state.items() if not key.startswith(tuple(f"blocks.{n}." for n in numbers))}


def test_one_tensor_under_two_keys_is_refused_unless_the_numbers_are_equal(save, state, tokens):
    twin = {"module.blocks.1.gamma_1": state["blocks.1.gamma_1"].clone()}
    close(features(load_backbone(save(state | twin))), pooled_of(state, tokens[-1], "published"))
    twin["module.blocks.1.gamma_1"][5] += 1e-3
    with pytest.raises(WeightsError, match=r"1 tensors twice.*: blocks\.1\.gamma_1 and module\.blocks\.1\.gamma_1\."):
        load_backbone(save(state | twin))
    with pytest.raises(WeightsError, match=r"twice.*: model\.norm\.bias and state_dict\.norm\.bias\."):
        load_backbone(save({"model": state, "state_dict": state | {"norm.bias": torch.ones(96)}}))
    assert load_backbone(save({"model": state, "state_dict": dict(state)})).embed_dim == 96


@pytest.mark.parametrize(
    ("lost", "words"),
    [((2,), r"of 3 blocks, 1 are not there: blocks\.2; "), ((1,), r"of 3 blocks, 1 are not there: blocks\.1; ")],
)
def test_blocks_that_are_missing_are_named(save, state, lost, words):
    with pytest.raises(WeightsError, match=words):
        load_backbone(save(without_blocks(state, *lost)))


def test_a_registered_name_has_its_own_architecture(save, state, monkeypatch):
    named = replace(catalog.MODELS["usfm-tiny"], weight_file=save(state))
    monkeypatch.setitem(catalog.MODELS._entries, "usfm-tiny", named)
    with pytest.raises(WeightsError, match=r"width 96 and 3 heads, and usfm_tiny_patch16_224 has 192 and 3"):
        load_backbone("usfm-tiny")
    longer = published_state(depth=4)
    named = replace(named, architecture="usfm_micro_patch16_224", weight_file=save(longer))
    monkeypatch.setitem(catalog.MODELS._entries, "usfm-tiny", named)
    with pytest.raises(WeightsError, match="has 4 blocks, and usfm_micro_patch16_224 has 3"):
        load_backbone("usfm-tiny")


def quantised(value):
    return torch.quantize_per_tensor(value, 0.01, 0, torch.qint8)


@pytest.mark.parametrize(
    ("key", "change", "words"),
    [
        ("blocks.1.gamma_1", lambda v: v * float("nan"), r"1 with NaN or infinite numbers: blocks\.1\.gamma_1"),
        ("norm.bias", lambda v: v / 0, r"1 with NaN or infinite numbers: norm\.bias"),
        (TABLE, lambda v: v.double() * 1e300, rf"1 with NaN or infinite numbers: {TABLE}"),
        (
            "blocks.0.mlp.fc1.weight",
            lambda v: v.long(),
            r"not of floating-point .*: blocks\.0\.mlp\.fc1\.weight \(int64",
        ),
        ("blocks.0.gamma_1", lambda v: v > 0, r"blocks\.0\.gamma_1 \(bool\)"),
        ("norm.weight", lambda v: v.to(torch.complex64), r"norm\.weight \(complex64\)"),
        ("blocks.0.attn.proj.weight", torch.Tensor.to_sparse, r"1 sparse: blocks\.0\.attn\.proj\.weight"),
        ("cls_token", lambda v: v.to("meta"), r"1 without numbers .*: cls_token"),
        ("blocks.2.mlp.fc2.weight", quantised, r"not of floating-point .*: blocks\.2\.mlp\.fc2\.weight \(qint8\)"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # torch on quantised tensors
def test_tensors_that_no_encoder_can_use_are_named(save, state, key, change, words):
    with pytest.raises(WeightsError, match=words):
        load_backbone(save(state | {key: change(state[key])}))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [224, 96])
def test_other_precisions_and_strides_load(save, state, dtype, size):
    content = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    content["blocks.0.mlp.fc1.weight"] = content["blocks.0.mlp.fc1.weight"].T.contiguous().T
    model = load_backbone(save(content), image_size=size)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.blocks[0].mlp.fc1.weight, content["blocks.0.mlp.fc1.weight"].float())
    assert features(model, NORMALISED[..., :size, :size]).isfinite().all()


def test_tables_of_blocks_that_differ_in_shape_are_named(save, state):
    odd = fine_tuned(state) | {"blocks.1.attn.relative_position_bias_table": torch.zeros(700, 3)}
    with pytest.raises(WeightsError, match=r"differ in shape: blocks\.0.* \(732, 3\), blocks\.1.* \(700, 3\)"):
        load_backbone(save(odd), image_size=96)


class Scaler:
    """Of the code that a checkpoint comes from."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "extra",
    [argparse.Namespace(lr=1), np.float64(0.5), Scaler(), OrderedDict(a=Scaler(), b=argparse.Namespace())],
    ids=["settings", "a number of NumPy", "of unknown code", "several"],
)
def test_objects_beside_the_tensors_are_left_where_they_are(tmp_path, state, extra, zipped):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": state, "args": extra}, path, _use_new_zipfile_serialization=zipped)
    close(embed(path, IMAGES), embed(f"usfm:{path}", IMAGES))
    torch.save(state, tmp_path / "plain.pth")
    close(embed(path, IMAGES), embed(tmp_path / "plain.pth", IMAGES))


def test_a_plain_pickle_holds_no_tensors(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"norm.weight": np.ones(3), "twice": [Scaler(), Scaler()]}))
    with pytest.raises(WeightsError, match=r"not a readable checkpoint|holds no state dict"):
        load_backbone(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"epoch,loss\n1,0.5\n", "it is text"),
        (b"\n<!DOCTYPE html><html>Quota exceeded", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a", "git lfs pull"),
        (b"PK\x03\x04" + b"\x00" * 500, "its end is missing after 504 bytes"),
        (struct.pack("<Q", 1 << 60) + b'{"a":', "header too large"),
        (b"\x80\x02}q\x00(", "damaged, cut off"),
    ],
)
def test_a_file_that_is_no_checkpoint_says_what_it_is(tmp_path, content, words):
    path = tmp_path / "USFM_latest.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"USFM_latest\.pth: not a readable checkpoint.*{words}"):
        load_backbone(path)


def test_the_form_of_a_file_is_read_from_its_content(save, state, tmp_path):
    save(state, "a.safetensors").rename(tmp_path / "a.pth")
    save(state, "b.pth").rename(tmp_path / "b.safetensors")
    for path in (tmp_path / "a.pth", tmp_path / "b.safetensors"):
        assert load_backbone(path).embed_dim == 96


def test_a_program_and_an_archive_of_other_files_are_named(tmp_path):
    import zipfile

    for member, words in (("model/constants.pkl", "TorchScript program"), ("USFM/readme.txt", "USFM/readme.txt")):
        path = tmp_path / "weights.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, b"x")
        with pytest.raises(WeightsError, match=words):
            load_backbone(path)
    with pytest.raises(WeightsError, match="it is a folder"):
        inspect_checkpoint(tmp_path)


def test_inspect_says_which_readings_there_are_and_refuses_what_does_not_cover(save, state):
    assert inspect_checkpoint(save(state))["readings of its norm"] == list(READINGS)
    with pytest.raises(WeightsError, match=r"1 missing: norm\.bias"):
        inspect_checkpoint(save({key: value for key, value in state.items() if key != "norm.bias"}))


# The hash


@pytest.fixture
def registered(save, state, monkeypatch):
    """`usfm` stands for a file of the micro size, and the registry knows another hash."""

    def register(sha256):
        entry = replace(
            catalog.MODELS["usfm"], architecture="usfm_micro_patch16_224", weight_file=save(state), sha256=sha256
        )
        monkeypatch.setitem(catalog.MODELS._entries, "usfm", entry)
        return entry.weight_file

    return register


def test_a_registered_name_loads_the_registered_file_alone(registered, tokens, state):
    path = registered("0" * 64)
    right = file_sha256(path)
    for load in (load_backbone, partial(embed, images=IMAGES)):
        with pytest.raises(WeightsError, match=rf"sha256 is {right}, the registry says 0{{64}}\..*--allow-hash"):
            load("usfm")
    expected = pooled_of(state, tokens[-1], "published")
    close(features(load_backbone("usfm", allow_hash=True)), expected)
    close(features(load_backbone(f"usfm:{path}")), expected)
    registered(right)
    close(features(load_backbone("usfm")), expected)


def test_the_registry_states_the_published_file():
    result = CliRunner().invoke(app, ["models", "show", "usfm"])
    for words in (
        "d5fdab3edd140e4ca61471bb4087f91cd7ff2ce270db71b9cab30feda881bd17",
        "1KRwXZgYterH895Z8EpXpR1L1eSMMJo4q",
        "https://dl.orangedox.com/FDUUSFM",
        "CC BY-NC 4.0",
        "pretrained/USFM_latest.pth",
    ):
        assert words in result.output


def test_show_says_that_another_file_lies_there(registered):
    path = registered("0" * 64)
    assert f"another file is here: its sha256 is {file_sha256(path)}" in CliRunner().invoke(
        app, ["models", "show", "usfm"]
    ).output.replace("\n", " ")


def test_a_hash_is_computed_once_and_again_when_the_file_changes(tmp_path, monkeypatch):
    import os

    path, opened = tmp_path / "w.pth", []
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: opened.append(1) or real(*a))
    first = file_sha256(path)
    assert file_sha256(path) == first
    assert len(opened) == 1
    path.write_bytes(b"two")  # as long, in the same tick of the clock perhaps
    assert file_sha256(path) != first
    assert file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def run_suite(tmp_path, tiny_registry, *more, dataset="tiny", suite="busi-cls"):
    line = ["run", "--suite", suite, "--profile", "smoke", "--datasets", dataset, "--seeds", "1", "--device", "cpu"]
    return CliRunner().invoke(app, [*line, "--registry", str(tiny_registry), "--runs", str(tmp_path / "runs"), *more])


def report_of(tmp_path, *more):
    line = ["report", "--suite", "busi-cls", "--profile", "smoke", "--runs", str(tmp_path / "runs"), *more]
    return CliRunner().invoke(app, line).output


@pytest.mark.slow
def test_other_weights_fail_in_words_and_are_marked_where_they_are_allowed(registered, tmp_path, tiny_registry):
    path = registered("0" * 64)
    models = ["--models", "usfm,usfm@frozen"]
    result = run_suite(tmp_path, tiny_registry, *models)
    assert result.exit_code == 2
    assert "the registry says" in " ".join(result.output.split())
    result = run_suite(tmp_path, tiny_registry, *models, "--allow-hash")
    assert result.exit_code == 0, result.output
    found = [json.loads(p.read_text()) for p in sorted((tmp_path / "runs").rglob("record.json"))]
    assert [r["reading"] for r in found] == ["published", "own-norm"]
    assert {r["registered_hash"] for r in found} == {"0" * 64}
    assert {r["weight_hash"] for r in found} == {file_sha256(path)}
    table = " ".join(report_of(tmp_path).split())
    assert "NOT THE REGISTERED WEIGHTS (--allow-hash)" in table
    assert "published for usfm (classification); own-norm for usfm@frozen (classification)" in table
    report_of(tmp_path, "--format", "html", "--out", str(tmp_path / "page"))
    assert "not the registered file, norm: published" in "".join(
        page.read_text(encoding="utf-8") for page in (tmp_path / "page").rglob("*.html")
    )
    assert run_suite(tmp_path, tiny_registry, *models).exit_code == 0  # finished results are kept


def test_weights_as_registered_are_not_marked(registered, tmp_path, tiny_registry):
    registered(file_sha256(registered(None)))
    assert run_suite(tmp_path, tiny_registry, "--models", "usfm").exit_code == 0
    assert "NOT THE REGISTERED" not in report_of(tmp_path)


# Features


def test_embedded_features_are_what_an_independent_forward_pass_computes(save, state, tokens):
    path = save(state)
    normed = torch.nn.functional.layer_norm(tokens[-1], (96,), state["norm.weight"], state["norm.bias"], eps=1e-6)
    for name in (path, str(path), f"usfm:{path}", f"usfm:{path}@frozen"):
        close(embed(name, IMAGES), normed[:, 1:].mean(dim=1))
    close(embed(path, IMAGES, what="class"), normed[:, 0])
    close(embed(path, IMAGES, what="patches"), normed[:, 1:])
    for reading in READINGS:
        close(embed(path, IMAGES, reading=reading), pooled_of(state, tokens[-1], reading))
    found = embed(path, IMAGES.numpy())
    assert (found.shape, found.dtype, found.requires_grad) == ((2, 96), torch.float32, False)


def test_embedded_features_of_a_file_with_fc_norm_pass_it_as_it_is(save, state, tokens):
    path = save(fine_tuned(state))
    close(embed(path, IMAGES), pooled_of(state, tokens[-1], "renamed"))
    close(embed(path, IMAGES, what="class"), tokens[-1][:, 0])


def test_a_weight_file_that_changes_is_read_again(save, state):
    path = save(state)
    first = embed(path, IMAGES)
    save(published_state(seed=1))
    assert not torch.allclose(embed(path, IMAGES), first)


@pytest.mark.parametrize("size", [96, 224])
def test_features_of_a_batch_are_those_of_its_images_and_nothing_is_drawn(size):
    images, before = IMAGES[..., :size, :size], torch.random.get_rng_state()
    for name in ("usfm-micro-scratch", "timm:resnet18@scratch", "timm:vit_tiny_patch16_224@scratch"):
        whole = embed(name, images)
        close(whole, torch.cat([embed(name, images[:1]), embed(name, images[1:])]))
        assert whole.ndim == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_tokens_of_timm_models_leave_class_and_register_tokens_out():
    import timm

    name = "vit_small_patch16_dinov3"
    patches = embed(f"timm:{name}@scratch", IMAGES, what="patches")
    assert patches.shape == (2, 196, 384)
    assert embed(f"timm:{name}@scratch", IMAGES, what="class").shape == (2, 384)
    assert timm.is_model(name)


def test_the_normalisation_of_hub_weights_is_their_own(monkeypatch):
    import timm

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: create(*a, **(k | {"pretrained": False})))
    name = "timm:vit_tiny_patch16_224"
    half = (0.5 * STD + MEAN - 0.5) / 0.5  # what 0.5 / 0.5 makes of a grey level that ImageNet's makes 0.5
    assert FAMILIES[catalog.resolve(name).family].is_plain(catalog.resolve(name).architecture)
    found, seen = [], []
    real = timm.models.VisionTransformer.forward_features
    monkeypatch.setattr(
        timm.models.VisionTransformer, "forward_features", lambda self, x: seen.append(x) or real(self, x)
    )
    found.append(embed(name, (0.5 * STD + MEAN).expand(1, 3, 224, 224)))
    close(seen[0], half.expand(1, 3, 224, 224))
    assert found[0].shape == (1, 192)


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("unet-resnet18-scratch", {}, "is a U-Net"),
        ("timm:resnet18@scratch", {"what": "class"}, "has no tokens, and so no 'class' features"),
        ("timm:resnet18@scratch", {"what": "patches"}, "has no tokens"),
        ("timm:vit_base_patch16_siglip_224@scratch", {"what": "class"}, "has no class token"),
        ("usfm-micro-scratch", {"what": "pool"}, "Did you mean 'pooled'"),
        ("usfm-mikro-scratch", {}, "Did you mean 'usfm-micro-scratch'"),
        ("usfm-micro-scratch", {"images": IMAGES[..., :50, :50]}, "50 px are not a multiple of its patch, 16"),
        ("usfm-micro-scratch", {"images": IMAGES[0]}, r"of shape \(3, 224, 224\)"),
        ("usfm-micro-scratch", {"images": IMAGES[:, :1]}, r"expected \(B, 3, S, S\)"),
        ("usfm-micro-scratch", {"images": IMAGES[..., :96]}, r"of shape \(2, 3, 224, 96\)"),
        ("usfm-micro-scratch", {"images": IMAGES[:0]}, r"of shape \(0, 3, 224, 224\)"),
        ("usfm-micro-scratch", {"images": NORMALISED}, r"range from -\S+ to \S+; expected \[0, 1\]"),
        ("usfm-micro-scratch", {"images": (IMAGES * 255).byte()}, "divide by 255"),
        ("usfm-micro-scratch", {"images": IMAGES * float("nan")}, "NaN"),
    ],
)
def test_features_that_do_not_exist_are_refused_in_words(model, settings, words):
    with pytest.raises(BenchError, match=words):
        embed(model, **({"images": IMAGES} | settings))
