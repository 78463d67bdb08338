"""Device and precision of a trial, through Lightning Fabric."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Any

import torch
from lightning_fabric import Fabric

from usfm_bench.config import TrainingSpec
from usfm_bench.errors import BenchError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


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
    return device_fabric(spec.precision, spec.threads, device, index=index)


def device_fabric(wanted: str, threads: int | None, device: str, *, index: int = 0, devices: int = 1) -> Any:
    """Fabric on one device, or on several, each with a process of its own (distributed data parallel).

    Args:
        wanted: `auto`, `fp32` or `bf16`.
        threads: torch threads on a CPU; None: torch's own number.
        device: `cpu` or `cuda`.
        index: which GPU, where one is used.
        devices: number of processes.
    """
    if device == "cpu":
        _keep_freed_memory()
        if threads is not None:
            torch.set_num_threads(threads)
    if devices > 1:
        return Fabric(accelerator=device, devices=devices, strategy="ddp_spawn", precision=precision(wanted, device))
    if device == "cpu":
        return Fabric(accelerator="cpu", devices=1, precision=precision(wanted, device))
    index %= torch.cuda.device_count()
    torch.cuda.set_device(index)
    return Fabric(accelerator="cuda", devices=[index], precision=precision(wanted, device))


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


def precision(wanted: str, device: str) -> Any:
    """Fabric's name of the precision: bf16 where the device has it in hardware and the recipe leaves it open."""
    wants_bf16 = wanted == "bf16" or (
        wanted == "auto" and device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return "bf16-mixed" if wants_bf16 else "32-true"


def describe_device(fabric: Any) -> dict[str, Any]:
    """Name, threads and precision, for the record."""
    cuda = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if cuda else "cpu",
        "threads": None if cuda else torch.get_num_threads(),
        "precision": str(fabric._precision.precision),
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
