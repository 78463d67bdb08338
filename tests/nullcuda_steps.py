"""Steps of real trainings, run by test_nullcuda.py under a CUDA device that computes nothing; prints JSON.

Arguments: a task, a model name, the side of its images, and a decoder or `-`.
"""

import ctypes
import gc
import json
import sys
from types import SimpleNamespace

import numpy as np
import torch

from usfm_bench.data.loaders import NetworkData
from usfm_bench.data.transforms import Normalise
from usfm_bench.models import build_model
from usfm_bench.models.memory import free_device, out_of_memory
from usfm_bench.specs.task import TASKS
from usfm_bench.suites.recipes import load_profile
from usfm_bench.training.device import build_fabric, describe_device
from usfm_bench.training.dtypes import watch_dtypes
from usfm_bench.training.finetune import _step
from usfm_bench.training.optim import build_optimizer
from usfm_bench.training.predict import predict_logits, validate

BATCH, ELSEWHERE = 2, 20 * 10**9
TWO_CLASSES = SimpleNamespace(classes=("a", "b"), class_counts=np.ones(2, np.int64), structures=())
LIBRARY = ctypes.CDLL(None)


def take_all(tensor, index, plain=torch.Tensor.__getitem__):
    """`tensor[index]` that takes every row of a mask: on a device that computes nothing, no mask has a true pixel."""
    if isinstance(index, torch.Tensor) and index.dtype == torch.bool:
        return tensor.flatten(0, index.ndim - 1)
    return plain(tensor, index)


def products(do):
    """Kinds of matrix products that a call launches, such as `gemm bf16`."""
    LIBRARY.nullcuda_report.restype = ctypes.c_char_p
    LIBRARY.nullcuda_reset()
    do()
    torch.cuda.synchronize()
    rows = [line.split("\t") for line in LIBRARY.nullcuda_report().decode().splitlines()]
    return sorted({row[1] for row in rows if len(row) > 1 and row[1].startswith("gemm")})


def main():
    task, name, size, decoder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    spec = load_profile("paper").recipe(task).model_copy(update={"batch_size": BATCH, "image_size": size})
    if decoder != "-":
        spec = spec.model_copy(update={"decoder": decoder})
    fabric = build_fabric(spec, "cuda")
    model = build_model(name, TASKS[task], TWO_CLASSES, spec).to(memory_format=torch.channels_last)
    normalise = fabric.to_device(Normalise(model.mean, model.std))
    images = torch.zeros(BATCH, 1, size, size, dtype=torch.uint8)
    targets = torch.tensor([0, 1]) if task == "classification" else torch.ones_like(images)
    data = NetworkData(images, targets, TASKS[task])
    net, optimizer = fabric.setup(model, build_optimizer(model, spec))
    net.mark_forward_method("loss")
    batch = next(data.batches(BATCH, fabric.device, np.arange(BATCH)))

    def predict():
        with fabric.autocast():
            predict_logits(model, normalise, data, BATCH, fabric.device)

    torch.Tensor.__getitem__ = take_all
    seen = {}
    net.train()
    with watch_dtypes(model, seen):
        found = {
            "step": products(lambda: _step(net, optimizer, fabric, spec, normalise(batch[0]), batch[1])),
            "validate": products(lambda: validate(net, normalise, data, BATCH, fabric.device)),
            "predict": products(predict),
        }
    found["environment"] = describe_device(fabric, seen)
    found["memory"] = run_out_of_memory(fabric.device)
    print(json.dumps(found))


def run_out_of_memory(device):
    """What is said and what is still held after as much memory as there is was asked for in pieces of 1 GiB."""
    before, said = torch.cuda.memory_reserved(), None
    pointer = ctypes.c_void_p()  # memory that torch knows nothing of, as another process's
    assert LIBRARY.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(ELSEWHERE)) == 0
    try:
        held = []
        while True:
            held.append(torch.empty(2**30, dtype=torch.uint8, device=device))
    except Exception as error:
        said = out_of_memory(error)
        del held
    gc.collect()
    free_device()
    LIBRARY.cudaFree(pointer)
    return {"said": said, "grown": torch.cuda.memory_reserved() - before}


if __name__ == "__main__":
    main()
