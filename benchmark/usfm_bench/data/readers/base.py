"""What every reader offers, and what readers of folders share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from usfm_bench.data.readers.files import IMAGES, list_files, read_grey
from usfm_bench.data.readers.mask_values import HALF, Values, read_mask
from usfm_bench.data.sample import Case, Mask, Sample
from usfm_bench.data.spec import DatasetSpec
from usfm_bench.errors import BenchError, DataError
from usfm_bench.faults import in_words
from usfm_bench.registry import Registry

__all__ = [
    "READERS",
    "FolderReader",
    "Options",
    "Reader",
    "medical",
    "missing_folder",
    "read_grey",
    "read_mask",
    "read_options",
]


class Reader(Protocol):
    """Lists the cases of one on-disk layout and decodes them, one at a time."""

    @property
    def faults(self) -> Sequence[str]:
        """What `cases` found wrong; reported together with the faults of the files."""

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of the data, once they are loaded: how many masks were resampled, and the like."""

    def cases(self) -> list[Case]:
        """Every case found, in a stable order, without decoding pixels; what is wrong with them goes to `faults`.

        Raises:
            DataError: the folder is missing or not of this layout.
        """

    def load(self, case: Case) -> Sample:
        """The case decoded at native size.

        Raises:
            DataError: an unreadable file or a mask of another size than the image; names the file.
        """


READERS: Registry[Callable[[DatasetSpec, Path], Reader]] = Registry("layout")
"""Layout name -> reader of (spec, folder or file)."""


class Options(BaseModel):
    """Base of a reader's options: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


OptionsT = TypeVar("OptionsT", bound=BaseModel)


def read_options(spec: DatasetSpec, kind: type[OptionsT]) -> OptionsT:
    """The entry's `options` as the reader understands them.

    Raises:
        DataError: every fault of them.
    """
    try:
        return kind.model_validate(spec.options)
    except ValidationError as error:
        where = f"Dataset '{spec.name}': options"
        raise DataError("\n".join(in_words(error, kind, spec.options, where, "."))) from None


class FolderReader:
    """Files below a folder, faults and notes."""

    endings: frozenset[str] | None = IMAGES
    """Which files to find; None: all."""

    def __init__(self, spec: DatasetSpec, root: Path) -> None:
        self.spec, self.root = spec, root
        self.faults: list[str] = []
        self._notes: list[str] = []
        self._resampled: list[Path] = []

    @property
    def notes(self) -> list[str]:
        """What `cases` noted, and how many masks `load` resampled."""
        n = len(set(self._resampled))
        return self._notes + (
            [f"{n} masks of another size resampled to their image's, by nearest neighbour"] if n else []
        )

    def find(self) -> dict[str, Path]:
        """Path relative to the folder -> file; starts `faults` and `notes` anew.

        Raises:
            DataError: no such folder, or nothing in it.
        """
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        files, self.faults = list_files(self.root, endings=self.endings)
        self._notes, self._resampled = [], []
        if not files:
            nothing = f"{self.root}: no file" + (
                f" that ends in {', '.join(sorted(self.endings))}." if self.endings else "."
            )
            raise DataError("\n".join([*self.faults, nothing]))
        return {path.relative_to(self.root).as_posix(): path for path in files}

    def read_mask(self, case: Case, shape: tuple[int, ...], values: Values = HALF) -> Mask:
        """`read_mask` of the case, remembering what was resampled."""
        return read_mask(case.masks, shape, values, self._resampled)


def medical(module: str) -> Any:
    """An optional dependency that reads medical formats.

    Raises:
        BenchError: not installed; says how to install it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError:
        name = module.partition(".")[0]
        raise BenchError(f"This data set needs {name}: pip install 'usfm-bench[medical]'.") from None


def missing_folder(spec: DatasetSpec, root: Path) -> str:
    """What was looked for, where, and how to get it."""
    agreement = f"First: {spec.agreement.rstrip('.')}. " if spec.agreement else ""
    return (
        f"Dataset '{spec.name}' is not at '{root}'. Source: {spec.source or 'not stated in its registry entry'}. "
        f"{agreement}--data-root DIR (or USFM_BENCH_DATA) says where data sets lie."
    )
