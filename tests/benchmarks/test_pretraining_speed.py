"""Pre-training beside lightly's own loop, and MAE beside SimMIM at one encoder: processor time, in turn, on one thread.

Pairs run in turn in one process, so that what else the machine does falls on both; ratios are medians over rounds.
"""

import statistics
import time

import numpy as np
import pytest
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from usfm_bench.pretraining.data import PretrainImages
from usfm_bench.pretraining.loop import pretrain
from usfm_bench.pretraining.plain import plain_encoder
from usfm_bench.pretraining.sampling import Step
from usfm_bench.specs.method import METHODS
from usfm_bench.specs.pretraining import Options, build_spec

BATCH, STEPS, ROUNDS = 16, 12, 7
AT_LEAST = 2.2
"""Images/s of `mae` over those of `simmim` at the same encoder."""


def recipe(method, **changes):
    values = {"method": method, "datasets": ["random"], "batch_size": BATCH, "steps": 1, "threads": 1}
    return build_spec(values | {"precision": "fp32", "weight_decay": 0.05, "clip_norm": None} | changes, "benchmark")


def random_images(n, size):
    images = np.random.default_rng(0).integers(0, 256, (n, size, size), dtype=np.uint8)
    return PretrainImages(images, ("breast",) * n, tuple(map(str, range(n))), {})


class Views(Dataset):
    """Pairs of views by lightly's transform of SimCLR, as its example reads a data set."""

    def __init__(self, images, size):
        self.images, self.transform = [Image.fromarray(image).convert("RGB") for image in images], SimCLRTransform(size)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.transform(self.images[i])


class SimCLR(nn.Module):
    """As of lightly's examples/pytorch/simclr.py, with the encoder and the head of this package's `simclr`."""

    def __init__(self, spec):
        super().__init__()
        self.backbone = plain_encoder(spec)
        self.projection_head = SimCLRProjectionHead(self.backbone.embed_dim, spec.head_width, 128)

    def forward(self, x):
        return self.projection_head(self.backbone.forward_features(x)[:, 0])

    def loss(self, x0, x1, criterion):
        return criterion(self(x0), self(x1))


class OurSimCLR(nn.Module):
    """This package's network, which takes both views at once, for the same loop."""

    def __init__(self, spec):
        super().__init__()
        self.network = METHODS["simclr"](spec).network

    def loss(self, x0, x1, criterion):
        return self.network((x0[:, :1], x1[:, :1]))


def lightlys_epoch(model, optimizer, criterion, loader, tell):
    """The loop of that example."""
    total = 0.0
    for x0, x1 in loader:
        loss = model.loss(x0, x1, criterion)
        total += loss.detach()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        tell(total / len(loader))


def processor_s(work):
    started = time.process_time()
    work()
    return time.process_time() - started


def step_s(train):
    """Median processor time of a step of `train(tell)`, which tells of each; the first is not looked at."""
    times = []
    train(lambda row: times.append(time.process_time()))
    return statistics.median(np.diff(times))


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("what", ["as its example is written", "our network, views given"])
def test_simclr_beside_lightlys_own_loop(benchmark, tmp_path, capsys, what):
    size = 64
    spec = recipe("simclr", model="vit_micro_patch8_64", image_size=size, steps=STEPS)
    data = random_images(BATCH * STEPS, size)
    loader = DataLoader(Views(data.images, size), BATCH, shuffle=True, drop_last=True)
    model, least = SimCLR(spec), 1
    if what == "our network, views given":  # what the loop alone costs, with the changes to images
        model, loader, least = OurSimCLR(spec), list(loader), 0.9
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    criterion = NTXentLoss(spec.temperature)

    def pair():
        theirs = step_s(lambda tell: lightlys_epoch(model, optimizer, criterion, loader, tell))
        options = Options(out=tmp_path / f"{len(ratios)}.pth", log_every=1, sheet_every=0)
        ratios.append(theirs / step_s(lambda tell: pretrain(spec, data, options, tell)))

    ratios = []
    benchmark.pedantic(pair, rounds=ROUNDS, warmup_rounds=1)
    ratio = statistics.median(ratios[1:])
    with capsys.disabled():
        print(f"\n{what}: {ratio:.2f} of its images/s ({min(ratios[1:]):.2f} to {max(ratios[1:]):.2f})")
    assert ratio >= least


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("model", ["vit_micro_patch8_64", "vit_tiny_patch16_224", "vit_small_patch16_224"])
def test_mae_beside_simmim(benchmark, capsys, model):
    size = 64 if model == "vit_micro_patch8_64" else 224
    images = torch.rand(8, 1, size, size, generator=torch.Generator().manual_seed(0))
    places = Step(0, np.arange(8), 8, seed=0)
    steps = {}
    for name in ("mae", "simmim"):
        method = METHODS[name](recipe(name, model=model, image_size=size))
        optimizer = torch.optim.AdamW([p for p in method.network.parameters() if p.requires_grad], fused=True)

        def step(method=method, optimizer=optimizer):
            method.step(method.views(images, places))["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()

        steps[name] = step
    ratios = []
    benchmark.pedantic(
        lambda: ratios.append(processor_s(steps["simmim"]) / processor_s(steps["mae"])), rounds=ROUNDS, warmup_rounds=1
    )
    ratio = statistics.median(ratios[1:])
    with capsys.disabled():
        print(f"\n{model}: mae has {ratio:.2f} of simmim's images/s ({min(ratios[1:]):.2f} to {max(ratios[1:]):.2f})")
    if model != "vit_micro_patch8_64":  # whose decoder is half of its encoder
        assert ratio >= AT_LEAST
