"""Locks: held by one process at a time, never waited for in vain, and named where a file system has none."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from usfm_bench.core.errors import BenchError
from usfm_bench.core.locks import LockHeldError, check_locks, holder, locked, mount_of
from usfm_bench.execution.queue import TrialQueue
from usfm_bench.execution.run import run_trials, sort_trials
from usfm_bench.execution.session import Session, SessionArguments
from usfm_bench.results.store import Store
from usfm_bench.specs.dataset import load_registry
from usfm_bench.specs.trial import TrialSpec
from usfm_bench.suites.plan import load_suite, plan_suite

FAULTS = ("ENOSYS", "ENOLCK", "EIO", "EOPNOTSUPP", "EINVAL", "ESTALE")

HOLD = """
import sys, pathlib
from usfm_bench.core.locks import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def refuse_locks(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have flock fail as it does on file systems without it."""
    number = getattr(errno, name)

    def flock(descriptor: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def trials(tiny_registry: Path) -> list[TrialSpec]:
    return plan_suite(
        load_suite("demo"), load_registry(tiny_registry), datasets=["tiny"], models=["usfm-micro-scratch"], seeds=[0, 1]
    )


@pytest.fixture
def other_process(tmp_path: Path):
    """Starts a process that holds a lock until it is killed."""
    started = []

    def hold(path: Path) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_belongs_to_another_process_until_that_dies(tmp_path, other_process):
    path = tmp_path / "deep" / ".seed-0.lock"
    holder = other_process(path)
    with pytest.raises(LockHeldError), locked(path):
        pass
    told: list[float] = []

    def kill() -> None:
        told.append(time.monotonic())
        holder.kill()

    with locked(path, wait=True, before_waiting=kill):
        assert len(told) == 1
    with locked(path):  # the file is still there, and nobody holds it
        pass


def test_a_lock_that_nobody_holds_is_not_waited_for(tmp_path):
    (tmp_path / "lock").write_text("left by something else")
    with locked(tmp_path / "lock", wait=True, before_waiting=pytest.fail):
        pass
    assert (tmp_path / "lock").read_text() == "left by something else"


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "88"}, ", job 88"),
        ({"SLURM_JOB_ID": "91", "SLURM_ARRAY_JOB_ID": "88", "SLURM_ARRAY_TASK_ID": "3"}, ", job 88_3"),
        ({"PBS_JOBID": "7[2].server"}, ", job 7[2].server"),
    ],
)
def test_a_lock_names_the_process_host_and_job_that_hold_it(tmp_path, monkeypatch, other_process, job, said):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "lock"
    process = other_process(path)
    assert holder(path).startswith(f" (process {process.pid} on {socket.gethostname()}{said}, since 20")
    process.kill()
    process.wait()
    with locked(path):  # what the killed one left is replaced
        assert f"process {os.getpid()} on" in holder(path)
    assert holder(path) == ""
    assert path.read_bytes() == b""


def test_a_lock_holds_on_a_full_disk_and_then_names_nobody(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    path = tmp_path / "lock"
    with locked(path), pytest.raises(LockHeldError), locked(path):
        pass
    with locked(path):
        assert holder(path) == ""


@pytest.mark.parametrize("host", ["a\x1b[2Jb", "a\nb", 7, "a" * 300])
def test_what_others_wrote_into_a_lock_reaches_no_terminal(tmp_path, host):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": host, "process": "1", "job": "", "since": "now"}))
    assert holder(path) == ""
    assert holder(tmp_path / "absent") == ""


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_a_file_system_without_locks_is_named_with_what_to_do(tmp_path, monkeypatch, name, wait):
    refuse_locks(monkeypatch, name)
    with pytest.raises(BenchError) as error, locked(tmp_path / "lock", wait=wait):
        pass
    assert not isinstance(error.value, LockHeldError)
    said = str(error.value)
    mount = mount_of(tmp_path)
    assert f"'{mount.point}' ({mount.kind})" in said
    assert name in said or os.strerror(getattr(errno, name)) in said
    assert "--runs DIR" in said


def test_a_lock_that_is_refused_for_good_is_not_waited_for(tmp_path, monkeypatch):
    """Some file systems answer EACCES, which elsewhere means that another process holds the lock."""
    refuse_locks(monkeypatch, "EACCES")
    with pytest.raises(BenchError, match="cannot lock files") as error, locked(tmp_path / "lock", wait=True):
        pass
    assert not isinstance(error.value, LockHeldError)


@pytest.mark.parametrize("name", FAULTS)
def test_a_run_says_before_anything_that_its_folder_has_no_locks(tmp_path, trials, monkeypatch, name):
    refuse_locks(monkeypatch, name)
    with pytest.raises(BenchError, match="cannot lock files"):
        check_locks(tmp_path)
    with pytest.raises(BenchError, match="cannot lock files"):
        Store(tmp_path / "runs").check_writable()
    assert not list((tmp_path / "runs").iterdir())


def test_a_lock_that_fails_later_costs_its_trial_alone(tmp_path, trials, monkeypatch):
    refuse_locks(monkeypatch, "EIO")
    outcome = Session(SessionArguments(tmp_path, tmp_path / "runs", "cpu")).run(trials[0], print, wait=False)
    assert outcome.status == "failed"
    assert "cannot lock files" in outcome.message
    with pytest.raises(BenchError, match="cannot lock files"):
        Store(tmp_path / "runs").set_aside(trials[0])


def test_mounts_are_found_by_the_longest_point_and_the_last_of_equal_ones(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/x /scratch nfs4 rw 0 0\nfs /scratch\\040two lustre rw,localflock 0 0\n"
        "auto /scratch/a autofs rw 0 0\nserver:/a /scratch/a nfs rw 0 0\n"
    )
    assert str(mount_of(Path("/home/x"), table)) == "'/' (ext4)"
    assert mount_of(Path("/scratch/b/c"), table).kind == "nfs4"
    assert mount_of(Path("/scratch two/b"), table).kind == "lustre"
    assert mount_of(Path("/scratch/a/b"), table).kind == "nfs"
    assert mount_of(Path("/scratched"), table).kind == "ext4"
    assert mount_of(tmp_path, tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("kind", "options", "told"),
    [
        ("lustre", "rw,localflock", "localflock"),
        ("nfs", "rw,vers=3,nolock,addr=x", "nolock"),
        ("nfs4", "rw,local_lock=all", "local_lock=all"),
        ("nfs4", "rw,local_lock=none", ""),
        ("lustre", "rw,flock", ""),
        ("ext4", "rw,nolock", ""),
    ],
)
def test_locks_that_hold_on_one_machine_alone_are_told(tmp_path, kind, options, told):
    table = tmp_path / "mounts"
    table.write_text(f"fs {tmp_path.resolve()} {kind} {options} 0 0\n")
    said = check_locks(tmp_path, table)
    assert bool(said) == bool(told)
    assert told in said
    assert not told or "two machines may run one trial twice" in said


def test_what_others_run_comes_last_or_is_left_to_them(trials, tmp_path):
    for wait in (True, False):
        queue = TrialQueue(trials, wait=wait)
        first, _ = queue.next()
        outcome = Session(SessionArguments(tmp_path, tmp_path / "runs", "cpu"))
        with Store(tmp_path / "runs").lock(first):
            outcome = outcome.run(first, print, wait=False)
        assert outcome.status == "busy"
        assert queue.settle(outcome) is not wait
        left = [task for _ in range(3) if (task := queue.next())]
        assert left == [(trials[1], False), *([(first, True)] if wait else [])]


def test_without_waiting_a_run_ends_with_exit_code_1_and_says_what_is_left(tmp_path, trials, other_process, capsys):
    store = Store(tmp_path / "runs")
    folder = store.folder(trials[0])
    other = other_process(folder.with_name(f".{folder.name}.lock"))
    outcomes: list = []
    tally = run_trials(
        trials[:1],
        data_root=tmp_path,
        runs=store.root,
        device="cpu",
        workers=1,
        fresh=False,
        wait=False,
        tell=outcomes.append,
        say=lambda text: None,
        keep=lambda kept: None,
    )
    assert [o.status for o in outcomes] == ["busy"]
    assert outcomes[0].message.startswith(
        f"another process is running it (process {other.pid} on {socket.gethostname()}"
    )
    assert tally.exit_code == 1
    assert not (folder / "spec.json").exists()


def test_ten_thousand_trials_are_sorted_without_comparing_each_with_each(trials, tmp_path, monkeypatch):
    many = [trials[0].model_copy(update={"seed": seed}) for seed in range(10_000)]
    monkeypatch.setattr(Store, "changed_settings", lambda self, spec: [])
    monkeypatch.setattr(Store, "record", lambda self, spec: True if spec.seed % 2 else None)

    def compared(self: object, other: object) -> bool:
        raise AssertionError("trials were compared with each other")

    monkeypatch.setattr(TrialSpec, "__eq__", compared)
    kept, todo = sort_trials(many, Store(tmp_path), fresh=False)
    assert [spec.seed for spec in kept] == list(range(1, 10_000, 2))
    assert [spec.seed for spec in todo] == list(range(0, 10_000, 2))
