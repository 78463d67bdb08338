"""Under which condition finished trials are tested: a corruption of the images, and how severe it is."""

from __future__ import annotations

from pydantic import Field

from usfm_bench.core.settings import Settings


class Condition(Settings):
    """One corruption in one severity."""

    corruption: str
    """A name of `CORRUPTIONS`."""
    severity: int = Field(ge=1, le=5)
    version: int
    """Of the corruption: other parameters are another condition."""

    @property
    def label(self) -> str:
        """Part of file names, such as `gain-3`."""
        return f"{self.corruption}-{self.severity}"
