"""`run --push`: finished trials are copied to a URL beside the work, and what failed is tried again in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from usfm_bench.core.errors import BenchError, listed
from usfm_bench.execution.outcome import Event, Outcome
from usfm_bench.results.remote import Remote
from usfm_bench.results.store import Store
from usfm_bench.specs.trial import TrialSpec


class Pusher:
    """Copies finished trials, one at a time, in a thread.

    Args:
        store: where they are.
        remote: where they go; None: nowhere.
        say: told once where the other end cannot be written.
    """

    def __init__(self, store: Store, remote: Remote | None, say: Callable[[str], None]) -> None:
        self._store, self._remote, self._say = store, remote, say
        self._thread = ThreadPoolExecutor(1)
        self._warned = False

    def take(self, event: Event) -> None:
        """Push the trial of an outcome that is `done`, while others run."""
        if self._remote is not None and isinstance(event, Outcome) and event.status == "done":
            self._thread.submit(self._try, event.spec)

    def finish(self, trials: Sequence[TrialSpec]) -> int:
        """Push whatever of the trials is finished and not there yet; wait for it.

        Returns:
            How many trials are finished and are not there in the end, which `say` was told of.
        """
        if self._remote is None:
            return 0
        finished = [spec for spec in trials if (self._store.folder(spec) / "record.json").is_file()]
        faults = [fault for fault in self._thread.map(self._push, finished) if fault]
        if faults:
            self._say(
                f"{len(faults)} of {len(finished)} finished trials are not at {self._remote.url} "
                f"({listed(list(dict.fromkeys(faults)), 2)}). They are kept in {self._store.root}; the same command "
                "pushes what is missing."
            )
        else:
            self._say(f"{len(finished)} finished trials are at {self._remote.url}.")
        return len(faults)

    def _try(self, spec: TrialSpec) -> None:
        if (fault := self._push(spec)) and not self._warned:
            self._warned = True
            self._say(f"{fault} The trials go on; it is tried again when they have ended.")

    def _push(self, spec: TrialSpec) -> str | None:
        assert self._remote is not None
        try:
            self._remote.push(self._store.folder(spec), self._store.root)
        except BenchError as error:
            return str(error)
        return None

    def __enter__(self) -> Pusher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
