"""Files appear whole or not at all, and are known by their sha256."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

from usfm_bench.core.errors import BenchError

_SETTLED_NS = 2_000_000_000


def write_atomic(path: Path, write: Callable[[IO[bytes]], object], *, private: bool = False) -> None:
    """Write a file through `write(stream)` under a temporary name in the same folder, flush it to disk and rename it.

    Args:
        path: the file; folders on the way to it are made.
        write: writes the content.
        private: the file is readable by its owner alone, as patient images should be.

    Raises:
        BenchError: no space, no permission; what was there before is kept.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
            temporary = Path(stream.name)
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; results are meant to be shared as the umask says.
        temporary.chmod(0o600 if private else 0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror or error}.") from error
    except RuntimeError as error:
        # torch's archive writer raises an error of its own over the system's.
        if not isinstance(error.__context__, OSError):
            raise
        raise BenchError(f"{path}: cannot be written: {error.__context__.strerror}.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; bytes of a file's name that are no UTF-8 stand as escapes."""
    write_atomic(path, lambda stream: stream.write(text.encode(errors="backslashreplace")))


def check_writable(folder: Path) -> None:
    """Make a folder; raise a BenchError when files could not be written to it, before anything is read or trained."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BenchError(f"{folder}: cannot be written: {error.strerror or error}.") from error


def file_sha256(path: Path) -> str:
    """sha256 of a file, as 64 hex digits; an unchanged file is read once in a process."""
    stat = path.stat()
    # The clock of a file system is coarse: what was written just now may be written again at the same time of it.
    settled = time.time_ns() - stat.st_mtime_ns > _SETTLED_NS
    read = _file_sha256 if settled else _file_sha256.__wrapped__
    return read(path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@cache
def _file_sha256(path: Path, *_state: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
