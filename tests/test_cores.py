"""How many cores there are, in containers and batch systems of both versions of cgroups."""

import os
from pathlib import Path

import pytest

from usfm_bench.core import cores
from usfm_bench.core.cores import available_cores, cgroup_quotas
from usfm_bench.core.free_memory import free_memory, too_many


def system(root: Path, cgroup: str, **files: str) -> Path:
    """A made-up /proc and /sys; the names of `files` have `__` for a slash."""
    for name, content in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "quotas"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "200000 100000"}, [2.0]),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, []),
        ("0::/", {"sys/fs/cgroup/cpu.max": "150000"}, [1.5]),
        ("0::/", {}, []),
        # Slurm's and systemd's groups lie below the mount, and those above them limit too.
        (
            "0::/job_7/step_0",
            {"sys/fs/cgroup/job_7/cpu.max": "400000 100000", "sys/fs/cgroup/job_7/step_0/cpu.max": "max 100000"},
            [4.0],
        ),
        (
            "0::/a/b",
            {"sys/fs/cgroup/a/cpu.max": "50000 100000", "sys/fs/cgroup/a/b/cpu.max": "300000 100000"},
            [3, 0.5],
        ),
        # Docker's version 1: the path is the host's, and the container sees its own group as the mount.
        (
            "4:cpu,cpuacct:/docker/0af\n3:memory:/docker/0af",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
            [3.0],
        ),
        (
            "4:cpu,cpuacct:/",
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
            },
            [],
        ),
        # Both versions at once.
        (
            "1:cpu:/\n0::/x",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/unified/x/cpu.max": "100000 100000",
            },
            [2.5, 1.0],
        ),
        ("0::/", {"sys/fs/cgroup/cpu.max": "nonsense"}, []),
    ],
)
def test_quotas_of_every_group_are_read(tmp_path, cgroup, files, quotas):
    assert sorted(cgroup_quotas(system(tmp_path, cgroup, **files))) == sorted(quotas)


def test_a_system_without_cgroups_has_no_quotas(tmp_path):
    assert cgroup_quotas(tmp_path) == []


@pytest.mark.parametrize(("quotas", "expected"), [([], 8), ([2.0], 2), ([1.5, 4.0], 2), ([0.5], 1), ([64.0], 8)])
def test_the_smallest_limit_counts_and_one_core_is_left(monkeypatch, quotas, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "cgroup_quotas", lambda: quotas)
    assert available_cores.__wrapped__() == expected


def test_a_system_without_affinity_counts_its_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores.__wrapped__() == 1


def test_nothing_else_asks_how_many_cores_the_host_has():
    package = Path(cores.__file__).parent
    asking = [p.name for p in package.rglob("*.py") if "cpu_count" in p.read_text() and p.name != "cores.py"]
    assert asking == []


def test_torch_takes_no_more_threads_than_there_are_cores(monkeypatch):
    import torch

    from usfm_bench.training import device

    before, asked = torch.get_num_threads(), []
    monkeypatch.setattr(device, "available_cores", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    device.set_up_process("auto", None, "cpu")
    device.set_up_process("auto", 3, "cpu")  # the recipe's own number decides the bits and stays
    assert asked == [1, 3]
    assert before


def memory(root: Path, **files: str) -> Path:
    kb = {"proc__meminfo": "MemTotal: 9000000 kB\nMemAvailable:  4000000 kB\n", "proc__self__statm": "900 250000 9"}
    return system(root, files.pop("cgroup", "0::/a/b"), **kb, **files)


def test_free_memory_is_the_least_of_machine_and_cgroups(tmp_path):
    group = "sys__fs__cgroup__a__"
    assert free_memory(memory(tmp_path / "none")) == 4_096_000_000
    limited = {f"{group}b__memory.max": "max", f"{group}b__memory.current": "9"}
    limited |= {f"{group}memory.max": "3000000000", f"{group}memory.current": "1000000000"}
    assert free_memory(memory(tmp_path / "two", **limited)) == 2_000_000_000
    first = {
        f"sys__fs__cgroup__memory__a__memory.{name}": n
        for name, n in (("limit_in_bytes", "7"), ("usage_in_bytes", "9"))
    }
    assert free_memory(memory(tmp_path / "one", cgroup="4:memory:/a", **first)) == 0
    assert free_memory(tmp_path / "nowhere") is None


def test_more_workers_than_memory_allows_are_told(tmp_path):
    root = memory(tmp_path)  # 250,000 pages
    held = 250_000 * os.sysconf("SC_PAGE_SIZE")
    fit = 4_096_000_000 // held
    assert too_many(fit, root) == ""
    assert f"--workers {fit} would fit" in too_many(fit + 1, root)
    assert too_many(99, tmp_path / "nowhere") == ""


def test_processes_that_share_cores_count_their_part(monkeypatch):
    monkeypatch.setattr(cores, "cgroup_quotas", lambda: [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    try:
        for processes, expected in ((1, 8), (3, 2), (16, 1)):
            cores.share_cores(processes)
            assert available_cores() == expected
    finally:
        monkeypatch.undo()
        cores.share_cores(1)
