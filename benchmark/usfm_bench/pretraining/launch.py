"""The processes of a pre-training: started by itself, one a device, or by torchrun on one machine or several."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, NoReturn, TypeVar, cast

from usfm_bench.core.errors import BenchError

_TASKS = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
"""Variables in which launchers state how often they start a command."""
_TORCHRUN = ("TORCHELASTIC_RUN_ID", "LOCAL_RANK", "RANK")
T = TypeVar("T")


class Launched(NamedTuple):
    """This process as one of several that torchrun has started."""

    rank: int
    """Among all."""
    world: int
    """How many there are."""
    here: int
    """How many of them are on this machine."""

    @property
    def nodes(self) -> int:
        """Machines."""
        return self.world // self.here


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """What torchrun says of this process; None where nothing has started it, or where it is the only one."""
    if "TORCHELASTIC_RUN_ID" not in environment or environment.get("WORLD_SIZE", "1") == "1":
        return None
    return Launched(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return (found := launched()) is None or found.rank == 0


@contextmanager
def joined() -> Iterator[None]:
    """Meet the processes that torchrun has started beside this one, if it has."""
    if launched() is None:
        yield
        return
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        torch.distributed.init_process_group("gloo")
    yield
    torch.distributed.destroy_process_group()  # not after a fault, where the others may not come to it


def gathered(value: T) -> list[T]:
    """The values of all processes that torchrun has started, the first one's first; this one's alone without it."""
    if (here := launched()) is None:
        return [value]
    import torch

    values: list[T] = [value] * here.world
    torch.distributed.all_gather_object(values, value)
    return values


def together(check: Callable[[], T]) -> T:
    """What a check gives here, once it has found no fault in any of the processes that torchrun has started.

    Raises:
        BenchError: in the first process, the faults of all of them; the others end without a word.
    """
    if launched() is None:
        return check()
    result, fault = None, ""
    try:
        result = check()
    except BenchError as error:
        fault = str(error)
    faults = gathered((socket.gethostname(), fault))
    if any(fault for _, fault in faults):
        refuse([(f"process {rank} on {host}", fault) for rank, (host, fault) in enumerate(faults)])
    return cast(T, result)


def refuse(faults: list[tuple[str, str]]) -> NoReturn:
    """End in every process: the first one says what is wrong where, once.

    Args:
        faults: place and fault of each process; an empty fault: none.

    Raises:
        BenchError: in the first.
    """
    if not is_first():
        raise SystemExit(2)
    places: dict[str, list[str]] = {}
    for place, fault in faults:
        places.setdefault(fault, []).append(place)
    everywhere = len(places) == 1
    raise BenchError(
        "\n".join(fault if everywhere else f"{', '.join(at)}: {fault}" for fault, at in places.items() if fault)
    )


def check_alike(facts: Mapping[str, str]) -> None:
    """Refuse processes that differ in what they must have in common, before anything is trained.

    Args:
        facts: of this process, by what they are.

    Raises:
        BenchError: in the first process; names each fact that differs, and the process.
    """
    told = gathered(dict(facts))
    refused = [
        (f"process {rank}", "\n".join(f"{k} is {other[k]}, and {facts[k]} in process 0" for k in differing))
        for rank, other in enumerate(told)
        if (differing := [key for key in told[0] if other[key] != told[0][key]])
    ]
    if refused:
        refuse([("", ""), *refused])


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
        if (found := launched(environment)) is not None:
            _check_torchrun(device, found)
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
            f"({', '.join(running)} set). {one}, without that launcher; or leave --devices out, and torchrun's "
            "--nproc-per-node says how many processes there are."
        )
    if device == "cuda":
        _check_present(devices, f"--devices {devices}")


def _check_torchrun(device: str, found: Launched) -> None:
    if found.world % found.here:
        raise BenchError(
            f"torchrun started {found.world} processes in all and {found.here} here: every machine needs as many "
            "(--nproc-per-node)."
        )
    if device == "cuda":
        _check_present(found.here, f"torchrun --nproc-per-node {found.here}")


def _check_present(wanted: int, said: str) -> None:
    import torch

    if wanted > (present := torch.cuda.device_count()):
        raise BenchError(f"{said}: torch sees {present} CUDA device{'s' * (present != 1)} here.")
