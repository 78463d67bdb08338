"""What of a CUDA device and of its libraries moves the last bits of a result."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch


def describe_cuda(device: torch.device) -> dict[str, Any]:
    """Versions, the device and torch's switches, for the record."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "driver": driver_version(),
        "gpus": torch.cuda.device_count(),
        "capability": f"{properties.major}.{properties.minor}",
        "memory_mb": round(properties.total_memory / 2**20),
        "tf32": {"matmul": torch.backends.cuda.matmul.allow_tf32, "cudnn": torch.backends.cudnn.allow_tf32},
        "deterministic": {
            "algorithms": torch.are_deterministic_algorithms_enabled(),
            "cudnn": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        },
        "attention": {
            "cudnn": torch.backends.cuda.cudnn_sdp_enabled(),  # type: ignore[no-untyped-call]
            "flash": torch.backends.cuda.flash_sdp_enabled(),  # type: ignore[no-untyped-call]
            "memory_efficient": torch.backends.cuda.mem_efficient_sdp_enabled(),  # type: ignore[no-untyped-call]
            "math": torch.backends.cuda.math_sdp_enabled(),  # type: ignore[no-untyped-call]
        },
    }


@cache
def driver_version(module: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """Release of NVIDIA's driver, such as 550.54.15: of the kernel module, else what nvidia-smi says; None: unknown."""
    try:
        if found := re.search(r"\b\d+\.\d+(\.\d+)?\b", module.read_text()):
            return found[0]
    except OSError:
        pass
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return said[0] if said else None
