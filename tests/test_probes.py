"""Probes: a linear classifier and nearest neighbours on features that an encoder computes once."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from sklearn.linear_model import LogisticRegression

from usfm_bench.core.errors import BenchError, TrialError, WeightsError
from usfm_bench.data import cache_folder
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.execution.run import run_trials
from usfm_bench.models import known_features
from usfm_bench.models.build import build_model
from usfm_bench.models.hub import state_sha256
from usfm_bench.models.kept import keep_weights, restore_network
from usfm_bench.models.probes import Probe
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.suites.plan import load_suite, plan_suite
from usfm_bench.training.costs import network_costs
from usfm_bench.training.device import build_fabric
from usfm_bench.training.predict import predict_logits
from usfm_bench.training.probe import NEIGHBOURS, fit_probe

RECIPE = TrainingSpec(image_size=32, epochs=1, batch_size=8, lr=1e-3)
CLASSES = SimpleNamespace(classes=("a", "b", "c"), class_counts=np.ones(3, np.int64), structures=())
MODEL = "timm:test_vit@scratch"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def nothing_is_known(monkeypatch):
    monkeypatch.setattr(known_features, "_known", {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def sides(n=36, seed=0):
    """Images whose class is a grey level, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = np.clip(60 + 60 * labels[:, None, None, None] + 30 * rng.normal(size=(n, 1, 32, 32)), 0, 255)
    return NetworkData(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels), TASKS["classification"])


def fitted(kind, train, val, model=MODEL):
    probe = build_model(f"{model}@{kind}", TASKS["classification"], CLASSES, RECIPE)
    fabric = build_fabric(RECIPE, "cpu")
    normalise = Normalise(probe.mean, probe.std)
    return probe, fit_probe(probe, train, val, RECIPE, fabric=fabric, normalise=normalise), normalise


def vectors_of(probe, data, normalise):
    with torch.inference_mode():
        return probe.vectors(normalise(data.images.float() / 255))


@pytest.mark.parametrize("model", [MODEL, "timm:test_resnet@scratch"])
def test_a_linear_probe_is_scikit_learns_regression_of_standardised_features(model):
    train, val = sides(), sides(18, 1)
    probe, progress, normalise = fitted("linear", train, val, model)
    x, x_val = (vectors_of(probe, data, normalise).double().numpy() for data in (train, val))
    best = progress.history[progress.best_epoch - 1]
    columns = probe.choices[(progress.best_epoch - 1) // 8].numpy()
    mean, deviation = x[:, columns].mean(axis=0), x[:, columns].std(axis=0)
    deviation[deviation == 0] = 1
    expected = LogisticRegression(C=best["lr"], max_iter=2000).fit((x[:, columns] - mean) / deviation, train.targets)
    with torch.no_grad():
        found = probe.read(torch.from_numpy(x_val).float())
    wanted = expected.decision_function((x_val[:, columns] - mean) / deviation)
    np.testing.assert_allclose(found.numpy(), wanted, atol=2e-3)
    assert best["val_score"] == max(row["val_score"] for row in progress.history)
    assert best["val_score"] > 0.8  # the classes are grey levels
    assert len(progress.history) == 8 * len(probe.choices)
    assert len(probe.choices) == (4 if "vit" in model else 1)  # pooled, class token, mean of patches, both


def test_neighbours_vote_by_cosine():
    train, val = sides(), sides(18, 1)
    probe, progress, normalise = fitted("knn", train, val)
    tried = [n for n in NEIGHBOURS if n <= 36]
    chosen, n = divmod(progress.best_epoch - 1, len(tried))
    columns = probe.choices[chosen]
    x, x_val = (vectors_of(probe, data, normalise)[:, columns].double().numpy() for data in (train, val))
    cosine = (x_val @ x.T) / np.linalg.norm(x_val, axis=1)[:, None] / np.linalg.norm(x, axis=1)
    near = np.argsort(-cosine, axis=1)[:, : tried[n]]
    votes = np.stack([(train.targets.numpy()[near] == k).sum(axis=1) for k in range(3)], axis=1)
    with torch.no_grad():
        found = probe.read(vectors_of(probe, val, normalise)).exp().numpy()
    np.testing.assert_allclose(found, (votes + 1 / 3) / (tried[n] + 1), atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def counted(monkeypatch):
    """Number of images that each call of an encoder gets."""
    seen = []
    real = timm.models.VisionTransformer.forward_features

    def spy(self, x, *a, **k):
        seen.append(len(x))
        return real(self, x, *a, **k)

    monkeypatch.setattr(timm.models.VisionTransformer, "forward_features", spy)
    return seen


def test_the_encoder_sees_each_image_once_whatever_asks(monkeypatch, tmp_path):
    train, val, test = sides(), sides(18, 1), sides(12, 2)
    probe, _, normalise = fitted("linear", train, val)
    weights = {key: value for key, value in probe.state_dict().items() if key.startswith("features.")}
    seen = counted(monkeypatch)

    def again(kind, part):
        other = build_model(f"{MODEL}@{kind}", TASKS["classification"], CLASSES, RECIPE)
        other.load_state_dict(weights, strict=False)
        seen.clear()
        some = NetworkData(train.images[part], train.targets[part], train.task)
        fit_probe(other, some, val, RECIPE, fabric=build_fabric(RECIPE, "cpu"), normalise=normalise)
        return other

    assert again("knn", slice(None)) is not None
    assert sum(seen) == 0
    other = again("linear", slice(0, 12))  # a part of the training side
    assert sum(seen) == 0
    first = predict_logits(other, normalise, test, 8, torch.device("cpu"))
    assert sum(seen) == 12
    assert torch.equal(predict_logits(other, normalise, test, 8, torch.device("cpu")), first)
    assert sum(seen) == 12
    other.forget()
    torch.testing.assert_close(predict_logits(other, normalise, test, 8, torch.device("cpu")), first)
    assert sum(seen) == 24


def test_a_cache_serves_another_process_and_holds_no_image(monkeypatch, tmp_path):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path))
    train, val = sides(), sides(18, 1)
    torch.manual_seed(5)
    first, _, _ = fitted("linear", train, val)
    [path] = tmp_path.iterdir()
    assert [file.path for file in cache_folder.cached_files(tmp_path)] == [path]
    assert path.stat().st_size < 60 * 4 * len(first.memory[0] if len(first.memory) else first.head.weight[0])
    known_features._known.clear()
    seen = counted(monkeypatch)
    torch.manual_seed(5)
    second, _, _ = fitted("linear", train, val)
    assert sum(seen) == 1  # the blank image by which widths are found
    assert torch.equal(first.head.weight, second.head.weight)
    path.write_bytes(b"damaged")
    known_features._known.clear()
    torch.manual_seed(5)
    assert torch.equal(fitted("linear", train, val)[0].head.weight, first.head.weight)
    assert sum(seen) > 50
    known_features._known.clear()
    cache_folder.clear(tmp_path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("USFM_BENCH_CACHE_LIMIT", "0")  # no room: computed again, and nothing is written
    assert torch.is_tensor(fitted("linear", train, val)[0].head.weight)
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("USFM_BENCH_CACHE", "none")
    monkeypatch.chdir(tmp_path)
    known_features._known.clear()
    fitted("linear", train, val)
    assert not list(tmp_path.iterdir())


def test_test_images_too_are_kept_and_old_encoders_make_room(monkeypatch, tmp_path):
    monkeypatch.setenv("USFM_BENCH_CACHE", str(tmp_path))
    train, val, test = sides(), sides(18, 1), sides(12, 2)
    probe, _, normalise = fitted("linear", train, val)
    first = predict_logits(probe, normalise, test, 8, torch.device("cpu"))
    probe.forget()
    known_features._known.clear()
    again = build_model(f"{MODEL}@linear", TASKS["classification"], CLASSES, RECIPE)
    again.load_state_dict(probe.state_dict())
    again.known = known_features.known_features(again.eval(), RECIPE.precision)
    seen = counted(monkeypatch)
    assert torch.equal(predict_logits(again, normalise, test, 8, torch.device("cpu")), first)
    assert sum(seen) == 0
    monkeypatch.setattr(known_features, "_MOST", known_features._known.popitem()[1].size)
    for _ in range(4):  # encoders of other random weights, each with fewer rows
        fitted("linear", train, val)
    assert len(known_features._known) == 2


def test_trials_share_the_encoder_of_a_file_and_what_it_costs(monkeypatch, tmp_path):
    path = tmp_path / "vit.pth"
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    train, val = sides(), sides(18, 1)
    first, _, normalise = fitted("linear", train, val, f"timm:test_vit={path}")
    fabric, before = build_fabric(RECIPE, "cpu"), state_sha256(first.encoder)
    first.forget()
    cost = network_costs(first, normalise, val.images, fabric)
    second, _, _ = fitted("knn", train, val, f"timm:test_vit={path}")
    third, _, _ = fitted("linear", train, val, f"timm:test_vit={path}")
    assert first.encoder is second.encoder is third.encoder
    assert state_sha256(third.encoder) == before
    assert torch.equal(first.head.weight, third.head.weight)
    second.forget(), third.forget()
    seen = counted(monkeypatch)
    assert network_costs(third, normalise, val.images, fabric) == cost
    assert not seen
    assert network_costs(second, normalise, val.images, fabric)["gflops"] > 0  # neighbours cost otherwise
    assert seen
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), path)  # another file under the same name
    assert fitted("linear", train, val, f"timm:test_vit={path}")[0].encoder is not first.encoder


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_a_kept_probe_says_the_same(kind, tmp_path):
    train, val = sides(), sides(18, 1)
    probe, _, normalise = fitted(kind, train, val)
    keep_weights(tmp_path / "w.safetensors", probe, tmp_path / "shared")
    dataset = load_registry()["phantom"]
    name = f"{MODEL}@{kind}"
    again = restore_network(tmp_path / "w.safetensors", name, TASKS["classification"], RECIPE, dataset, ("a", "b", "c"))
    cpu = torch.device("cpu")
    assert isinstance(again, Probe)
    torch.testing.assert_close(
        predict_logits(again, normalise, val, 8, cpu), predict_logits(probe, normalise, val, 8, cpu)
    )


def kept(folder, probe):
    keep_weights(folder / "weights.safetensors", probe, folder.parent / ".shared")
    return folder / "frozen.safetensors"


def restored(folder, kind="linear"):
    dataset, classes = load_registry()["phantom"], ("a", "b", "c")
    name, path = f"{MODEL}@{kind}", folder / "weights.safetensors"
    return restore_network(path, name, TASKS["classification"], RECIPE, dataset, classes)


def test_an_encoder_that_is_not_trained_lies_once_on_the_disk(tmp_path):
    train, val = sides(), sides(18, 1)
    folders = [tmp_path / name for name in ("linear", "knn", "copied")]
    probes = {}
    for kind in ("linear", "knn"):
        torch.manual_seed(0)
        probes[kind] = fitted(kind, train, val)[0]
    for folder in folders[:2]:
        kept(folder, probes[folder.name])
    one, other = (folder / "frozen.safetensors" for folder in folders[:2])
    assert one.stat().st_ino == other.stat().st_ino
    with safe_open(folders[0] / "weights.safetensors", framework="pt") as file:
        assert not any(name.startswith("features.") and name.endswith("weight") for name in file.keys())  # noqa: SIM118
    shutil.copytree(folders[0], folders[2])
    shutil.rmtree(tmp_path / ".shared")
    shutil.rmtree(folders[0])
    assert state_sha256(restored(folders[2]).encoder) == state_sha256(probes["linear"].encoder)
    assert state_sha256(restored(folders[1], "knn").encoder) == state_sha256(probes["knn"].encoder)


def test_a_damaged_common_file_is_not_passed_on(tmp_path):
    probe = fitted("linear", sides(), sides(18, 1))[0]
    kept(tmp_path / "one", probe)
    [common] = (tmp_path / ".shared").iterdir()
    common.unlink()
    common.write_bytes(b"damaged")
    assert kept(tmp_path / "two", probe).read_bytes() == (tmp_path / "one" / "frozen.safetensors").read_bytes()
    assert common.samefile(tmp_path / "two" / "frozen.safetensors")


def test_without_links_each_trial_has_its_own_file(tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    probe = fitted("linear", sides(), sides(18, 1))[0]
    one, other = (kept(tmp_path / name, probe) for name in ("one", "two"))
    assert one.read_bytes() == other.read_bytes()
    assert not one.samefile(other)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(Path.unlink, "is not there"), (lambda path: path.write_bytes(b"x" * 99), "damaged, .*its sha256 is not")],
)
def test_a_frozen_file_that_is_not_the_trials_is_said(tmp_path, spoil, message):
    probe = fitted("linear", sides(), sides(18, 1))[0]
    path = kept(tmp_path / "one", probe)
    spoil(path)
    with pytest.raises(WeightsError, match=f"{path}: {message}"):
        restored(tmp_path / "one")


def test_what_cannot_be_probed_is_refused_in_words():
    train = sides()
    one_less = NetworkData(train.images[:2], train.targets[:2], train.task)
    with pytest.raises(TrialError, match="no training image of class number 2"):
        fitted("linear", one_less, train)
    few = NetworkData(train.images[:4], train.targets[:4], train.task)
    _, progress, _ = fitted("knn", few, train)
    assert {row["lr"] for row in progress.history} == {1, 3}  # no more neighbours than images
    with pytest.raises(BenchError, match="does not do segmentation"):
        build_model(f"{MODEL}@knn", TASKS["segmentation"], CLASSES, RECIPE.model_copy(update={"decoder": "upernet"}))
    with pytest.raises(BenchError, match="does not do classification"):
        build_model("unet-resnet18-scratch@knn", TASKS["classification"], CLASSES, RECIPE)


@pytest.mark.parametrize("model", ["usfm-micro-scratch@linear", "timm:test_resnet@scratch@linear"])
def test_a_linear_probe_of_maps_trains_its_convolution_alone(model):
    recipe = RECIPE.model_copy(update={"decoder": "segvit" if "usfm" in model else "upernet"})
    network = build_model(model, TASKS["segmentation"], CLASSES, recipe)
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trained == {"head.weight", "head.bias"}
    images = torch.rand(2, 3, 32, 32)
    assert network.eval()(images).shape == (2, 1, 32, 32)
    network.train().loss(images, (images[:, :1] > 0.5).float()).backward()
    assert network.head.weight.grad is not None


def test_probes_run_through_a_suite_and_seeds_of_fixed_weights_agree(tmp_path, tiny_registry):
    path = tmp_path / "vit.pth"
    torch.manual_seed(1)
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    models = [f"timm:test_vit={path}@linear", f"timm:test_vit={path}@knn"]
    trials = plan_suite(
        load_suite("demo"), load_registry(tiny_registry), datasets=["tiny"], models=models, seeds=[0, 1]
    )
    told = dict.fromkeys(("tell", "say", "keep"), lambda *_: None)
    where = {"data_root": tmp_path, "runs": tmp_path / "runs", "device": "cpu", "workers": 1, "fresh": False}
    assert run_trials(trials, **where, **told).exit_code == 0
    found = [json.loads(p.read_text()) for p in sorted((tmp_path / "runs").rglob("record.json"))]
    assert len(found) == 4
    assert found[0]["scores"] == found[1]["scores"]
    assert found[2]["scores"] == found[3]["scores"]
    assert found[0]["cost"]["trained_parameters"] < 1000
