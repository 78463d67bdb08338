"""Whether the processes of a pre-training can be started: as many as there are devices, and by nobody else as well."""

from __future__ import annotations

import os
from collections.abc import Mapping

from usfm_bench.core.errors import BenchError

_TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Variables in which launchers state how often they start a command."""
_TORCHRUN = ("TORCHELASTIC_RUN_ID", "LOCAL_RANK", "RANK")


def check_launch(device: str, devices: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse what would start several processes on each device, or ask for devices that are not there.

    Args:
        device: `cpu` or `cuda`.
        devices: processes that this one starts; 1: it starts none.
        environment: variables of this process.

    Raises:
        BenchError: names the variable and what to do.
    """
    if devices == 1:
        return
    one = f"Start `usfm-bench pretrain --devices {devices}` once: it starts its own processes, one a device"
    # Within an allocation of many tasks, `srun --ntasks=1` starts a step of one, which its own variable states.
    name = next((name for name in _TASKS if environment.get(name, "").isdigit()), None)
    if name is not None and int(environment[name]) > 1:
        raise BenchError(
            f"--devices {devices}: this command was started as {environment[name]} tasks ({name}), each of which would "
            f"start {devices} processes on the same devices. {one} (Slurm: --ntasks=1 --gpus={devices})."
        )
    if running := [name for name in _TORCHRUN if name in environment]:
        raise BenchError(
            f"--devices {devices}: this command was started by torchrun or another launcher of processes "
            f"({', '.join(running)} set). {one}, without that launcher."
        )
    if device == "cuda":
        import torch

        if devices > (present := torch.cuda.device_count()):
            raise BenchError(f"--devices {devices}: torch sees {present} CUDA device{'s' * (present != 1)} here.")
