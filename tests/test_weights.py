"""Checkpoints: the published format loads whole, and what does not fit is an error that names the keys."""

import os
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from scipy.interpolate import RectBivariateSpline
from scipy.optimize import brentq
from timm.layers import resize_rel_pos_bias_table

from usfm_bench.core.errors import BenchError, WeightsError, WeightsMissingError
from usfm_bench.core.files import file_sha256
from usfm_bench.models import build_model, load_backbone
from usfm_bench.models.checkpoint import read_checkpoint
from usfm_bench.models.weights import inspect_checkpoint
from usfm_bench.models.zoo.usfm_encoder import build_usfm
from usfm_bench.models.zoo.usfm_tables import published_table
from usfm_bench.specs.model import resolve
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec

pytestmark = pytest.mark.usefixtures("one_thread")
SHARED = "rel_pos_bias.relative_position_bias_table"
MICRO = {"embed_dim": 96, "depth": 3, "num_heads": 3}
# timm's own interpolation warns about what it does to torch.
resizes_tables = pytest.mark.filterwarnings("ignore:torch.searchsorted", "ignore:Using a non-tuple sequence")


def random_state(**settings):
    """A state dict of the micro size as the published file has it: flat, with a mask token and an index buffer."""
    draw = torch.Generator().manual_seed(0)
    parameters = build_usfm(**MICRO, **settings).state_dict()
    state = {key: torch.randn(value.shape, generator=draw) * 0.02 for key, value in parameters.items()}
    index = {"rel_pos_bias.relative_position_index": torch.zeros(197, 197, dtype=torch.long)}
    return state, {"mask_token": torch.zeros(1, 1, 96)} | index


@pytest.fixture(scope="module")
def state():
    return random_state()[0]


@pytest.fixture
def save(tmp_path):
    def write(content, name="weights.pth"):
        path = tmp_path / name
        save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path)
        return path

    return write


def assert_holds(model, state):
    parameters = dict(model.named_parameters())
    assert set(parameters) == set(state)
    assert all(torch.equal(parameters[key], value) for key, value in state.items())


def test_the_published_format_loads_every_parameter(save):
    state, extra = random_state()
    assert_holds(load_backbone(save(state | extra)), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: {"model": s},
        lambda s: {"model": s, "optimizer": {"lr": 0.1}, "epoch": 3},
        lambda s: {"state_dict": s},
        lambda s: {f"module.{key}": value for key, value in s.items()},
        lambda s: {"state_dict": {f"module.backbone.{key}": value for key, value in s.items()}},
        lambda s: s | {"head.weight": torch.zeros(3, 96), "head.bias": torch.zeros(3)},
    ],
    ids=["model", "model and more", "state_dict", "module.", "state_dict and prefixes", "a classifier"],
)
def test_common_wrappings_are_seen_through(save, state, wrap):
    assert_holds(load_backbone(save(wrap(state))), state)


def test_safetensors_load_like_pickles(save, state):
    assert_holds(load_backbone(save(state, "weights.safetensors")), state)


def test_a_path_is_a_model_name_too(save, state):
    path = save(state)
    recipe = TrainingSpec(image_size=224, epochs=1, batch_size=1, lr=1e-3, decoder="segvit")
    model = build_model(f"usfm:{path}", TASKS["segmentation"], SimpleNamespace(structures=()), recipe)
    assert_holds(model.backbone, state)
    assert model.weight_hash == file_sha256(path)


def test_the_architecture_is_read_from_the_files_own_shapes(save):
    small = build_usfm(embed_dim=64, depth=2, num_heads=4, mlp_ratio=2, img_size=96)
    found = inspect_checkpoint(save(small.state_dict() | {"mask_token": torch.zeros(1, 1, 64)}))
    sizes = {"embed_dim": 64, "depth": 2, "num_heads": 4, "mlp_ratio": 2, "grid": 6, "use_rel_pos_bias": False}
    assert found == {"family": "usfm"} | sizes | {
        "parameters": sum(p.numel() for p in small.parameters()),
        "not part of the encoder": ["mask_token"],
    }
    assert load_backbone(save(small.state_dict())).patch_embed.grid_size == (6, 6)


def without(state, *keys):
    return {key: value for key, value in state.items() if key not in keys}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: without(s, "blocks.1.gamma_1", "fc_norm.bias"), ["2 missing", "blocks.1.gamma_1", "fc_norm.bias"]),
        (lambda s: s | {"pos_embed": torch.zeros(1, 197, 96)}, ["1 unexpected", "pos_embed"]),
        (lambda s: s | {"cls_token": torch.zeros(1, 2, 96)}, ["cls_token", "(1, 2, 96)", "(1, 1, 96)"]),
        (lambda s: s | {"patch_embed.proj.weight": torch.zeros(96, 1, 16, 16)}, ["(96, 1, 16, 16)", "(96, 3, 16, 16)"]),
        (lambda s: s | {SHARED: torch.zeros(700, 3)}, [SHARED, "(700, 3)"]),
        (lambda s: s | {SHARED: torch.zeros(732, 5)}, ["of another shape", "blocks.0"]),
        (lambda s: s | {"blocks.9.gamma_1": torch.zeros(96)}, ["missing", "blocks.3.gamma_1", "more"]),
        (lambda s: without(s, SHARED), [SHARED]),
        (lambda s: without(s, "patch_embed.proj.weight"), ["patch_embed.proj.weight"]),
        (lambda s: {"conv1.weight": torch.zeros(1)}, ["names of no family", "usfm"]),
        (lambda s: {}, ["holds no state dict of tensors"]),
    ],
)
def test_a_file_that_does_not_cover_the_model_is_an_error_that_names_the_keys(save, state, change, words):
    path = save(change(state))
    with pytest.raises(WeightsError) as error:
        load_backbone(path)
    assert all(word in str(error.value) for word in [str(path), *words])


@pytest.mark.parametrize(
    "change",
    [
        {SHARED: torch.zeros(732)},
        {SHARED: torch.zeros(732, 0)},
        {SHARED: torch.zeros(2, 3)},
        {"blocks.0.mlp.fc1.weight": torch.zeros(())},
        {"patch_embed.proj.weight": torch.zeros(())},
        {"blocks.first.gamma_1": torch.zeros(96)},
        {0: torch.zeros(1)},
    ],
)
def test_shapes_and_keys_of_no_sense_are_an_error_of_the_file(save, state, change):
    with pytest.raises(WeightsError, match=r"weights\.pth"):
        load_backbone(save(state | change))


@resizes_tables
def test_a_table_of_no_square_grid_cannot_be_resized(save, state):
    with pytest.raises(WeightsError, match=r"700"):
        load_backbone(save(state | {SHARED: torch.zeros(700, 3)}), image_size=256)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": [1]}, torch.zeros(3), "text"])
def test_content_without_a_state_dict_is_an_error(save, content):
    with pytest.raises(WeightsError, match="holds no state dict"):
        load_backbone(save(content))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_with_code_gives_its_tensors_and_is_not_run(tmp_path, state, legacy):
    path, marker = tmp_path / "trap.pth", tmp_path / "ran"
    torch.save({"model": state, "extra": Trap(marker)}, path, _use_new_zipfile_serialization=not legacy)
    assert_holds(load_backbone(path), state)
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # so the trap was live


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_an_error_that_names_it(save, state, name, share):
    path = save(state, name)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(WeightsError, match=path.name):
        load_backbone(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=20) | st.binary(max_size=20).map(lambda tail: b"\x80\x02" + tail))
@example(b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>")
@example(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 343\n")
@example(pickle.dumps([1, 2]))
@example(b".")
def test_bytes_that_are_no_checkpoint_are_an_error(tmp_path, content):
    path = tmp_path / "download.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"download\.pth"):
        read_checkpoint(path)


def test_missing_published_weights_say_where_they_come_from(tmp_path, monkeypatch):
    expected = tmp_path / resolve("usfm").weight_file.name
    monkeypatch.setattr("usfm_bench.models.weights.resolve", lambda name: replace(resolve(name), weight_file=expected))
    with pytest.raises(WeightsMissingError) as error:
        load_backbone("usfm")
    assert all(words in str(error.value) for words in (str(expected), "Google Drive", "CC BY-NC 4.0"))


@pytest.mark.parametrize("name", ["folder/absent.pth", "absent.safetensors"])
def test_a_missing_file_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsMissingError, match=name):
        load_backbone(name)


def test_a_name_that_is_neither_file_nor_model_gets_a_suggestion():
    with pytest.raises(BenchError, match="Did you mean 'usfm'"):
        load_backbone("usfmm")


def table(model):
    return model.rel_pos_bias.relative_position_bias_table.detach()


@resizes_tables
@pytest.mark.parametrize("image_size", [64, 160, 256])
def test_another_input_size_resizes_the_tables_as_timm_does(save, state, image_size):
    grid = image_size // 16
    model = load_backbone(save(state), image_size=image_size)
    expected = resize_rel_pos_bias_table(state[SHARED], (grid, grid), ((2 * grid - 1) ** 2 + 3, 3))
    assert torch.equal(table(model), expected)
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, image_size, image_size)).isfinite().all()


def test_the_published_resize_is_repeated_with_its_swapped_axes(save, state):
    # Offsets 1, 1 + q, 1 + q + q^2, ... reach 19 in 13 steps; found here by another search than the code's own.
    ratio = brentq(lambda q: sum(q**i for i in range(13)) - 19, 1.01, 1.5)
    outward = np.cumsum([ratio**i for i in range(13)])
    offsets = [*-outward[::-1], 0.0, *outward]
    wanted = np.arange(-19.0, 20)
    model = load_backbone(save(state), image_size=320, legacy_transpose=True)
    found = table(model)[:-3].view(39, 39, 3)
    for head in range(3):
        square = state[SHARED][:-3, head].view(27, 27).double().numpy()  # rows are vertical offsets
        upright = RectBivariateSpline(offsets, offsets, square)(wanted, wanted)
        np.testing.assert_allclose(found[..., head], upright.T, atol=1e-5, rtol=0)
        assert not np.allclose(found[..., head], upright, atol=1e-3, rtol=0)
    assert torch.equal(table(model)[-3:], state[SHARED][-3:])


@pytest.mark.parametrize("size", [256, 272, 304, 336, 384, 416, 448, 480])
def test_sizes_at_which_the_published_resize_gives_nan_are_refused(save, state, size):
    with pytest.raises(WeightsError, match=rf"image_size {size}: .*NaN.* 224, 240, 288, 320, 352, .* 512, .* 1024 px"):
        load_backbone(save(state), image_size=size, legacy_transpose=True)


@pytest.mark.parametrize("size", [96, 240, 288, 352, 512, 640, 768, 1024])
def test_the_sizes_at_which_the_published_resize_works_are_computed(size):
    draw = torch.Generator().manual_seed(0)
    assert published_table(torch.randn(732, 1, generator=draw), size // 16).isfinite().all()


def test_a_table_too_small_for_the_published_resize_is_named():
    with pytest.raises(WeightsError, match="2 x 2 tokens is too small"):
        published_table(torch.zeros(12, 3), 14)


def test_the_legacy_flag_changes_nothing_at_the_files_own_size(save, state):
    assert_holds(load_backbone(save(state), image_size=224, legacy_transpose=True), state)


def test_tables_of_each_block_load(save):
    state, extra = random_state(use_rel_pos_bias=True)
    assert "blocks.2.attn.relative_position_bias_table" in state
    assert_holds(load_backbone(save(state | extra)), state)


@resizes_tables
def test_a_shared_table_and_its_copies_in_each_block_give_the_same_features(save, state):
    copies = {f"blocks.{i}.attn.relative_position_bias_table": state[SHARED] for i in range(3)}
    images = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        one, other = (
            load_backbone(save(content), image_size=96).eval()(images)
            for content in (state, without(state, SHARED) | copies)
        )
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_drop_path_grows_with_depth_and_keeps_the_weights(save, state):
    model = load_backbone(save(state), drop_path=0.2)
    assert [getattr(block.drop_path1, "drop_prob", 0) for block in model.blocks] == pytest.approx([0, 0.1, 0.2])
    assert_holds(model, state)


def test_the_fixture_reproduces_what_the_published_architecture_computes(usfm_fixtures):
    expected = np.load(usfm_fixtures / "usfm_format_tiny_expected.npz")
    model = load_backbone(usfm_fixtures / "usfm_format_tiny.pth").eval()
    tokens = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: tokens.append(output.numpy()))
    with torch.inference_mode():
        pooled = model(torch.from_numpy(expected["image"])).numpy()
    for i, output in enumerate(tokens):
        np.testing.assert_allclose(output, expected[f"block_{i}"], atol=1e-5, rtol=0)
    assert len(tokens) == 3
    np.testing.assert_allclose(pooled, expected["pooled"], atol=1e-5, rtol=0)
