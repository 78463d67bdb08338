"""What every reader offers, and what readers of folders share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from usfm_bench.core.errors import BenchError, DataError, did_you_mean
from usfm_bench.core.registry import Registry
from usfm_bench.core.validation import in_words
from usfm_bench.data.faults import Fault, cases_of
from usfm_bench.data.readers.decode import picture, read_grey, read_pixels
from usfm_bench.data.readers.files import IMAGES, list_files, not_read, say_not_read
from usfm_bench.data.readers.mask_values import HALF, Fit, Structures, Values, read_mask
from usfm_bench.data.sample import Case, Image, Mask, Sample
from usfm_bench.specs.dataset import DatasetSpec, GroupKind

__all__ = [
    "READERS",
    "FolderReader",
    "ImageOptions",
    "MaskFileOptions",
    "Options",
    "Reader",
    "medical",
    "missing_folder",
    "read_grey",
    "read_mask",
    "read_options",
    "shorten",
]


class Reader(Protocol):
    """Lists the cases of one on-disk layout and decodes them, one at a time."""

    @property
    def faults(self) -> Sequence[str]:
        """What `cases` found wrong, reported together with the faults of the files.

        What is about cases is a `Fault` with their ids, so that `exclude` can set it aside.
        """

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of the data, once they are loaded: how many masks were resampled, and the like."""

    @property
    def grouped_by(self) -> GroupKind | None:
        """What the patients of the cases are, once they are listed; None: what the entry says."""

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


_DARK = 2**14  # an image of 14 bits or fewer, in 16, keeps at most 64 grey levels of 256
READERS: Registry[Callable[[DatasetSpec, Path], Reader]] = Registry("layout", home="usfm_bench.data.readers")
"""Layout name -> reader of (spec, folder or file)."""


class Options(BaseModel):
    """Base of a reader's options: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageOptions(Options):
    """Options of the layouts that read image files of any origin."""

    bits: Annotated[int, Field(ge=8, le=16)] | None = None
    """How many bits of 16-bit images hold levels, such as 12; None: all. It holds for the whole data set, since a range
    by image would make each as bright as the others."""


class MaskFileOptions(ImageOptions):
    """Options of the layouts that read image files and mask files of any origin."""

    values: Values = HALF
    """Which levels of a mask are the lesion; or, by name, which are each of the entry's `structures`."""
    any_scale: bool = False
    """Whether masks may be larger or smaller than their images by any factor, sides in proportion."""


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


Of = TypeVar("Of")


def named(spec: DatasetSpec, options: Mapping[str, Of], where: str = "structures") -> tuple[str, ...]:
    """The entry's `structures`, where the reader's options, under the key `where`, tell each of them and no other.

    Raises:
        DataError: names that one of the two lacks, all at once.
    """
    faults = [
        f"options.{where}: '{name}' is none of the entry's `structures` ({', '.join(spec.structures) or 'none'})."
        + did_you_mean(name, spec.structures)
        for name in options
        if name not in spec.structures
    ]
    faults += [
        f"structures: the options do not say which pixels are '{name}' (`{where}`)."
        for name in spec.structures
        if name not in options
    ]
    if faults:
        raise DataError("\n".join(f"Dataset '{spec.name}': {fault}" for fault in faults))
    return spec.structures


def check_structures(spec: DatasetSpec, values: Values) -> None:
    """Raise a DataError unless a reader's `values` tell the structures that the entry names, and no others."""
    if spec.structures or isinstance(values, Structures):
        told = values.structures if isinstance(values, Structures) else {}
        if list(named(spec, told, "values.structures")) != list(told):
            raise DataError(
                f"Dataset '{spec.name}': options.values.structures: name them in the order of `structures`: "
                f"{', '.join(spec.structures)}."
            )


class FolderReader:
    """Files below a folder, faults and notes."""

    endings: frozenset[str] | None = IMAGES
    """Which files to find; None: all."""
    grouped_by: GroupKind | None = None

    def __init__(self, spec: DatasetSpec, root: Path, options: ImageOptions | None = None) -> None:
        self.spec, self.root = spec, root
        self.faults: list[str] = []
        self._notes: list[str] = []
        self._bits = options.bits if options else None
        self._any_scale = isinstance(options, MaskFileOptions) and options.any_scale
        self.fit = Fit(any_scale=self._any_scale)
        if isinstance(options, MaskFileOptions):
            check_structures(spec, options.values)
        self._deep: list[int] = []
        self._passed_over = 0

    @property
    def notes(self) -> list[str]:
        """What `cases` noted, how many masks `load` resampled, and whether its images would be nearly black."""
        n = self._passed_over
        elsewhere = f"{n} files elsewhere have the name of one at its published place, and are not read"
        return [*self._notes, *([elsewhere] if n else []), *self.fit.notes, *self._say_dark()]

    def _say_dark(self) -> list[str]:
        """Of 16-bit images: how many bits they use, where that is less than 15."""
        most = max(self._deep, default=0)
        if not 0 < most < _DARK:
            return []
        bits = max(8, most.bit_length() + most.bit_length() % 2)  # devices have 10, 12 or 14
        return [
            f"{len(self._deep)} images of 16 bits reach level {most} of 65535 at most, so that they are nearly black: "
            f"if they hold fewer bits, say so in the entry's options, such as `bits: {bits}`"
        ]

    def find(self) -> dict[str, Path]:
        """Path relative to the folder -> file; starts `faults` and `notes` anew.

        Raises:
            DataError: no such folder, or nothing in it.
        """
        if not self.root.is_dir():
            raise DataError(missing_folder(self.spec, self.root))
        files, faults = list_files(self.root, endings=self.endings)
        self.faults = [Fault(fault, *map(self.case_of, cases_of(fault))) for fault in faults]
        self._notes, self.fit, self._deep, self._passed_over = [], Fit(any_scale=self._any_scale), [], 0
        if self.endings is not None:
            self._notes += say_not_read(not_read(self.root, self.endings))
        if not files:
            nothing = f"{self.root}: no file" + (
                f" that ends in {', '.join(sorted(self.endings))}." if self.endings else "."
            )
            raise DataError("\n".join([*self.faults, nothing]))
        return {path.relative_to(self.root).as_posix(): path for path in files}

    def read_image(self, path: Path) -> Image:
        """`read_grey` of an image file, with the entry's `bits`, remembering how deep it is."""
        pixels = read_pixels(path, self._bits)
        self.measure(pixels)
        return picture(path, pixels)

    def measure(self, pixels: NDArray[Any]) -> None:
        """Remember the highest level of an image of 16 bits, where the entry does not say how many of them it uses."""
        if pixels.dtype == np.uint16 and self._bits is None:
            self._deep.append(int(pixels.max()))

    def case_of(self, name: str) -> str:
        """Id of the case that a file belongs to, by its path relative to the folder."""
        return name

    def only(self, found: Sequence[str], published: str, *cases: str) -> str | None:
        """Which of several files of one name is meant: the one at the published place, or else the only one.

        Args:
            found: paths relative to the folder, one at least.
            published: the path that it has in the release.
            *cases: whose file it is.

        Returns:
            The path; None, with a fault that names them, where it could be each of several.
        """
        if len(found) == 1 or published in found:
            self._passed_over += len(found) - 1
            return found[0] if len(found) == 1 else published
        names = shorten([f"'{name}'" for name in found])
        self.faults.append(
            Fault(f"{self.root}: {names} could each be '{published}'. Keep one, or put it there.", *cases)
        )
        return None

    def read_mask(self, case: Case, shape: tuple[int, ...], values: Values = HALF) -> Mask:
        """`read_mask` of the case, remembering what was resampled; (K, H, W) where `values` are of structures."""
        return read_mask(case.masks, shape, values, self.fit)


def shorten(items: Sequence[str], most: int = 5) -> str:
    """A list in words, cut after some: `a, b and 526 more`."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


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
