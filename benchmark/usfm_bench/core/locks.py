"""Locks between processes: held by the system's `flock`, so that one dies with the process that holds it.

The library filelock is not used: where `flock` is missing it takes any existing file for a lock, or waits for ever.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from usfm_bench.core.environment import now
from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import check_writable

_HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}
_NOTE_BYTES = 1000
_NOTE = ("host", "process", "job", "since")
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
"""Where Slurm, PBS, LSF and Grid Engine say which job a process belongs to."""


class LockHeldError(BenchError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, *, wait: bool = False, before_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is not there and is never removed.

    While it is held, the file says who holds it, see `holder`.

    Args:
        path: the lock file.
        wait: wait for a process that holds the lock.
        before_waiting: called once where that is so.

    Raises:
        LockHeldError: another process holds the lock; not with `wait`.
        BenchError: the file cannot be written, or its file system has no working locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror or error}.") from error
    try:
        try:
            _flock(descriptor, path, wait=False)
        except LockHeldError:
            if not wait:
                raise
            before_waiting()
            _flock(descriptor, path, wait=True)
        ours = _sign(descriptor)
        try:
            yield
        finally:
            if ours:
                _write(descriptor, b"")
    finally:
        os.close(descriptor)  # which frees the lock


def holder(path: Path) -> str:
    """Who holds a lock, such as ` (process 4711 on node7, job 88_3, since 2026-01-31T12:00:00+00:00)`.

    Empty where the file does not say so. It tells people where to look; whether the lock is held only `flock` knows.
    """
    try:
        with path.open("rb") as stream:
            note = _note(stream.read(_NOTE_BYTES))
    except OSError:
        return ""
    if not note:
        return ""
    job = f", job {note['job']}" if note["job"] else ""
    return f" (process {note['process']} on {note['host']}{job}, since {note['since']})"


def _sign(descriptor: int) -> bool:
    """Write who holds the lock into its file; False where that holds something else, which is left alone."""
    content = os.pread(descriptor, _NOTE_BYTES, 0)
    if content and not _note(content):
        return False
    about = {"host": socket.gethostname(), "process": str(os.getpid()), "job": _job(), "since": now()}
    _write(descriptor, json.dumps(about).encode())
    return True


def _write(descriptor: int, content: bytes) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content, 0)
    except OSError:
        pass  # a full disk, say: the lock holds all the same


def _note(content: bytes) -> dict[str, str]:
    """What `_sign` wrote; empty for anything else, such as what would write to a terminal."""
    try:
        note = json.loads(content)
    except ValueError:
        return {}
    if not isinstance(note, dict) or set(note) != set(_NOTE):
        return {}
    plain = all(isinstance(text, str) and re.fullmatch(r"[A-Za-z0-9._:+\[\]-]{0,200}", text) for text in note.values())
    return note if plain else {}


def _job() -> str:
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '')}"
    return next((job for name in _JOBS if (job := os.environ.get(name))), "")


def check_locks(folder: Path, table: Path = Path("/proc/mounts")) -> str:
    """What a user must know of the locks in a folder, before anything is read or trained; empty where they hold.

    Raises:
        BenchError: files there cannot be locked.
    """
    check_writable(folder)
    with tempfile.TemporaryFile(dir=folder) as stream:
        _flock(stream.fileno(), folder, wait=False)
    mount = mount_of(folder, table)
    if mount is None or not (alone := mount.local_locks):
        return ""
    return (
        f"locks on {mount} hold on this machine alone (mounted with {alone}), so that two machines may run one trial "
        "twice: use one machine, or have it mounted without that option."
    )


def _flock(descriptor: int, path: Path, *, wait: bool) -> None:
    import fcntl  # Linux and macOS

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not wait and error.errno in _HELD:
            raise LockHeldError(f"{path}: another process holds this lock.") from None
        name = errno.errorcode.get(error.errno or 0, "")
        place = f" on {mount}" if (mount := mount_of(path)) else ""
        raise BenchError(
            f"{path}: the file system{place} cannot lock files ({name}: {error.strerror or error}). Locks keep two "
            "processes from running the same trial. Write to another file system, such as a local disk with --runs DIR "
            "(weights: --out, or the variable USFM_BENCH_PRETRAINED), or have this one mounted with flock: Lustre "
            "needs the mount option flock, NFS a running lock service (lockd, statd)."
        ) from error


class Mount(NamedTuple):
    """Where a file system is mounted."""

    point: str
    kind: str
    """Such as ext4, nfs4, lustre or fuse.sshfs."""
    options: tuple[str, ...] = ()

    @property
    def local_locks(self) -> str:
        """The option by which locks hold on one machine alone: lustre's and NFS's manuals; empty without one."""
        known = {"lustre": ("localflock",), "nfs": ("nolock", "local_lock=all", "local_lock=flock")}
        return next((option for option in known.get(self.kind.rstrip("4"), ()) if option in self.options), "")

    def __str__(self) -> str:
        return f"'{self.point}' ({self.kind})"


def mount_of(path: Path, table: Path = Path("/proc/mounts")) -> Mount | None:
    r"""The mount that a path lies in; None where the system has no table of mounts.

    Reference: fstab(5), whose form /proc/mounts has; spaces in it are written `\040`.
    """
    try:
        rows = [line.split() for line in table.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        return None
    mounts = [Mount(_unescaped(row[1]), row[2], tuple("".join(row[3:4]).split(","))) for row in rows if len(row) > 2]
    place = path.resolve()
    # Of two mounts at one point the later one is seen.
    holding = [(len(m.point), i, m) for i, m in enumerate(mounts) if place.is_relative_to(m.point)]
    return max(holding)[-1] if holding else None


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
