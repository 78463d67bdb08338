"""How much memory this process and others like it may still take: what a container or a batch system grants."""

from __future__ import annotations

import os
from pathlib import Path

from usfm_bench.core.cores import cgroup_folders, read_line
from usfm_bench.core.words import size

_LIMITS = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that are free: the least of the machine's and of the cgroups'; None where the system does not say.

    Reference: proc(5), MemAvailable; the Linux kernel's documentation, admin-guide/cgroup-v2 and cgroup-v1/memory.

    Args:
        root: folder that holds `proc` and `sys`.
    """
    lines = (read_line(root / "proc/meminfo") or "").splitlines()
    left = [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    for folder in cgroup_folders("memory", root):
        for limit_name, usage_name in _LIMITS:
            limit, usage = read_line(folder / limit_name), read_line(folder / usage_name)
            if limit and usage and limit.isdigit() and usage.isdigit():  # version 2 writes `max` for none
                left.append(max(0, int(limit) - int(usage)))
    return min(left, default=None)


def own_memory(root: Path = Path("/")) -> int:
    """Bytes that this process holds; 0 where the system does not say."""
    pages = (read_line(root / "proc/self/statm") or "0 0").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def too_many(processes: int, root: Path = Path("/")) -> str:
    """What to tell a user who starts so many processes, each as large as this one is now; empty where they fit."""
    own, free = own_memory(root), free_memory(root)
    if free is None or processes * own <= free:
        return ""
    fit = max(1, free // own)
    return (
        f"{processes} workers will hold at least {size(processes * own)} of memory, and {size(free)} are free: "
        f"--workers {fit} would fit. A process that finds none dies, and its trial fails."
    )
