"""Device and precision of a trial, through Lightning Fabric."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import sys
import warnings
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from usfm_bench.core.cores import available_cores
from usfm_bench.core.errors import BenchError
from usfm_bench.specs.training import TrainingSpec
from usfm_bench.training.cuda import describe_cuda
from usfm_bench.training.dtypes import Dtypes, used_precision

_SWITCHES = ("cudnn_attention", "tf32", "deterministic", "cudnn_benchmark")
"""Settings of a recipe that torch keeps for the whole process."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h

# It would print a line a trial on bf16 and a hint to trade precision for speed, which is the recipe's to decide.
logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


def resolve_device(device: str) -> str:
    """`auto` -> `cuda` where there is one, else `cpu`.

    Raises:
        BenchError: `cuda` is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise BenchError(
            "--device cuda: torch sees no CUDA device. Use --device cpu, or install a CUDA build of torch."
        )
    return ("cuda" if available else "cpu") if device == "auto" else device


def build_fabric(spec: TrainingSpec, device: str, index: int = 0) -> Any:
    """Fabric on one device: `cpu`, or the `index`-th GPU, cyclically; sets the recipe's number of CPU threads."""
    return device_fabric(
        spec.precision, spec.threads, device, index=index, **{key: getattr(spec, key) for key in _SWITCHES}
    )


def device_fabric(
    wanted: str,
    threads: int | None,
    device: str,
    *,
    index: int = 0,
    devices: int = 1,
    nodes: int = 0,
    **switches: bool,
) -> Any:
    """Fabric on one device, or on several, each with a process of its own (distributed data parallel).

    Args:
        wanted: `auto`, `fp32` or `bf16`.
        threads: torch threads on a CPU; None: torch's own number.
        device: `cpu` or `cuda`.
        index: which GPU, where one is used.
        devices: number of processes on this machine.
        nodes: machines with as many processes each that torchrun has started; 0: this process starts them.
        switches: of `set_up_process`.
    """
    set_up_process(wanted, threads, device, **switches)
    numbers = _precision(wanted, device)
    if nodes:
        return _fabric(accelerator=device, devices=devices, num_nodes=nodes, strategy="ddp", **numbers)
    if devices > 1:
        return _fabric(accelerator=device, devices=devices, strategy="ddp_spawn", **numbers)
    if device == "cpu":
        return _fabric(accelerator="cpu", devices=1, **numbers)
    index %= torch.cuda.device_count()
    torch.cuda.set_device(index)
    return _fabric(accelerator="cuda", devices=[index], **numbers)


def _fabric(**settings: Any) -> Any:
    with warnings.catch_warnings():
        # Where Slurm is installed, it says to start the command with `srun`, which would run it several times.
        warnings.filterwarnings("ignore", "The `srun` command is available")
        return Fabric(**settings)


def set_up_process(
    wanted: str,
    threads: int | None,
    device: str,
    *,
    cudnn_attention: bool = False,
    tf32: bool = False,
    deterministic: bool = False,
    cudnn_benchmark: bool = False,
) -> None:
    """Set what torch keeps for the whole process; a launched process starts with its own settings.

    Args:
        wanted: `auto`, `fp32` or `bf16`. With `fp32`, no convolution is rounded to TF32, unless `tf32` says so.
        threads: torch threads on a CPU; None: torch's own number, but no more than the cores that may be used.
        device: `cpu` or `cuda`.
        cudnn_attention: let torch take cuDNN's attention, which it prefers on some GPUs.
        tf32: round products of float32 matrices to TF32 on a GPU.
        deterministic: refuse algorithms on a GPU that add in an order which changes.
        cudnn_benchmark: let cuDNN time its algorithms.
    """
    if device == "cpu":
        _keep_freed_memory()
    own = threads if device == "cpu" else None
    if own is not None or available_cores() < torch.get_num_threads():
        torch.set_num_threads(own or available_cores())
    if device == "cuda":
        torch.backends.cudnn.allow_tf32 = tf32 or wanted != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = tf32
        # Its gradients were NaN in several releases, see docs/bits.md; other kernels take its place.
        torch.backends.cuda.enable_cudnn_sdp(cudnn_attention)
        if deterministic:  # cuBLAS reads it at its first product in a process, and sums in streams' order without it
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        # Memory that is filled before use costs time, and nothing here reads what it has not written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = cudnn_benchmark


class _KeepInputs(MixedPrecision):  # type: ignore[misc]
    """Autocast alone. Fabric's own plugin also rounds inputs to bf16 before the network normalises them."""

    def convert_input(self, data: Any) -> Any:
        """The inputs as they are."""
        return data


def _keep_freed_memory() -> None:
    """Have glibc keep freed activations instead of giving them back to the system and faulting them in at each step.

    Measured at 13 to 27 % of a training step on two cores; the numbers computed are the same.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 2**31 - 1)


def precision(wanted: str, device: str) -> Literal["bf16-mixed", "32-true"]:
    """Fabric's name of the precision: bf16 where the device has it in hardware and the recipe leaves it open."""
    wants_bf16 = wanted == "bf16" or (
        wanted == "auto" and device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16-mixed" if wants_bf16 else "32-true"


def _precision(wanted: str, device: str) -> dict[str, Any]:
    name = precision(wanted, device)
    return {"precision": name} if name == "32-true" else {"plugins": [_KeepInputs(name, device)]}


def describe_device(fabric: Any, dtypes: Dtypes) -> dict[str, Any]:
    """Name, threads and precision, for the record; on a GPU also what else moves the last bits of a result.

    Args:
        fabric: of the trial.
        dtypes: what the network computed with, of `watch_dtypes`.
    """
    cuda = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if cuda else "cpu",
        "threads": None if cuda else torch.get_num_threads(),
        "precision": used_precision(dtypes, str(fabric._precision.precision)),
        "dtypes": dtypes,
        **({"cuda": describe_cuda(fabric.device)} if cuda else {}),
    }


def reset_peak_memory(fabric: Any) -> None:
    """Start counting `peak_memory_mb` anew, where the device allows it."""
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(fabric.device)


def peak_memory_mb(fabric: Any) -> float:
    """Most memory held, in MiB: allocated on the GPU, or resident for the process so far."""
    if fabric.device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(fabric.device) / 2**20)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / (2**20 if sys.platform == "darwin" else 2**10)
