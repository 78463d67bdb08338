"""Fine-tuning beside a bare PyTorch loop over the same network, data and augmentation: at least 0.95 of its images/s.

Both run in turn in one process, and each goes first in every second round, so that what else the machine does falls on
both; the ratio is the median over rounds.
"""

import statistics
import time
from types import SimpleNamespace

import kornia.augmentation as K
import numpy as np
import pytest
import torch

from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.models import build_model
from usfm_bench.specs.task import TASKS
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training.device import build_fabric
from usfm_bench.training.finetune import finetune

IMAGES, BATCH, ROUNDS = 48, 8, 7
TWO = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
NETWORKS = {
    "ViT": ("classification", "timm:deit_tiny_patch16_224@scratch", 224),
    "U-Net": ("segmentation", "unet-resnet18-scratch", 128),
}


def bare_epoch(model, optimizer, data, spec, augment):
    """What a user writes."""
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (model.mean, model.std))
    model.train()
    for rows in torch.randperm(len(data.images)).split(BATCH):
        images, targets = data.images[rows].float() / 255, data.targets[rows]
        if targets.ndim == 4:
            images, targets = augment(images, targets.float())
        else:
            images = augment(images)
        images = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        loss = model.loss(images, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), spec.clip_norm)
        optimizer.step()


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NETWORKS)
def test_fine_tuning_beside_a_bare_loop(benchmark, name, capsys):
    task, model_name, size = NETWORKS[name]
    values = {"image_size": size, "epochs": 1, "batch_size": BATCH, "lr": 1e-4, "threads": 1, "augment": ["hflip"]}
    spec = TrainingSpec.model_validate(values)
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 1, size, size), generator=draw, dtype=torch.uint8)
    targets = torch.arange(IMAGES) % 2 if task == "classification" else (images > 128).to(torch.uint8)
    data = NetworkData(images, targets, TASKS[task])
    few = NetworkData(images[:BATCH], targets[:BATCH], TASKS[task])  # validated after the clock has stopped
    fabric = build_fabric(spec, "cpu")
    model = build_model(model_name, TASKS[task], TWO, spec).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    keys = ["input", "mask"] if task == "segmentation" else ["input"]
    augment = K.AugmentationSequential(K.RandomHorizontalFlip(p=0.5), data_keys=keys)
    normalise = Normalise(model.mean, model.std)

    def bare():
        started = time.perf_counter()
        bare_epoch(model, optimizer, data, spec, augment)
        return time.perf_counter() - started

    def ours():
        return finetune(model, data, few, spec, seed=0, fabric=fabric, normalise=normalise).train_s

    ratios = []

    def pair():
        order = (bare, ours) if len(ratios) % 2 else (ours, bare)
        seconds = {loop: loop() for loop in order}
        ratios.append(seconds[bare] / seconds[ours])

    benchmark.pedantic(pair, rounds=ROUNDS, warmup_rounds=1)
    ratio = statistics.median(ratios[1:])
    benchmark.extra_info["images/s of a bare loop"] = round(ratio, 3)
    with capsys.disabled():
        print(f"\n{name}: {ratio:.3f} of a bare loop's images/s ({min(ratios[1:]):.3f} to {max(ratios[1:]):.3f})")
    assert ratio >= 0.95
