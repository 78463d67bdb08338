"""A store of which only readable trials are seen, for reports that show what there is and name what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from usfm_bench.core.errors import BenchError
from usfm_bench.core.file_names import encode_name
from usfm_bench.metrics.measures import Missed
from usfm_bench.reporting.report import Report, build_report
from usfm_bench.results.record import Record
from usfm_bench.results.store import Store, read_record


class ReadableStore(Store):
    """Leaves out trials whose record is damaged or of another schema."""

    def finished(
        self, suite: str, profile: str | None = None, dataset: str | None = None
    ) -> Iterator[tuple[Path, Record]]:
        """Every readable trial of a suite: its folder and record, in path order."""
        for path in self._record_paths(suite, profile, dataset):
            try:
                record = read_record(path)
            except BenchError as error:
                name = str(path.relative_to(self.root))
                self.left_out[name] = str(error).replace(f"{path}: ", "")
                continue
            yield path.parent, record

    def notes(self, suite: str) -> list[str]:
        """What was left out of a suite, in words, as far as it was asked for."""
        start = f"{encode_name(suite)}/"
        return [f"Left out {name}: {why}" for name, why in self.left_out.items() if name.startswith(start)]

    def report(
        self, suite: str, profile: str | None, missed: Missed, against: str | None = None, workers: int = 1
    ) -> Report:
        """The report of what can be read, with what was left out in its notes.

        Raises:
            BenchError: as `build_report`, or nothing can be read.
        """
        found = build_report(self, suite, profile, missed=missed, against=against, workers=workers)
        if not found.results:
            raise BenchError("\n".join([f"No trial of suite '{suite}' can be read.", *self.notes(suite)]))
        return replace(found, notes=(*self.notes(suite), *found.notes))
