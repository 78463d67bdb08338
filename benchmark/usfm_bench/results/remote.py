"""Finished trials on an object store or any other place that fsspec reaches: pushed there, fetched from there.

Tables are made from a copy: records are many and small, and whatever reads them (parquet, npz, locks) wants files.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from usfm_bench.core.errors import BenchError
from usfm_bench.core.files import write_atomic
from usfm_bench.core.settings import content_hash
from usfm_bench.data.cache_folder import cache_folder

WEIGHTS_FILE = "weights.safetensors"
RECORD = "record.json"
_OWN = {"state.pt", "spec.json"}  # of an unfinished trial
_OBJECTS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "r2"}
_PROBE = ".usfm-bench-probe"


def is_url(text: str) -> bool:
    """Whether it names a place by a URL, such as `s3://bucket/runs`."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def local_copy(url: str) -> Path:
    """A folder with a copy of the finished trials at a URL, without weights.

    It lies in the cache folder where the user names one, so that the next call copies what is new; where not, it is a
    temporary one that ends with the process.

    Raises:
        BenchError: as `Remote` and its `fetch`.
    """
    remote, cache = Remote(url), cache_folder()
    if cache is None:
        folder = Path(tempfile.mkdtemp(prefix="usfm-bench-runs-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        folder = cache / f"runs-{content_hash(remote.url)[:16]}"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    remote.fetch(folder)
    return folder


class Remote:
    """A folder of runs behind a URL, laid out as one on disk.

    Raises:
        BenchError: no such kind of URL, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            from fsspec.core import url_to_fs

            # A listing from before says nothing of what was pushed since.
            self._system, root = url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise BenchError(f"{url}: cannot be used: {error}. `pip install 'usfm-bench[remote]'` brings s3.") from None
        self._root = root.rstrip("/")
        kinds = self._system.protocol
        # These have no folders, and making one would make the bucket.
        self._of_objects = not _OBJECTS.isdisjoint([kinds] if isinstance(kinds, str) else kinds)

    def check_writable(self) -> None:
        """Raise a BenchError, before anything is trained, where nothing could be pushed."""
        with self._in_words("cannot be written"):
            self._put(_PROBE, b"")
        with suppress(Exception):  # who may write may not always remove
            self._system.rm_file(f"{self._root}/{_PROBE}")

    def push(self, folder: Path, runs: Path) -> int:
        """Copy what is missing or differs of a finished trial; its record lands last and makes it done there too.

        Args:
            folder: of the trial.
            runs: the runs folder that it lies in.

        Returns:
            Number of files copied.

        Raises:
            BenchError: no rights, no network; what was copied before stays, and the next call goes on.
        """
        place = folder.relative_to(runs).as_posix()
        with self._in_words("cannot be written"):
            there = self._sizes(place)
            record = (folder / RECORD).read_bytes()
            same = RECORD in there and self._system.cat_file(f"{self._root}/{place}/{RECORD}") == record
            names = [name for name in _files(folder) if name != RECORD]
            wanted = [n for n in names if not same or there.get(n) != (folder / n).stat().st_size]
            for name in wanted:
                self._put(f"{place}/{name}", folder / name)
            if not same:
                self._put(f"{place}/{RECORD}", record)
        return len(wanted) + (not same)

    def fetch(self, folder: Path) -> None:
        """Copy every finished trial into a folder, without its weights; what is there already is not copied again.

        Raises:
            BenchError: no rights, no network, or nothing there.
        """
        with self._in_words("cannot be read"):
            there = self._sizes("")
        trials = [str(PurePosixPath(name).parent) for name in there if re.search(r"/seed-\d+/record\.json$", name)]
        trials = [trial for trial in trials if "/evaluations/" not in trial and _stays_below(trial)]
        if not trials:
            raise BenchError(f"{self.url}: no finished trial there. `usfm-bench run --push {self.url}` copies them.")
        for trial in _local_trials(folder) - set(trials):
            shutil.rmtree(folder / trial)
        for trial in trials:
            files = {name: size for name, size in there.items() if name.startswith(f"{trial}/")}
            self._fetch_trial(folder, trial, files)

    def _fetch_trial(self, folder: Path, trial: str, files: dict[str, int]) -> None:
        with self._in_words("cannot be read"):
            record, path = self._system.cat_file(f"{self._root}/{trial}/{RECORD}"), folder / trial / RECORD
            same = path.is_file() and path.read_bytes() == record
            for name, size in files.items():
                target = folder / name
                if name == f"{trial}/{RECORD}" or target.name == WEIGHTS_FILE or not _stays_below(name):
                    continue
                if not (same and target.is_file() and target.stat().st_size == size):
                    content = self._system.cat_file(f"{self._root}/{name}")
                    write_atomic(target, lambda stream, content=content: stream.write(content))  # type: ignore[misc]
            if not same:
                write_atomic(path, lambda stream: stream.write(record))

    def _sizes(self, place: str) -> dict[str, int]:
        """Size of every file below a place, by its name relative to it."""
        start = f"{self._root}/{place}".rstrip("/")
        try:
            found: dict[str, Any] = self._system.find(start, detail=True)
        except FileNotFoundError:
            return {}
        return {name[len(start) :].lstrip("/"): about["size"] for name, about in found.items()}

    def _put(self, name: str, content: bytes | Path) -> None:
        """Write one file, which on an object store appears whole or not at all."""
        target = f"{self._root}/{name}"
        if not self._of_objects:
            self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
        if isinstance(content, Path):
            self._system.put_file(str(content), target)
        else:
            self._system.pipe_file(target, content)

    @contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except BenchError:
            raise
        except Exception as error:  # each kind of store raises its own
            said = " ".join(str(error).split()) or type(error).__name__
            raise BenchError(f"{self.url}: {what}: {said}") from None


def _files(folder: Path) -> list[str]:
    """Names of a trial's files, relative to it, without those that only an unfinished one needs."""
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.as_posix() for path in found if path.name not in _OWN and not path.name.startswith(".")]


def _stays_below(name: str) -> bool:
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _local_trials(folder: Path) -> set[str]:
    return {path.parent.relative_to(folder).as_posix() for path in folder.glob("*/*/*/*/fold-*/seed-*/record.json")}
