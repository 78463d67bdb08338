"""LoRA: what is trained, what stays, and that no layer is gone around."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from usfm_bench.core.errors import BenchError
from usfm_bench.models.build import build_model, empty_model
from usfm_bench.models.lora import add_lora
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec

pytest.importorskip("peft")
pytestmark = pytest.mark.usefixtures("one_thread")
RECIPE = TrainingSpec(image_size=64, epochs=1, batch_size=4, lr=1e-3, decoder="upernet")
TRAIN = SimpleNamespace(classes=("a", "b"), class_counts=np.array([2, 1]), structures=())
VIT = "timm:vit_tiny_patch16_224@scratch"
"""Its layer is called; that of USFM and BEiT has its weight read, which goes around LoRA unless it is prevented."""
NAMES = [VIT, "usfm-micro-scratch", "timm:swin_tiny_patch4_window7_224@scratch"]
BUILDS = [(n, t, d) for n in NAMES[:2] for t, d in [("classification", None), ("segmentation", "segvit")]]
BUILDS += [(NAMES[1], "segmentation", "upernet")]


@pytest.fixture(autouse=True)
def torch_as_it_was():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(name, task, **settings):
    return build_model(name, TASKS[task], TRAIN, RECIPE.model_copy(update=settings))


def batch(task):
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return images, torch.tensor([0, 1, 1, 0]) if task == "classification" else (images[:, :1] > 0.5).float()


@pytest.mark.parametrize(("name", "task", "decoder"), BUILDS)
def test_maps_of_low_rank_and_the_head_are_trained_and_every_map_learns(name, task, decoder):
    network, (images, targets) = build(f"{name}@lora", task, decoder=decoder or "upernet").train(), batch(task)
    trained = {key: p for key, p in network.encoder.named_parameters() if p.requires_grad}
    maps = {key for key in trained if "lora_" in key}
    heads = {id(p) for head in network.heads() for p in head.parameters()}
    assert {id(p) for key, p in trained.items() if key not in maps} == heads
    depth = len(network.backbone.blocks)
    assert len(maps) == 2 * 2 * depth  # two factors of qkv and of proj
    width = network.backbone.num_features
    numbers = sum(trained[key].numel() for key in maps)
    assert numbers == depth * 8 * ((width + 3 * width) + (width + width))
    grouped = {id(p) for group in network.param_groups(weight_decay=0.05, layer_decay=0.65) for p in group["params"]}
    assert grouped == {id(p) for p in network.parameters() if p.requires_grad}
    before = {key: p.clone() for key, p in network.encoder.named_parameters()}
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # the second factor starts at 0, so the first one moves from the second step on
        optimiser.zero_grad()
        network.loss(images, targets).backward()
        optimiser.step()
    moved = {key for key, p in network.encoder.named_parameters() if not torch.equal(p, before[key])}
    assert all(bool(trained[key].grad.any()) for key in maps)  # a head near 0 moves some by less than a rounding
    assert moved
    assert all("lora_" in key or id(network.encoder.get_parameter(key)) in heads for key in moved)


@pytest.mark.parametrize("name", NAMES)
def test_before_the_first_step_the_encoder_computes_what_it_did(name):
    size = 224 if "swin" in name else 32
    plain = build(f"{name}@frozen", "classification", image_size=size).eval()
    adapted = build(f"{name}@lora", "classification", image_size=size).eval()
    adapted.encoder.load_state_dict(
        {renamed(key, adapted): value for key, value in plain.encoder.state_dict().items()}, strict=False
    )
    images = torch.rand(2, 3, size, size)
    torch.testing.assert_close(adapted(images), plain(images))


def renamed(key, network):
    layer, _, end = key.rpartition(".")
    return key if key in network.encoder.state_dict() else f"{layer}.base_layer.{end}"


def test_a_restored_network_has_the_same_maps():
    network = build(f"{VIT}@lora", "classification")
    again = empty_model(f"{VIT}@lora", TASKS["classification"], TRAIN, RECIPE)
    assert again.state_dict().keys() == network.state_dict().keys()


def test_what_has_no_attention_is_refused_with_the_layers_that_it_has():
    with pytest.raises(BenchError, match=r"no layer called attn\.qkv or attn\.proj.*conv2.*lora_targets"):
        build("timm:resnet18@scratch@lora", "classification")
    network = build("timm:resnet18@scratch@lora", "classification", lora_targets=("conv2",), lora_rank=2)
    assert len(network.adapters) == 2 * 8


def test_a_layer_that_is_never_called_is_named():
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(3, 3)

        def forward(self, images):
            return nn.functional.linear(images.mean((2, 3)), self.qkv.weight)

    network = build(f"{VIT}@frozen", "classification")
    network.backbone.extra = Around()
    with pytest.raises(BenchError, match=r"does not call them.*extra\.qkv"):
        add_lora(network, RECIPE.model_copy(update={"lora_targets": ("extra.qkv",)}), "m@lora")


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(BenchError, match=r"pip install 'usfm-bench\[lora\]'"):
        build(f"{VIT}@lora", "classification")
