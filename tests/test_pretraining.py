"""Pre-training end to end on small phantoms: weights, resume, several processes, leakage, faults."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from published_usfm import published_shapes
from usfm_bench.cli.app import app
from usfm_bench.core.errors import BenchError, TrialError, WeightsError
from usfm_bench.data.dataset import open_dataset
from usfm_bench.data.splits import split_dataset
from usfm_bench.models import load_backbone
from usfm_bench.pretraining import weights as weights_module
from usfm_bench.pretraining.card import card_path, read_card, seen_in_pretraining
from usfm_bench.pretraining.data import load_images
from usfm_bench.pretraining.loop import learning_rate, pretrain
from usfm_bench.pretraining.model import MaskedAutoencoder
from usfm_bench.specs.dataset import OwnSplit, load_registry
from usfm_bench.specs.model import load_recipe, resolve
from usfm_bench.specs.pretraining import Options, build_spec
from usfm_bench.specs.split import SplitSpec

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = {
    "model": "usfm_micro_patch16_224",
    "datasets": ["tiny"],
    "image_size": 32,
    "steps": 12,
    "batch_size": 8,
    "warmup_steps": 2,
    "masking": {"patch_size": 16, "base_bandwidth": 2, "protected": 1},
    "threads": 1,
}


@pytest.fixture
def registry(tiny_registry):
    return load_registry(tiny_registry)


@pytest.fixture
def train(tmp_path, registry):
    """Pre-trains with changed settings and returns the options, whose `out` holds the weights.

    No picture is drawn unless asked for: it takes longer than the training.
    """

    def run(name="w.pth", *, tell=lambda row: None, options=None, **changes):
        spec = build_spec(TINY | changes, "test")
        chosen = Options(out=tmp_path / name, log_every=4, checkpoint_every=5, **({"sheet_every": 0} | (options or {})))
        pretrain(spec, load_images(spec, registry, tmp_path), chosen, tell)
        return chosen

    return run


def history_of(options):
    return list(csv.DictReader(options.out.with_suffix(".csv").read_text().splitlines()))


def state_of(path):
    return torch.load(path, weights_only=True)


def assert_same_weights(one, other, **tolerance):
    first, second = state_of(one), state_of(other)
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, **(tolerance or {"atol": 0, "rtol": 0}))


@pytest.mark.parametrize("method", ["usfm", "spatial", "frequency"])
def test_every_method_writes_weights_that_load_and_a_history_that_falls(train, method):
    options = train(method=method, steps=40, lr=3e-3, options={"sheet_every": 40 if method == "usfm" else 0})
    backbone = load_backbone(options.out)
    assert backbone.embed_dim == 96
    rows = history_of(options)
    assert [int(float(row["step"])) for row in rows][-1] == 40
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[-1]["ratio"]) == pytest.approx(float(rows[-1]["frequency"]) / float(rows[-1]["spatial"]))
    if method == "usfm":
        assert options.out.with_suffix(".png").stat().st_size > 10_000
    assert not options.state.exists()


def test_the_file_has_the_keys_and_the_form_of_the_published_one(train):
    ours = state_of(train().out)
    assert {key: tuple(value.shape) for key, value in ours.items()} == published_shapes(96, 3, 3, grid=2)
    whole_numbers = {key for key, value in ours.items() if value.dtype != torch.float32}
    assert whole_numbers == {"rel_pos_bias.relative_position_index"}


def test_the_fixture_of_the_published_file_has_those_keys_too(usfm_fixtures):
    path = usfm_fixtures / "usfm_published_tiny.pth"
    if not path.exists():
        pytest.skip(f"{path.name} is not in {usfm_fixtures}")
    assert {key: tuple(value.shape) for key, value in state_of(path).items()} == published_shapes(96, 3, 3)


def test_the_base_size_is_written_as_the_188_published_tensors():
    with torch.device("meta"):
        model = MaskedAutoencoder("usfm_base_patch16_224", 224)
        wanted = dict(model.encoder.named_parameters()) | dict(model.encoder.named_buffers())
    shapes = {key: tuple(value.shape) for key, value in wanted.items() if not key.endswith("k_bias")}
    assert shapes | {"mask_token": (1, 1, 768)} == published_shapes(768, 12, 12)


def test_the_norm_of_tokens_is_trained_and_every_reading_loads(train):
    out = train(steps=40, lr=3e-3).out
    weight = state_of(out)["norm.weight"]
    assert (weight - 1).abs().max() > 1e-3
    assert torch.equal(load_backbone(out, reading="own-norm").norm.weight, weight)
    assert torch.equal(load_backbone(out, reading="renamed").fc_norm.weight, weight)
    assert torch.equal(load_backbone(out).fc_norm.weight, torch.ones(96))


def test_a_checkpoint_of_the_earlier_form_is_not_continued(train, tmp_path):
    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tell=lambda row: stop(row) if row["step"] > 5 else None)
    state = tmp_path / "w.pth.state"
    content = state_of(state)
    del content["spec"]["version"]
    torch.save(content, state)
    with pytest.raises(BenchError, match="version: null -> 2"):
        train(options={"resume": True})
    torch.save({"spec": state_of(state)["spec"] | {"version": 2}}, state)
    with pytest.raises(BenchError, match="is no whole checkpoint of `usfm-bench pretrain`: no history, model"):
        train(options={"resume": True})


def test_the_card_says_how_and_from_what(train):
    options = train()
    card = read_card(options.out)
    assert card.recipe.steps == 12
    assert card.recipe_hash == card.recipe.hash
    assert card.sources["tiny"]["images"] == len(card.seen)
    assert "training side" in card.sources["tiny"]["side"]
    assert str(options.out.parent) not in card_path(options.out).read_text()


def test_the_same_settings_give_the_same_bits_and_another_seed_others(train):
    one, same, other = train("a.pth"), train("b.pth"), train("c.pth", seed=1)
    assert one.out.read_bytes() != other.out.read_bytes()
    assert_same_weights(one.out, same.out)


def test_accumulated_micro_batches_give_the_gradient_of_the_whole(train):
    assert_same_weights(train("a.pth").out, train("b.pth", accumulate=2).out, atol=2e-4, rtol=1e-2)


def test_an_interrupted_training_goes_on_with_the_same_bits(train, monkeypatch):
    whole = train("whole.pth", steps=24)

    def stop(row):
        if row["step"] == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("parts.pth", steps=24, tell=stop)
    parts = train("parts.pth", steps=24, options={"resume": True})
    assert_same_weights(whole.out, parts.out)
    columns = ("step", "loss", "ratio")
    histories = [[[row[c] for c in columns] for row in history_of(o)] for o in (whole, parts)]
    assert histories[0] == histories[1]


def command(out, registry_file, *more):
    line = ["--datasets", "tiny", "--model", "usfm_micro_patch16_224", "--steps", "60"]
    for setting in ("image_size=32", "batch_size=8", "threads=1", "checkpoint_every=10"):
        line += ["--set", setting]
    line += ["--set", "masking={patch_size: 16, base_bandwidth: 2, protected: 1}"]
    line += ["--registry", str(registry_file), "--out", str(out)]
    return [sys.executable, "-m", "usfm_bench", "pretrain", *line, *more]


def call(*arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_a_killed_process_loses_nothing_and_several_processes_learn_the_same(tmp_path, tiny_registry):
    whole, parts, two = (tmp_path / f"{name}.pth" for name in ("whole", "parts", "two"))
    first = call(*command(whole, tiny_registry))
    killed = call(*command(parts, tiny_registry))
    state = parts.with_name("parts.pth.state")
    while not state.exists() and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL, "it ended before it could be killed"
    step = state_of(state)["step"]
    resumed = call(*command(parts, tiny_registry, "--resume"))
    pair = call(*command(two, tiny_registry, "--devices", "2"))
    for process in (first, resumed, pair):
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert 10 <= step < 60
    assert_same_weights(whole, parts)
    # Gradients of two processes are added in another order.
    assert_same_weights(whole, two, atol=2e-3, rtol=1e-2)
    assert read_card(two).environment["devices"] == 2


def test_another_architecture_or_other_data_is_not_resumed(train):
    def stop(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tell=lambda row: stop(row) if row["step"] > 5 else None)
    with pytest.raises(BenchError, match="holds half-done work: --resume continues it"):
        train()
    with pytest.raises(BenchError, match=r"model: \"usfm_micro_patch16_224\" -> \"usfm_tiny_patch16_224\""):
        train(model="usfm_tiny_patch16_224", options={"resume": True})
    with pytest.raises(BenchError, match=r"sources|datasets"):
        train(datasets=["tiny-clinical"], options={"resume": True})


def test_resuming_nothing_starts_and_a_damaged_checkpoint_is_named(train, tmp_path):
    assert_same_weights(train("a.pth", options={"resume": True}).out, train("b.pth").out)
    (tmp_path / "w.pth.state").write_bytes(b"not a checkpoint")
    with pytest.raises(BenchError, match="cannot be read"):
        train(options={"resume": True})


def test_a_nan_loss_is_an_error_and_the_last_good_checkpoint_is_kept(train, monkeypatch):
    from usfm_bench.pretraining import losses as module

    real = module.reconstruction_loss
    calls = []

    def spoiled(*arguments):
        calls.append(1)
        losses = real(*arguments)
        return losses._replace(total=losses.total * float("nan")) if len(calls) == 7 else losses

    monkeypatch.setattr(module, "reconstruction_loss", spoiled)
    with pytest.raises(TrialError, match=r"the loss is nan at step 8 of 12\. The checkpoint .*w\.pth\.state is kept"):
        train()
    monkeypatch.setattr(module, "reconstruction_loss", real)
    assert read_card(train(options={"resume": True}).out).recipe.steps == 12


def test_a_batch_that_does_not_divide_is_an_error(train):
    with pytest.raises(BenchError, match="batch_size 8 is not a multiple of 1 devices x 3"):
        train(accumulate=3)
    with pytest.raises(BenchError, match="batch_size 8 is not a multiple of 3 devices x 1"):
        train(options={"devices": 3})


def test_weights_that_are_not_finite_are_never_kept(train):
    with pytest.raises(TrialError, match="weights are not finite at step 1 of 1"):
        train(steps=1, lr=1e38, warmup_steps=0)


def test_weights_under_another_files_card_are_of_unknown_origin(train, registry, tmp_path):
    one, other = train("one.pth", steps=2), train("other.pth", steps=2, seed=1)
    other.out.write_bytes(one.out.read_bytes())
    assert read_card(other.out) is None
    assert leak_of(other, registry, tmp_path) is None


@pytest.mark.parametrize("place", ["file/x.pth", "x.pth"])
def test_an_output_that_cannot_be_written_is_said_before_training(train, tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BenchError, match="cannot be written"):
        train(f"file/{place}")


def test_unknown_data_sets_are_named_all_at_once(train):
    with pytest.raises(BenchError, match=r"(?s)'tin'.*Did you mean 'tiny'.*'nowhere'"):
        train(datasets=["tin", "nowhere"])


def test_the_learning_rate_warms_up_and_falls_along_a_cosine():
    spec = build_spec(TINY | {"steps": 10, "warmup_steps": 4, "lr": 1.0}, "test")
    rates = [learning_rate(spec, step) for step in range(10)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.5)
    assert rates[9] == pytest.approx(0.5 * (1 + np.cos(np.pi * 5 / 6)))


def leak_of(options, registry, tmp_path, split_seed=0):
    dataset = open_dataset(registry["tiny"], tmp_path)
    test = dataset.subset(split_dataset(dataset, SplitSpec(seed=split_seed), 0, task="classification").test)
    entry = resolve(f"usfm:{options.out}")
    return seen_in_pretraining(entry, read_card(options.out), dataset, test)


def test_only_training_images_are_seen_unless_all_are_asked_for(train, registry, tmp_path):
    clean, dirty = train("clean.pth", steps=2), train("dirty.pth", steps=2, all_images=True)
    assert leak_of(clean, registry, tmp_path) is False
    assert leak_of(dirty, registry, tmp_path) is True
    # Another split has other test images, some of which were training images here.
    assert leak_of(clean, registry, tmp_path, split_seed=5) is True
    assert leak_of(train("fits.pth", steps=2, split_seed=5), registry, tmp_path, split_seed=5) is False


def test_what_related_data_sets_test_on_is_not_seen_either(registry, tmp_path):
    a = registry["tiny"].model_copy(update={"name": "a"})
    listed = OwnSplit(kind="file", file="a.csv")
    lesion = registry["tiny-lesion"].model_copy(update={"name": "a-lesion", "split": listed})
    spec = build_spec(TINY | {"datasets": ["a"]}, "test")
    alone = load_images(spec, {"a": a}, tmp_path)
    # Drawn sides of both lie within one another; a list can have any case on its test side.
    lesions = open_dataset(registry["tiny-lesion"], tmp_path)
    tested = [s for s in lesions.samples if s.pixel_hash in set(alone.pixel_hashes)][:3]
    sides = {s.case.case_id: "test" if s in tested else "train" for s in lesions.samples}
    (tmp_path / "a.csv").write_text("case_id,split\n" + "".join(f"{i},{side}\n" for i, side in sides.items()))
    seen = load_images(spec, load_registry() | {"a": a, "a-lesion": lesion}, tmp_path)
    assert len(tested) == 3
    assert set(alone.pixel_hashes) - set(seen.pixel_hashes) == {s.pixel_hash for s in tested}


def test_without_a_card_the_registry_says_what_was_seen(tmp_path, registry):
    dataset = open_dataset(registry["tiny"], tmp_path)
    assert seen_in_pretraining(resolve("usfm"), None, dataset, dataset) is None
    assert seen_in_pretraining(resolve("usfm-tiny-scratch"), None, dataset, dataset) is False


@pytest.fixture
def demo_recipe(monkeypatch, tmp_path):
    """The demo's recipe, cut to a few steps; weights go to a folder of the test."""
    recipe = load_recipe("usfm-micro").model_copy(update={"steps": 4, "threads": 1, "datasets": ("phantom-lesion",)})
    monkeypatch.setattr(weights_module, "load_recipe", lambda name: recipe)
    from dataclasses import replace

    from usfm_bench.specs import model as catalog

    real = catalog.MODELS["usfm-micro"]
    moved = replace(real, weight_file=tmp_path / "pretrained" / "usfm_micro.pth")
    monkeypatch.setitem(catalog.MODELS._entries, "usfm-micro", moved)
    return moved.weight_file


def run_demo(tmp_path, tiny_registry, models):
    line = [
        "run",
        "--suite",
        "demo",
        "--datasets",
        "tiny-lesion",
        "--models",
        models,
        "--seeds",
        "1",
        "--device",
        "cpu",
    ]
    line += ["--device", "cpu", "--registry", str(tiny_registry), "--runs", str(tmp_path / "runs")]
    return CliRunner().invoke(app, line)


def records(tmp_path):
    found = sorted((tmp_path / "runs").rglob("record.json"))
    return {r["spec"]["model"]: r for r in (json.loads(path.read_text()) for path in found)}


def test_a_dry_run_says_what_would_be_pretrained(tmp_path, tiny_registry, demo_recipe):
    line = ["run", "--suite", "demo", "--datasets", "tiny-lesion", "--models", "usfm-micro", "--seeds", "1"]
    line += ["--dry-run", "--registry", str(tiny_registry), "--runs", str(tmp_path / "runs")]
    assert "to do, but its weights are pre-trained first" in CliRunner().invoke(app, line).output
    assert not demo_recipe.exists()


def test_run_pretrains_what_is_missing_and_loads_it_from_then_on(tmp_path, tiny_registry, demo_recipe):
    result = run_demo(tmp_path, tiny_registry, "usfm-micro,usfm-micro@frozen")
    assert result.exit_code == 0, result.output
    assert "Pre-training by its recipe: 4 steps" in result.output
    written = demo_recipe.stat().st_mtime_ns
    found = records(tmp_path)
    assert set(found) == {"usfm-micro", "usfm-micro@frozen"}
    card = read_card(demo_recipe)
    assert {name: record["reading"] for name, record in found.items()} == dict.fromkeys(found, "published")
    for record in found.values():
        assert record["pretraining_hash"] == card.recipe_hash
        assert record["weight_hash"] == card.weight_hash
        assert record["seen_in_pretraining"] is False
    again = run_demo(tmp_path, tiny_registry, "usfm-micro")
    assert again.exit_code == 0, again.output
    assert demo_recipe.stat().st_mtime_ns == written


def test_weights_of_another_recipe_are_left_alone_and_named(tmp_path, tiny_registry, demo_recipe, monkeypatch):
    assert run_demo(tmp_path, tiny_registry, "usfm-micro").exit_code == 0
    recipe = weights_module.load_recipe("usfm-micro")
    monkeypatch.setattr(weights_module, "load_recipe", lambda name: recipe.model_copy(update={"lr": 0.5}))
    with pytest.raises(WeightsError, match="was pre-trained by another recipe"):
        weights_module.ensure_weights(resolve("usfm-micro"), load_registry(tiny_registry), tmp_path, "cpu", print)


def test_every_recipe_of_the_registry_is_valid_and_its_data_exists():
    content = yaml.safe_load((Path(__file__).parents[1] / "pretrained" / "registry.yaml").read_text())
    recipes = {name: load_recipe(name) for name, entry in content.items() if "recipe" in entry}
    assert "usfm-micro" in recipes
    for name, recipe in recipes.items():
        assert set(recipe.datasets) <= set(load_registry()), name
        assert recipe.model == content[name]["architecture"]


@pytest.mark.parametrize("more", [["--set", "image_size=64"], ["--set", "image_size=80", "--method", "frequency"]])
def test_the_masks_are_drawn_without_training(tmp_path, tiny_registry, more):
    line = ["pretrain", "--datasets", "tiny", "--registry", str(tiny_registry), *more]
    result = CliRunner().invoke(app, [*line, "--show-masks", str(tmp_path / "masks.png")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "masks.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--out FILE is missing"),
        (["--out", "weights.pt"], "ends in .pth or .safetensors"),
        (["--out", "w.pth", "--set", "masking.ratio=2"], "--set masking.ratio: must be at most 1, not 2"),
    ],
)
def test_faults_of_the_command_are_one_message(tmp_path, tiny_registry, more, words):
    result = CliRunner().invoke(app, ["pretrain", "--datasets", "tiny", "--registry", str(tiny_registry), *more])
    assert words in str(result.exception)
    assert isinstance(result.exception, BenchError)


def test_no_step_writes_the_weights_that_training_starts_from(tmp_path, tiny_registry):
    line = ["pretrain", "--datasets", "tiny", "--registry", str(tiny_registry), "--model", "usfm_micro_patch8_64"]
    line += ["--set", "image_size=64", "--set", "masking.patch_size=8", "--device", "cpu", "--steps"]
    states = []
    for steps in ("0", "1"):
        out = tmp_path / f"{steps}.safetensors"
        result = CliRunner().invoke(app, [*line, steps, "--out", str(out)])
        assert result.exit_code == 0, result.output
        states.append(load_file(out))
    card = read_card(tmp_path / "0.safetensors")
    assert (card.images_seen, card.final, card.pretrained.images_seen, card.pretrained.flops) == (0, {}, 0, 0)
    assert states[0].keys() == states[1].keys()
    assert 0 < max((states[0][key] - states[1][key]).abs().max() for key in states[0]) < 0.01  # one step of warm-up


def test_no_picture_is_written_where_none_is_wanted(train):
    assert not train(options={"sheet_every": 0}).out.with_suffix(".png").exists()


def test_half_precision_on_a_cpu_trains(train):
    rows = []
    train(precision="bf16", tell=rows.append)
    assert np.isfinite([row["loss"] for row in rows]).all()


def test_tensorboard_is_asked_for_by_name_where_it_is_missing(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BenchError, match="pip install tensorboard"):
        train(options={"tensorboard": tmp_path / "board"})


def test_masking_of_normalised_images_and_drop_path_resume_with_the_same_bits(train):
    changes = {"masking": TINY["masking"] | {"normalised": True, "magnitude": True}, "drop_path": 0.2}

    def stop(row):
        if row["step"] == 8:
            raise KeyboardInterrupt

    whole = train("whole.pth", **changes)
    with pytest.raises(KeyboardInterrupt):
        train("parts.pth", tell=stop, **changes)
    assert_same_weights(whole.out, train("parts.pth", options={"resume": True}, **changes).out)
