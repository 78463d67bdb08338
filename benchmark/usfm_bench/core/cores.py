"""How many processor cores this process may use: what a container or a batch system grants, not what the host has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def wait_passively() -> None:
    """Have threads that wait for each other sleep, so that a busy neighbour costs its share of the cores and no more.

    OpenMP reads it when torch is loaded, so call it before. What the user has set stays. A short spin
    (GOMP_SPINCOUNT=10000) was slower: on two busy cores a U-Net of the suite `phantom` took 59 s in place of 45, and
    two side by side 113 s in place of 65.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


_sharing = 1


def share_cores(processes: int) -> None:
    """Count as one of several processes that keep the same cores busy: `available_cores` is then this one's part."""
    global _sharing
    _sharing = processes
    available_cores.cache_clear()


@cache
def available_cores() -> int:
    """Cores that this process can keep busy, at least 1: the smallest of affinity and the cgroups' quotas.

    Half a core left over counts as one. Processes that `share_cores` get equal parts.
    """
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, cgroup_quotas())]) // _sharing)


def cgroup_quotas(root: Path = Path("/")) -> list[float]:
    """Processor time that each cgroup of this process may take, in cores; cgroups without a limit are left out.

    Both versions are read, at the process's own group and at every group above it, since each of them limits.
    Reference: the Linux kernel's documentation, admin-guide/cgroup-v2 (`cpu.max`) and scheduler/sched-bwc (v1).

    Args:
        root: folder that holds `proc` and `sys`.
    """
    return [quota for at in cgroup_folders("cpu", root) if (quota := _quota(at)) is not None]


def cgroup_folders(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Folders of the cgroups that limit this process by a controller, such as `cpu` or `memory`, of both versions."""
    mount = root / "sys/fs/cgroup"
    for controllers, group in _groups(root / "proc/self/cgroup"):
        if not controllers:
            folders = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            folders = [mount / controller, mount / controllers]
        else:
            continue
        for folder in {at.resolve() for at in folders}:
            yield from _upwards(folder, group)


def _groups(path: Path) -> Iterator[tuple[str, str]]:
    """(controllers, group) of each line `number:controllers:group`; version 2 names no controllers."""
    for line in (read_line(path) or "").splitlines():
        _, controllers, group = line.split(":", 2)
        yield controllers, group


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The group's folder and those above it. A container often sees its own group as the mount itself."""
    folder = mount / group.strip("/")
    yield folder
    while folder != mount and folder != folder.parent:
        folder = folder.parent
        yield folder


def _quota(group: Path) -> float | None:
    """Of one group, in cores; None where nothing limits it."""
    if (limit := read_line(group / "cpu.max")) is not None:
        quota, period = [*limit.split(), "100000"][:2]
    else:
        quota, period = (read_line(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return cores if cores > 0 else None  # version 1 writes -1 for no limit


def read_line(path: Path) -> str | None:
    """Content of one of the system's small files; None where it is not there."""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
