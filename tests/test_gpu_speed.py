"""What makes training fast on a GPU changes no result: shown on a CPU. Counts are in test_gpu_budgets.py."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from usfm_bench.core.errors import TrialError
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import FlipsAndTurns, build_augmentation
from usfm_bench.models import build_model
from usfm_bench.models.pooled_products import ProductPool
from usfm_bench.models.segvit import segvit_loss
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training import checkpoint as kept
from usfm_bench.training import device
from usfm_bench.training.checkpoint import Checkpoint, Progress

BASE = {"image_size": 32, "epochs": 1, "batch_size": 4, "lr": 1e-3}


def recipe(**changes):
    return TrainingSpec.model_validate(BASE | changes)


@pytest.mark.parametrize("names", [["hflip"], ["vflip", "hflip"], ["rot90"], ["rot90", "hflip", "vflip"]])
def test_flips_and_turns_are_kornias_draws_without_interpolation(names):
    rng = np.random.default_rng(0)
    augment = build_augmentation(names, "mask")
    assert isinstance(augment, FlipsAndTurns)
    for seed in range(8):
        images = torch.from_numpy(rng.random((6, 1, 32, 32), dtype=np.float32))
        masks = torch.from_numpy((rng.random((6, 2, 32, 32)) < 0.3).astype(np.float32))
        torch.manual_seed(seed)
        theirs, drawn = augment._changes(images, masks), torch.get_rng_state()
        torch.manual_seed(seed)
        ours = augment(images, masks)
        assert torch.equal(torch.get_rng_state(), drawn)
        torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-4 if "rot90" in names else 0)
        assert torch.equal(ours[1], theirs[1])
        assert torch.equal(ours[0].flatten(1).sort()[0], images.flatten(1).sort()[0])  # pixels move, none is computed


def test_other_changes_stay_with_kornia():
    assert not isinstance(build_augmentation(["hflip", "affine"], "mask"), FlipsAndTurns)


def test_batches_are_rows_in_the_order_asked_for():
    images = torch.arange(5 * 4, dtype=torch.uint8).reshape(5, 1, 2, 2)
    data = NetworkData(images, torch.arange(5), TASKS["classification"])
    order = np.array([3, 0, 0, 4, 2])
    cpu = torch.device("cpu")
    assert data.near(cpu) is data
    batches = list(data.batches(2, cpu, order))
    assert [len(batch) for batch, _ in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([batch for batch, _ in batches]), images[order].float() / 255)
    assert torch.cat([labels for _, labels in batches]).tolist() == order.tolist()


@pytest.mark.parametrize("structures", [1, 2])
def test_the_loss_of_segvit_counts_absent_masks_by_nothing(structures):
    torch.manual_seed(0)
    targets = torch.zeros(4, structures, 32, 32)
    targets[0, 0, 5:20, 6:30] = targets[1, -1] = targets[2, 0, 1, 1] = 1
    wanted = torch.cat([1 - targets.amax(1, keepdim=True), targets], 1)
    n = structures + 1
    stages = [(torch.randn(4, n, n + 1), 3 * torch.randn(4, n, 8, 8)) for _ in range(3)]
    expected = torch.zeros(())
    for classes, masks in stages:  # mask by mask, with those left out that are absent
        large = F.interpolate(masks, size=(32, 32), mode="bilinear", align_corners=False)
        pairs = [(large[b, k], wanted[b, k]) for b in range(4) for k in range(n) if wanted[b, k].any()]
        focal = torch.stack([sigmoid_focal_loss(x, y, reduction="mean") for x, y in pairs]).mean()
        dice = torch.stack([1 - 2 * (x.sigmoid() * y).sum() / (x.sigmoid() + y).sum() for x, y in pairs]).mean()
        labels = torch.tensor([[k if wanted[b, k].any() else n for k in range(n)] for b in range(4)])
        weight = torch.tensor([1.0] * n + [0.1])
        entropy = F.cross_entropy(classes.flatten(0, 1), labels.flatten(), weight=weight)
        expected += 20 * focal + dice + entropy
    torch.testing.assert_close(segvit_loss(stages, targets), expected)


@pytest.mark.parametrize("side", [16, 7])
@pytest.mark.parametrize("size", [2, 3, 6])
def test_pooling_by_products_is_adaptive_pooling(side, size):
    x = torch.randn(2, 3, side, side + 1, requires_grad=True)
    torch.testing.assert_close(ProductPool((size, size))(x), F.adaptive_avg_pool2d(x, size))
    [ours] = torch.autograd.grad(ProductPool((size, size))(x).pow(2).sum(), x)
    [theirs] = torch.autograd.grad(F.adaptive_avg_pool2d(x, size).pow(2).sum(), x)
    torch.testing.assert_close(ours, theirs)


def test_a_deterministic_recipe_leaves_no_adaptive_pooling_to_several_bins():
    train = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
    for deterministic, pools in ((False, 3), (True, 0)):
        spec = recipe(decoder="upernet", image_size=64, deterministic=deterministic)
        model = build_model("usfm-micro-scratch", TASKS["segmentation"], train, spec).eval()
        found = [m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool2d) and m.output_size not in (1, (1, 1))]
        assert len(found) == pools


def test_switches_of_a_recipe_are_set_for_each_trial_anew(monkeypatch):
    said = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", lambda on: None)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", said.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # the user's own stays
    for part, name in ((torch.backends.cudnn, "allow_tf32"), (torch.backends.cudnn, "deterministic")):
        monkeypatch.setattr(part, name, getattr(part, name))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cuda, "matmul", SimpleNamespace(allow_tf32=False))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    seen = []
    for changes in ({"tf32": True}, {"deterministic": True}, {"cudnn_benchmark": True}, {}):
        spec = recipe(precision="fp32", **changes)
        device.set_up_process("fp32", None, "cuda", **{key: getattr(spec, key) for key in device._SWITCHES})
        cudnn = torch.backends.cudnn
        seen.append((torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark))
    assert seen == [(True, True, False, False), (False, False, True, False), (False, False, False, True), (False,) * 4]
    assert said == [False, True, False, False]


def test_switches_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="keep one"):
        recipe(deterministic=True, cudnn_benchmark=True)


def test_switches_change_no_hash_where_they_are_off():
    later = {"tf32", "deterministic", "cudnn_benchmark", "compile"}
    assert not later & recipe().model_dump(mode="json").keys()
    assert recipe(compile=True).model_dump(mode="json")["compile"] is True


@pytest.fixture
def fitted():
    model = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_a_checkpoint_holds_the_moment_of_its_saving(tmp_path, fitted, monkeypatch):
    go_on, write = threading.Event(), kept.write_atomic

    def slow(*arguments):
        assert go_on.wait(10)
        write(*arguments)

    monkeypatch.setattr(kept, "write_atomic", slow)
    model, optimizer = fitted
    before = model.weight.detach().clone()
    with Checkpoint(tmp_path / "state.pt", model, optimizer) as checkpoint:
        progress = Progress(epoch=1, history=[{"loss": 1.0}])
        checkpoint.best.update(weight=before.clone())
        checkpoint.save(progress)  # comes back although nothing is written
        with torch.no_grad():
            model.weight.zero_()
        progress.history.append({"loss": 2.0})
        checkpoint.best["weight"].zero_()
        checkpoint.save(progress)  # the first is still being written: this one is left out
        go_on.set()
    again = Checkpoint(tmp_path / "state.pt", model, optimizer)
    assert again.load() == Progress(epoch=1, history=[{"loss": 1.0}])
    assert torch.equal(model.weight, before)
    assert torch.equal(again.best["weight"], before)


def test_a_checkpoint_that_cannot_be_written_fails_the_trial(tmp_path, fitted):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrialError, match="state"), Checkpoint(tmp_path / "file" / "state.pt", *fitted) as checkpoint:
        checkpoint.save(Progress(epoch=1))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_compiled_loss_trains_like_the_plain_one(task):
    from usfm_bench.data.transforms import Normalise
    from usfm_bench.training.finetune import finetune

    train = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 1, 32, 32), generator=draw, dtype=torch.uint8)
    targets = torch.arange(8) % 2 if task == "classification" else (images > 128).to(torch.uint8)
    data = NetworkData(images, targets, TASKS[task])
    losses = []
    for compiled in (False, True):
        spec = recipe(epochs=3, compile=compiled, decoder=None if task == "classification" else "segvit")
        torch.manual_seed(0)
        model = build_model("usfm-micro-scratch", TASKS[task], train, spec)
        fabric = device.device_fabric("fp32", 1, "cpu")
        normalise = Normalise(model.mean, model.std)
        progress = finetune(model, data, data, spec, seed=0, fabric=fabric, normalise=normalise)
        assert "loss" not in vars(model)
        assert progress.dtypes["evaluation"] == ["float32"]
        losses.append([row["loss"] for row in progress.history])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
