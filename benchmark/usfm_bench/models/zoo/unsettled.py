"""Models that people ask about and whose files cannot be read yet: their entries say what is not settled."""

from __future__ import annotations

from pathlib import Path

from usfm_bench.core.errors import WeightsError
from usfm_bench.specs.family import FAMILIES, Checkpoint, Family


class Unsettled(Family):
    """A family of entries alone; `unsettled` of an entry is why."""

    name = "unsettled"
    title = "encoder of a format that is not settled"
    needs_architecture = False

    def read(self, path: Path, architecture: str = "") -> Checkpoint:
        """Nothing is read.

        Raises:
            WeightsError: always.
        """
        raise WeightsError(f"{path}: the format of this model is not settled; `usfm-bench models list` says why.")


FAMILIES.register(Unsettled.name)(Unsettled())
