"""The precision that a trial computes with is the one that it records; shown on the CPU, where bf16 works too."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.models import build_model
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training import finetune as finetuning
from usfm_bench.training.device import build_fabric, describe_device, device_fabric
from usfm_bench.training.dtypes import used_precision, watch_dtypes
from usfm_bench.training.finetune import _step, finetune
from usfm_bench.training.optim import build_optimizer
from usfm_bench.training.predict import predict_logits, validate

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 32
NETWORKS = {
    "SegViT": ("segmentation", "usfm-micro-scratch", {"decoder": "segvit"}),
    "frozen SegViT": ("segmentation", "usfm-micro-scratch@frozen", {"decoder": "segvit"}),
    "UPerNet": ("segmentation", "usfm-micro-scratch", {"decoder": "upernet"}),
    "timm UPerNet": ("segmentation", "timm:resnet10t@scratch", {"decoder": "upernet"}),
    "U-Net": ("segmentation", "unet-resnet18-scratch", {}),
    "classifier": ("classification", "usfm-micro-scratch", {"layer_decay": 0.65}),
    "frozen classifier": ("classification", "usfm-micro-scratch@frozen", {}),
    "timm ViT": ("classification", "timm:test_vit@scratch", {}),
    "timm CNN": ("classification", "timm:resnet10t@scratch", {"loss": "focal", "class_weights": "balanced"}),
}
"""Every kind of network; each loss and decoder is in one of them."""


def recipe(**settings):
    plain = {"image_size": SIZE, "epochs": 1, "batch_size": 4, "lr": 1e-4, "drop_path": 0.1, "threads": 1}
    return TrainingSpec(**plain | settings)


def toy(task):
    """Four images and their targets."""
    images = torch.randint(0, 256, (4, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    if task == "classification":
        return NetworkData(images, torch.tensor([0, 1, 0, 1]), TASKS[task])
    return NetworkData(images, (images > 128).to(torch.uint8), TASKS[task])


def network(kind, **settings):
    task, name, own = NETWORKS[kind]
    spec = recipe(**own | settings)
    train = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
    model = build_model(name, TASKS[task], train, spec)
    return model, spec, toy(task)


class Products(list):
    """Dtypes of every matrix product and convolution, forward and backward, as torch dispatches them."""

    def __enter__(self):
        found = self

        class Mode(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                out = func(*args, **(kwargs or {}))
                name = func.overloadpacket.__name__
                if name in {"mm", "addmm", "bmm", "baddbmm", "linear", "matmul"} or "conv" in name:
                    found.extend({t.dtype for t in (out if isinstance(out, tuple) else (out,)) if t is not None})
                return out

        self.mode = Mode()
        self.mode.__enter__()
        return self

    def __exit__(self, *error):
        self.mode.__exit__(*error)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_training_validation_and_prediction_compute_alike(kind, precision, dtype):
    model, spec, data = network(kind, precision=precision)
    fabric = build_fabric(spec, "cpu")
    normalise = Normalise(model.mean, model.std)
    net, optimizer = fabric.setup(model, build_optimizer(model, spec))
    net.mark_forward_method("loss")
    images, targets = next(data.batches(4, fabric.device, np.arange(4)))
    seen: dict = {}
    with watch_dtypes(model, seen):
        net.train()
        with Products() as step:
            loss = _step(net, optimizer, fabric, spec, normalise(images), targets)
        with Products() as validation:
            validate(net, normalise, data, 4, fabric.device)
        with Products() as prediction, fabric.autocast():
            logits = predict_logits(model, normalise, data, 4, fabric.device)
    for products in (step, validation, prediction):
        # With a trainable bias, the CPU's attention computes in float32 inside, whatever it is given and gives.
        assert set(products) - ({torch.float32} if products is step else set()) <= {dtype}
        assert dtype in products
    assert (loss.dtype, logits.dtype) == (torch.float32, torch.float32)
    assert torch.isfinite(loss)
    name = str(dtype).removeprefix("torch.")
    assert seen == {"training": [name], "evaluation": [name]}
    assert describe_device(fabric, seen)["precision"] == {"bf16": "bf16-mixed", "fp32": "32-true"}[precision]
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def fitted(**settings):
    model, spec, data = network("classifier", precision="bf16", **settings)
    fabric = build_fabric(spec, "cpu")
    return model, finetune(model, data, data, spec, seed=0, fabric=fabric, normalise=Normalise(model.mean, model.std))


def test_a_fine_tuning_notes_what_it_computed_with_and_takes_its_hooks_away():
    model, progress = fitted()
    assert progress.dtypes == {"training": ["bfloat16"], "evaluation": ["bfloat16"]}
    assert hooks(model) == hooks(network("classifier", precision="bf16")[0])


def hooks(model):
    return {name: len(layer._forward_hooks) for name, layer in model.named_modules() if layer._forward_hooks}


def test_training_without_autocast_would_show_in_the_record(monkeypatch):
    def plain_step(net, optimizer, fabric, spec, images, targets):
        loss = net.loss(images, targets)
        fabric.backward(loss)
        optimizer.step()
        return loss.detach()

    monkeypatch.setattr(finetuning, "_step", plain_step)
    _, progress = fitted()
    fabric = device_fabric("bf16", 1, "cpu")
    assert describe_device(fabric, progress.dtypes)["precision"] == "float32 in training, bfloat16 in evaluation"


def test_a_resumed_fine_tuning_still_knows_what_it_computed_with(tmp_path):
    settings = {"precision": "bf16"}
    model, spec, data = network("classifier", **settings)
    how = {"seed": 0, "normalise": Normalise(model.mean, model.std), "state": tmp_path / "state.pt"}
    finetune(model, data, data, spec, fabric=build_fabric(spec, "cpu"), **how)
    model, _, _ = network("classifier", **settings)
    progress = finetune(model, data, data, spec, fabric=build_fabric(spec, "cpu"), **how)  # nothing is left to train
    assert progress.dtypes == {"training": ["bfloat16"], "evaluation": ["bfloat16"]}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({}, "bf16-mixed"),
        ({"training": ["float32"], "evaluation": ["float32"]}, "32-true"),
        ({"evaluation": ["float16"]}, "16-mixed"),
        ({"training": ["bfloat16", "float32"]}, "bfloat16 and float32 in training"),
    ],
)
def test_a_precision_is_said_in_a_few_words(seen, expected):
    assert used_precision(seen, "bf16-mixed") == expected


def test_inputs_reach_a_network_unrounded():
    """Fabric's own plugin rounds grey levels to 8 bits of mantissa before the network normalises them."""
    fabric = device_fabric("bf16", 1, "cpu")
    fed = []

    class Keep(nn.Linear):
        def forward(self, x):
            fed.append(x)
            return super().forward(x)

    model = Keep(3, 2)
    net, _ = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
    grey = torch.tensor([[254 / 255, 253 / 255, 1.0]])
    out = net(grey)
    assert torch.equal(fed[0], grey)
    assert out.dtype == torch.float32  # given back as float32


def test_fabric_says_nothing_on_the_terminal(capfd, caplog):
    with caplog.at_level(logging.WARNING):
        device_fabric("bf16", 1, "cpu")
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("lightning_fabric.utilities.rank_zero").isEnabledFor(logging.INFO)


def test_cudnns_attention_is_off_unless_a_recipe_asks_for_it(monkeypatch):
    from usfm_bench.training import device

    asked = []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", asked.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    device.set_up_process("auto", None, "cuda")
    assert torch.backends.cudnn.allow_tf32
    device.set_up_process("fp32", None, "cuda", cudnn_attention=True)
    assert not torch.backends.cudnn.allow_tf32
    device.set_up_process("auto", None, "cpu")
    assert asked == [False, True]


def test_a_recipe_that_leaves_cudnns_attention_off_hashes_as_before():
    assert "cudnn_attention" not in recipe().model_dump(mode="json")
    assert recipe(cudnn_attention=True).model_dump(mode="json")["cudnn_attention"] is True


def test_a_record_of_an_earlier_version_still_opens(make_store):
    from usfm_bench.results.store import read_record

    store = make_store(models=["usfm-micro-scratch"], seeds=1)
    [(folder, record)] = store.finished("demo")
    content = json.loads((folder / "record.json").read_text())
    assert "cudnn_attention" not in content["spec"]["training"]
    content["environment"] = {"device": "cpu", "threads": 2, "precision": "32-true"}
    (folder / "record.json").write_text(json.dumps(content))
    assert read_record(folder / "record.json").spec_hash == record.spec.hash


def test_precision_of_a_trial_is_recorded_as_measured(tmp_path, tiny_registry):
    from usfm_bench.data.dataset import open_dataset
    from usfm_bench.pipeline import run_one
    from usfm_bench.results.store import Store
    from usfm_bench.specs.dataset import load_registry
    from usfm_bench.suites.plan import load_suite, plan_suite

    [spec] = plan_suite(
        load_suite("demo"), load_registry(tiny_registry), datasets=["tiny"], models=["usfm-micro-scratch"], seeds=[0]
    )
    training = spec.training.model_copy(update={"precision": "bf16", "epochs": 1})
    spec = spec.model_copy(update={"training": training})
    environment = run_one(spec, open_dataset(spec.dataset, tmp_path), Store(tmp_path / "runs")).environment
    assert environment["precision"] == "bf16-mixed"
    assert environment["dtypes"] == {"training": ["bfloat16"], "evaluation": ["bfloat16"]}
    assert "cuda" not in environment


def test_a_record_whose_precision_was_not_measured_is_shown_as_what_it_was(make_store):
    from usfm_bench.reporting.facts import device_of

    [(_, record)] = make_store(models=["usfm-micro-scratch"], seeds=1).finished("demo")
    old = {"device": "NVIDIA H100", "threads": None, "precision": "bf16-mixed"}
    new = old | {"dtypes": {"training": ["bfloat16"], "evaluation": ["bfloat16"]}}
    said = [device_of(record.model_copy(update={"environment": environment})) for environment in (old, new)]
    assert said == ["NVIDIA H100, float32 in training, bfloat16 in evaluation", "NVIDIA H100, bf16-mixed"]
