"""One training step of a network of the profile `paper`, run by test_gpu_budgets.py under a CUDA device that computes
nothing; prints JSON of what it launches, copies, waits for and holds.

Arguments: a name of `gpu_budgets.BUDGETS`, JSON of changes to its recipe, and `own-pooling` for torch's pooling.
"""

import ctypes
import json
import sys
from types import SimpleNamespace

import numpy as np
import torch

from gpu_budgets import BUDGETS
from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise, build_augmentation
from usfm_bench.models import build, build_model
from usfm_bench.specs.task import TASKS
from usfm_bench.suites.recipes import load_profile
from usfm_bench.training.device import build_fabric
from usfm_bench.training.finetune import _augmented, _step
from usfm_bench.training.optim import build_optimizer

LIBRARY = ctypes.CDLL(None)
THREE = SimpleNamespace(classes=("a", "b", "c"), class_counts=np.ones(3, np.int64), structures=())


def report():
    LIBRARY.nullcuda_report.restype = ctypes.c_char_p
    return [line.split("\t") for line in LIBRARY.nullcuda_report().decode().splitlines()]


def main():
    task, name, changes, *_ = BUDGETS[sys.argv[1]]
    spec = load_profile("paper").recipe(task).model_copy(update=changes | json.loads(sys.argv[2]))
    if sys.argv[3:] == ["own-pooling"]:
        build.pool_by_products = lambda network: None
    batch = spec.batch_size
    fabric = build_fabric(spec, "cuda")
    model = build_model(name, TASKS[task], THREE, spec).to(memory_format=torch.channels_last)
    normalise = fabric.to_device(Normalise(model.mean, model.std))
    images = torch.zeros(4 * batch, 1, spec.image_size, spec.image_size, dtype=torch.uint8)
    targets = torch.arange(4 * batch) % 3 if task == "classification" else torch.ones_like(images)
    data = NetworkData(images, targets, TASKS[task]).near(fabric.device)
    augment = build_augmentation(spec.augment, TASKS[task].augmented)
    net, optimizer = fabric.setup(model, build_optimizer(model, spec))
    net.mark_forward_method("loss")
    net.train()
    for step, (x, y) in enumerate(data.batches(batch, fabric.device, np.arange(4 * batch))):
        if step == 3:
            found = report()
        if step == 2:  # the optimiser has its state, and the allocator what it needs
            LIBRARY.nullcuda_reset()
            torch.cuda.reset_peak_memory_stats()
        x, y = _augmented(augment, data.task, x, y)
        _step(net, optimizer, fabric, spec, normalise(x), y)
    counts = {row[1]: int(row[2]) for row in found if row[0] == "C"}
    print(json.dumps({"counts": counts, "peak_mb": torch.cuda.max_memory_allocated() / 2**20}))


if __name__ == "__main__":
    main()
